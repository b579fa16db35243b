"""Compare jaxlink with handwritten JAX: `uv run python -m benchmarks`."""

import argparse

import jax

jax.config.update("jax_enable_x64", True)

import pytensor.tensor as pt  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxlink  # noqa: E402
from benchmarks import (  # noqa: E402
    captured_data,
    horseshoe,
    samplers,
    sparse_products,
)
from benchmarks.harness import call_cost, compare  # noqa: E402

WORKLOADS = [
    horseshoe.prior,
    horseshoe.log_density,
    *samplers.WORKLOADS,
    *sparse_products.WORKLOADS,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiles", type=int, default=15, help="compilations of each")
    parser.add_argument("--runs", type=int, default=100, help="calls of each")
    options = parser.parse_args()

    console = Console()
    table = Table("workload", "run", "compile", "linking only")
    table.title = "jaxlink / handwritten JAX (medians, taking turns)"
    for make in WORKLOADS:
        work = make()
        ratios = compare(work, options.compiles, options.runs)
        columns = (ratios.run, ratios.compile, ratios.link)
        table.add_row(work.name, *(f"{ratio:.2f}" for ratio in columns))
    console.print(table)

    for name, make_holder in captured_data.HOLDERS.items():
        ratio = captured_data.compile_ratio(make_holder, options.compiles)
        console.print(
            f"compiling with {captured_data.MANY:,} numbers in {name} takes "
            f"{ratio:.2f} times as long as with {captured_data.FEW:,}"
        )

    x = pt.scalar("x")
    ours, theirs = jaxlink.function([x], x * 2 + 1), jax.jit(lambda x: x * 2 + 1)
    arg = jax.numpy.float64(1.0)
    linked, jitted = call_cost([ours, theirs], (arg,), rounds=options.runs)
    console.print(
        f"a call of a scalar function takes {linked / jitted:.2f} times as long as "
        f"under jax.jit ({linked - jitted:+.2f} microseconds)"
    )


if __name__ == "__main__":
    main()
