"""Where the time to a first result goes: rewriting, linking, tracing, lowering, XLA."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import jax
import pymc as pm
from pytensor.graph.fg import FunctionGraph

import jaxlink.rewrites
from benchmarks.functions import Sides
from benchmarks.harness import forget
from jaxlink.rewrites.pytensor_rewrites import pytensor_rewrites
from jaxlink.rewrites.stacking import stack_isomorphic

__all__ = ["STAGES", "breakdown", "slowest_passes"]

STAGES = (
    "PyMC's log density",
    "PyTensor's rewrites",
    "own rewrites",
    "rest of jaxlink",
    "tracing",
    "lowering",
    "XLA",
    "call",
)

_BEFORE = "PyMC's log density", "PyTensor's rewrites", "own rewrites"

_EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "XLA",
}


def breakdown(work: Sides, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each stage, by side: jaxlink and by hand, taking turns."""
    found: dict[str, list[Counter[str]]] = {"jaxlink": [], "by hand": []}
    for _ in range(rounds):
        for side, times in found.items():
            times.append(_once(work.make[side], work.args))
    return {
        side: {stage: median(one[stage] for one in times) for stage in STAGES}
        for side, times in found.items()
    }


def _once(make: Callable[[], Callable[..., Any]], args: Any) -> Counter[str]:
    forget()
    taken: Counter[str] = Counter()

    def listen(event: str, seconds: float, **_: Any) -> None:
        if event in _EVENTS:
            taken[_EVENTS[event]] += seconds

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        with _rewrites_timed(taken):
            start = time.perf_counter()
            fn = make()
            made = time.perf_counter()
            jax.block_until_ready(fn(*args))
            end = time.perf_counter()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    taken["rest of jaxlink"] = made - start - sum(taken[name] for name in _BEFORE)
    taken["call"] = end - made - sum(taken[name] for name in _EVENTS.values())
    return taken


@contextmanager
def _rewrites_timed(taken: Counter[str]) -> Iterator[None]:
    """Add the seconds of PyMC and of the steps of the pipeline to ``taken``."""

    def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken[stage] += time.perf_counter() - start

        return run

    steps = {
        step: timed(
            step,
            "PyTensor's rewrites" if step is pytensor_rewrites else "own rewrites",
        )
        for step in jaxlink.rewrites.STEPS
    }
    with (
        patch.object(jaxlink.rewrites, "STEPS", tuple(steps.values())),
        # The pipeline leaves this step out if it is told so, by identity.
        patch.object(jaxlink.rewrites, "stack_isomorphic", steps[stack_isomorphic]),
        patch.object(pm.Model, "logp", timed(pm.Model.logp, "PyMC's log density")),
    ):
        yield


def slowest_passes(work: Sides, count: int) -> list[tuple[str, float]]:
    """PyTensor's slowest rewrites of a graph, each with its share of their time.

    The shares are of the groups in which PyTensor runs its rewrites one after another.
    """
    graphs: list[FunctionGraph] = []

    def keep(fgraph: FunctionGraph) -> None:
        graphs.append(fgraph.clone())
        pytensor_rewrites(fgraph)

    steps = [keep if s is pytensor_rewrites else s for s in jaxlink.rewrites.STEPS]
    with patch.object(jaxlink.rewrites, "STEPS", tuple(steps)):
        forget()
        work.make["jaxlink"]()
    group, seconds, *_ = pytensor_rewrites(graphs[0])
    pairs = [(str(one.name), t) for one, t in zip(group.data, seconds, strict=True)]
    total = sum(seconds)
    ranked = sorted(pairs, key=lambda pair: -pair[1])
    return [(name, t / total) for name, t in ranked[:count]]
