"""Whole calls as a user makes them, each in a process of its own.

`python -m benchmarks.calls MODEL WHAT SIDE` prints the seconds of the first call, of a
second one, and of one for a model that was built again, as JSON. `benchmarks.suite`
runs it for both sides in turns, with caches on disk that are empty or filled.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["MODELS", "WHAT", "compare_calls"]

MODELS = (
    *("horseshoe", "slopes", "GP", "AR(1)", "GARCH", "counts", "two_poissons"),
    *("eight_schools", "scalars"),
)
WHAT = ("prior", "posterior", "likelihood", "sample")
SIDES = ("jaxlink", "PyMC", "nutpie", "NumPyro")


def compare_calls(
    model: str,
    what: str,
    folder: Path,
    *,
    draws: int,
    rounds: int,
    filled: bool,
    sides: tuple[str, ...] = ("jaxlink", "PyMC"),
) -> dict[str, dict[str, float]]:
    """Median seconds of calls, by side, taking turns.

    Arguments:
        model, what: names in `MODELS` and `WHAT`.
        folder: for the caches on disk.
        draws: the number of draws; of each of 4 chains for "sample".
        rounds: how many processes of each side.
        filled: whether an earlier process has filled the caches.
        sides: what to compare, of `SIDES`.
    """
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for i in range(rounds + filled):
        for side in sides:
            place = folder / (f"{model}-{what}-{side}" + ("" if filled else f"-{i}"))
            result = _in_process(model, what, side, draws, place)
            if i or not filled:
                found[side].append(result)
    return {
        side: {name: median(r[name] for r in results) for name in results[0]}
        for side, results in found.items()
    }


def _in_process(
    model: str, what: str, side: str, draws: int, place: Path
) -> dict[str, float]:
    place.mkdir(parents=True, exist_ok=True)
    of_jax = {
        "JAX_COMPILATION_CACHE_DIR": str(place / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    env = {
        **os.environ,
        "JAXLINK_CACHE": str(place / "jaxlink"),
        **(of_jax if side == "NumPyro" else {}),
        "PYTENSOR_FLAGS": f"base_compiledir={place / 'pytensor'}",
    }
    command = [sys.executable, "-m", "benchmarks.calls", model, what, side]
    out = subprocess.run(
        [*command, f"--draws={draws}"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, float] = json.loads(out.stdout.splitlines()[-1])
    return result


def _call(name: str, what: str, side: str, draws: int) -> Callable[[Any], Any]:
    """A function that makes the call for a model of this name."""
    import pymc as pm

    import jaxlink.pymc

    module: Any = jaxlink.pymc if side == "jaxlink" else pm
    quiet = {"progressbar": False}
    if side == "NumPyro":
        return partial(_numpyro, name, what, draws)
    if side == "nutpie":
        import nutpie

        def sample(model: Any) -> Any:
            limits = {"draws": draws, "tune": draws, "chains": 4}
            compiled = nutpie.compile_pymc_model(model)
            return nutpie.sample(compiled, **limits, progress_bar=False, seed=1)

        return sample
    if what == "sample":
        limits = {"draws": draws, "tune": draws, "chains": 4, "random_seed": 1}
        checks = {"compute_convergence_checks": False}
        return lambda model: module.sample(model=model, **limits, **checks, **quiet)
    if what == "prior":
        mine = quiet if side == "jaxlink" else {}
        return lambda model: module.sample_prior_predictive(
            draws, model, random_seed=1, **mine
        )
    functions = {
        "posterior": partial(module.sample_posterior_predictive, random_seed=1),
        "likelihood": partial(
            module.compute_log_likelihood, extend_inferencedata=False
        ),
    }
    return lambda model: functions[what](_trace(model, draws), model=model, **quiet)


def _numpyro(name: str, what: str, draws: int, model: Any) -> Any:
    from benchmarks import numpyro_models

    trace = None
    if what in ("posterior", "likelihood"):
        group = _trace(model, draws)["posterior"]
        trace = {key: value.values[0] for key, value in group.items()}
    return numpyro_models.call(name, what, draws, trace)()


_traces: dict[int, Any] = {}


def _trace(model: Any, draws: int) -> Any:
    """Draws of the free variables, made once and without a compiler."""
    import numpy as np
    import xarray as xr

    names = [rv.name for rv in model.free_RVs]
    if draws not in _traces:
        rng = np.random.default_rng(0)
        point = model.initial_point()
        values = {}
        for rv in model.free_RVs:
            shape = point[model.rvs_to_values[rv].name].shape
            if rv.dtype.startswith("int"):
                drawn: Any = rng.integers(5, 9, (1, draws, *shape))
            else:
                drawn = rng.uniform(0.2, 0.8, (1, draws, *shape))
            dims = [f"{rv.name}_{i}" for i in range(len(shape))]
            values[rv.name] = (("chain", "draw", *dims), drawn)
        posterior = xr.Dataset(values, {"chain": [0], "draw": range(draws)})
        _traces[draws] = xr.DataTree.from_dict({"posterior": posterior})
    assert set(names) == set(_traces[draws]["posterior"])
    return _traces[draws]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pymc").setLevel(logging.ERROR)

    if options.side == "NumPyro":
        import numpyro

        numpyro.set_host_device_count(4)  # one for each chain

    import jax

    jax.config.update("jax_enable_x64", True)
    misses = []
    jax.monitoring.register_event_listener(
        lambda event, **_: misses.append(event) if "cache_misses" in event else None
    )
    from benchmarks import models

    examples = {e.name: e.build for e in (make() for make in models.EXAMPLES)}
    built = examples | {
        name: getattr(models, name)
        for name in ("counts", "two_poissons", "eight_schools", "scalars")
    }
    build = built[options.model]
    call = _call(options.model, options.what, options.side, options.draws)
    model, result = build(), {}
    for name, of in (("first", model), ("second", model), ("rebuilt", build())):
        if options.what in ("posterior", "likelihood"):
            _trace(of, options.draws)
        start = time.perf_counter()
        call(of)
        result[name] = time.perf_counter() - start
        result[f"{name} misses"] = len(misses)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
