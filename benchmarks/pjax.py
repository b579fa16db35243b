"""Seeded programs against the same programs with keys by hand, by the same law of keys:
`uv run python -m benchmarks.pjax`.

Prints jaxlink's median time over that of the program by hand: to compile, and to run.
The last column is the run time of the program by hand, compiled twice: one over the
other. So it says how far two equal programs differ.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import jaxlink  # noqa: E402
from benchmarks.harness import Workload, compare, medians  # noqa: E402
from benchmarks.models import slopes  # noqa: E402
from jaxlink import pjax  # noqa: E402
from jaxlink import pymc as jp  # noqa: E402

STEPS, SERIES, ROWS = 200, 50, 1000

fold_in_each = jax.vmap(jax.random.fold_in, (None, 0))


def numbers(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint32)


def keys_at(scope: jax.Array, n: int) -> list[jax.Array]:
    """The keys of the draws at positions 0 ... n - 1 of a scope."""
    return [jax.random.fold_in(stream, 0) for stream in fold_in_each(scope, numbers(n))]


# --- a state-space simulator: a scan with two draws a step


def simulate(drift: Any) -> Any:
    def step(level: Any, _: Any) -> Any:
        level = pjax.normal(0.9 * level + drift, 0.3)
        return level, pjax.normal(level, 1.0)

    return jax.lax.scan(step, jnp.zeros(SERIES), length=STEPS)[1]


def simulate_by_hand(key: Any, drift: Any) -> Any:
    def step(level: Any, scope: Any) -> Any:
        first, second = keys_at(scope, 2)
        mean = 0.9 * level + drift
        level = mean + 0.3 * jax.random.normal(first, (SERIES,))
        return level, level + 1.0 * jax.random.normal(second, (SERIES,))

    stream = jax.random.fold_in(key, 0)
    return jax.lax.scan(step, jnp.zeros(SERIES), fold_in_each(stream, numbers(STEPS)))[
        1
    ]


def loss(simulator: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: (simulator(*args) ** 2).mean()


# --- a regression: draws of several shapes, and one a lane


def regress(x: Any) -> Any:
    slope, noise = pjax.normal(0.0, 1.0), pjax.halfnormal(0.0, 1.0)
    return jax.vmap(lambda row: pjax.normal(slope * row, noise))(x)


def regress_by_hand(key: Any, x: Any) -> Any:
    first, second, third = keys_at(key, 3)
    slope = jax.random.normal(first)
    noise = jnp.abs(jax.random.normal(second))
    each = fold_in_each(third, numbers(ROWS))
    return jax.vmap(lambda key, row: slope * row + noise * jax.random.normal(key))(
        each, x
    )


def workloads() -> dict[str, Workload]:
    key = jax.random.key(0)
    example = slopes()
    model = example.build()
    keyed, keyless = jp.prior(model), jp.prior(model, key=False)
    plain: dict[str, tuple[Any, Any, Any]] = {
        "state space": (
            lambda: jaxlink.seed(simulate),
            lambda: simulate_by_hand,
            (key, 0.1),
        ),
        "state space, gradient of the seeded program": (
            lambda: jax.grad(loss(jaxlink.seed(simulate)), argnums=1),
            lambda: jax.grad(loss(simulate_by_hand), argnums=1),
            (key, 0.1),
        ),
        "state space, gradient in the program": (
            lambda: jaxlink.seed(jax.grad(loss(simulate))),
            lambda: jax.grad(loss(simulate_by_hand), argnums=1),
            (key, 0.1),
        ),
        "regression, a lane a row": (
            lambda: jaxlink.seed(regress),
            lambda: regress_by_hand,
            (key, jnp.linspace(0, 1, ROWS)),
        ),
        "a PyMC model in a program": (
            lambda: jaxlink.seed(lambda: keyless()),
            lambda: lambda key: example.draw(key, keys_at),
            (key,),
        ),
        "a PyMC model in a program (over the function with a key)": (
            lambda: jaxlink.seed(lambda: keyless()),
            lambda: keyed,
            (key,),
        ),
    }
    return {name: Workload(name, *parts) for name, parts in plain.items()}


def twice(work: Workload, runs: int) -> float:
    """The run time of the program by hand over its own, compiled twice."""
    programs = [jax.jit(work.by_hand()).lower(*work.args).compile() for _ in range(2)]
    times = medians([lambda p=p: p(*work.args) for p in programs], runs)
    return times[1] / times[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiles", type=int, default=7, help="rounds")
    parser.add_argument("--runs", type=int, default=200, help="rounds")
    parser.add_argument("--only", default="", help="programs whose names have this")
    options = parser.parse_args()
    print("| program | compile | run | by hand twice |\n|---|---|---|---|")
    chosen = {n: work for n, work in workloads().items() if options.only in n}
    for name, work in chosen.items():
        ratios = compare(work, options.compiles, options.runs)
        same = twice(work, options.runs)
        figures = f"{ratios.compile:.2f} | {ratios.run:.2f} | {same:.2f}"
        print(f"| {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
