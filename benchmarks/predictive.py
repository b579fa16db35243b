"""How much memory and time does posterior predictive sampling take?

`uv run python -m benchmarks.predictive`. Memory is measured in a separate process, as
the growth of its resident set after compilation (Linux records the peak, and lets a
process reset it). Times are for evaluation after compilation, in one process and taking
turns.
"""

import argparse
import multiprocessing
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import pymc as pm  # noqa: E402
import xarray as xr  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.harness import medians  # noqa: E402
from jaxlink.call.memory import budget, format_bytes  # noqa: E402
from jaxlink.pymc.batched import runner  # noqa: E402
from jaxlink.pymc.batched.chunks import Chunks, evaluate  # noqa: E402
from jaxlink.pymc.batched.samples import Samples  # noqa: E402
from jaxlink.pymc.batched.store import BLOCK_BYTES  # noqa: E402
from jaxlink.pymc.model.predictive import posterior_predictive  # noqa: E402
from jaxlink.pymc.predict.forward import sample_posterior_predictive  # noqa: E402

CHAINS, DRAWS, OBSERVATIONS, COLUMNS = 4, 1000, 1000, 5
LIKELIHOODS: dict[str, Callable[..., Any]] = {
    "normal": lambda mu, sigma, y: pm.Normal("y", mu, sigma, observed=y),
    "Poisson": lambda mu, sigma, y: pm.Poisson(
        "y", np.exp(2) * pm.math.exp(mu / 9), observed=y
    ),
}


def regression(likelihood: str, observations: int = OBSERVATIONS) -> pm.Model:
    """A linear predictor of a few columns, with many observations."""
    rng = np.random.default_rng(1)
    with pm.Model() as model:
        X = pm.Data("X", rng.normal(size=(observations, COLUMNS)))
        beta = pm.Normal("beta", shape=COLUMNS)
        sigma = pm.HalfNormal("sigma")
        LIKELIHOODS[likelihood](X @ beta, sigma, np.ones(observations))
    return model


def posterior(model: pm.Model, draws: int) -> xr.DataTree:
    """Parameter values, as if they had been sampled."""
    rng = np.random.default_rng(2)
    groups = {
        "posterior": {
            "beta": (("chain", "draw", "i"), rng.normal(size=(CHAINS, draws, COLUMNS))),
            "sigma": (("chain", "draw"), rng.gamma(1.0, size=(CHAINS, draws))),
        },
        "constant_data": {"X": (("row", "i"), model["X"].get_value())},
    }
    return xr.DataTree.from_dict({name: xr.Dataset(g) for name, g in groups.items()})


def memory(draws: int, on_disk: bool) -> tuple[int, int]:
    """The size of the result, and how much the process grew to make it, in bytes."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_memory, (draws, on_disk))


def _memory(draws: int, on_disk: bool) -> tuple[int, int]:
    grown = []

    def watched(*args: Any) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        before = _status("VmRSS")
        columns = evaluate(*args)
        grown.append(_status("VmHWM") - before)
        return columns

    runner.evaluate = watched
    model = regression("normal")
    with tempfile.TemporaryDirectory() as folder:
        sample_posterior_predictive(
            posterior(model, draws),
            model,
            random_seed=1,
            progressbar=False,
            store=Path(folder) / "store" if on_disk else None,
        )
    return CHAINS * draws * OBSERVATIONS * 8, grown[0]


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("this benchmark needs Linux: it reads /proc/self/status.")
    return 1024 * int(found[1])


def times(likelihood: str, sizes: list[int | None], rounds: int) -> list[float]:
    """Seconds to evaluate all draws in chunks of each size (``None`` is the default);
    the last entry is one call of the same function under `jax.vmap`."""
    model = regression(likelihood)
    group = posterior(model, DRAWS)["posterior"]
    fn = posterior_predictive(model)
    values = {name: group[name].values for name in fn.names}
    samples = Samples({"chain": np.arange(CHAINS), "draw": np.arange(DRAWS)}, values)
    actions = []
    for size in sizes:
        chunks = Chunks(
            fn,
            lambda fn, key, draw: fn(key, draw),
            samples,
            key=jax.random.key(1),
            batch_size=size,
        )
        chunks.compile()
        actions.append(lambda chunks=chunks: _evaluate(chunks))
    keys = jax.random.split(jax.random.key(1), CHAINS * DRAWS)
    flat = {n: x.reshape(CHAINS * DRAWS, *x.shape[2:]) for n, x in values.items()}
    vmapped = jax.jit(jax.vmap(fn)).lower(keys, flat).compile()
    actions.append(lambda: np.array(vmapped(keys, flat)["y"]))
    return medians(actions, rounds)


def _evaluate(chunks: Chunks) -> None:
    evaluate(chunks, DRAWS, lambda first, last, arrays: None, lambda count: None)


def whole_calls(likelihood: str, rounds: int) -> float:
    """The time of a whole call, compilation included, over that of a later call of
    PyMC's function, which compiles only in its first call."""
    model = regression(likelihood)
    trace = posterior(model, DRAWS)

    def ours() -> None:
        sample_posterior_predictive(trace, model, random_seed=1, progressbar=False)

    def theirs() -> None:
        pm.sample_posterior_predictive(trace, model, random_seed=1, progressbar=False)

    first, pymc = medians([ours, theirs], rounds)
    return first / pymc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs for each size")
    options = parser.parse_args()
    console = Console()
    for draws in (DRAWS, 10 * DRAWS):
        size, grown = memory(draws, on_disk=False)
        bound = size + budget("cpu")
        console.print(
            f"{CHAINS * draws:,} draws of {OBSERVATIONS:,} observations: memory grew "
            f"by {grown / bound:.2f} times the result plus a chunk "
            f"({format_bytes(size)} + {format_bytes(budget('cpu'))})"
        )
    size, grown = memory(10 * DRAWS, on_disk=True)
    console.print(
        f"the same {CHAINS * 10 * DRAWS:,} draws to Zarr: memory grew by "
        f"{grown / size:.2f} times the result, or "
        f"{grown / (BLOCK_BYTES + budget('cpu')):.2f} times a block plus a chunk"
    )
    sizes: list[int | None] = [None, 16, 64, 256, 1024, CHAINS * DRAWS]
    table = Table("likelihood", *(f"chunks of {n}" for n in sizes[1:]), "jax.vmap")
    table.title = f"time of {CHAINS * DRAWS:,} draws over that with default chunks"
    for likelihood in LIKELIHOODS:
        default, *others = times(likelihood, sizes, options.rounds)
        table.add_row(likelihood, *(f"{t / default:.2f}" for t in others))
    console.print(table)
    first = {name: whole_calls(name, options.rounds) for name in LIKELIHOODS}
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        again = {name: whole_calls(name, options.rounds) for name in LIKELIHOODS}
    for name in LIKELIHOODS:
        console.print(
            f"a whole call, {name} likelihood: {first[name]:.2f} times a later call of "
            f"PyMC's; {again[name]:.2f} times with a jax_compilation_cache_dir"
        )


if __name__ == "__main__":
    main()
