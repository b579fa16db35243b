"""Time a jaxlink function against the same function written by hand in JAX.

Both run in one process, in turns, so that what else the machine does hits both. What
counts is the ratio of their medians.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax


@dataclass(frozen=True)
class Workload:
    """One function, made in two ways.

    ``compiled`` starts from a PyTensor graph, built beforehand, and includes
    ``jaxlink.function``; ``by_hand`` returns a plain JAX function. Both are jitted and
    called with ``args``.
    """

    name: str
    compiled: Callable[[], Callable[..., Any]]
    by_hand: Callable[[], Callable[..., Any]]
    args: Sequence[Any]


@dataclass(frozen=True)
class Ratios:
    """jaxlink's median time over that by hand."""

    link: float
    compile: float
    run: float


def compare(work: Workload, compiles: int, runs: int) -> Ratios:
    """Ratios of compile times, from the graph or function to an executable, and of run
    times. ``link`` is the part of the first that ``jaxlink.function`` itself takes."""
    makers = [work.compiled, work.by_hand]
    compile_times: list[list[float]] = [[], []]
    link_times = []
    executables: list[Any] = [None, None]
    for _ in range(compiles + 1):  # the first one warms up
        for i, make in enumerate(makers):
            jax.clear_caches()
            start = time.perf_counter()
            fn = make()
            made = time.perf_counter()
            executables[i] = jax.jit(fn).lower(*work.args).compile()
            compile_times[i].append(time.perf_counter() - start)
            if i == 0:
                link_times.append(made - start)
    run_times: list[list[float]] = [[], []]
    for _ in range(runs + 1):
        for i, executable in enumerate(executables):
            start = time.perf_counter()
            jax.block_until_ready(executable(*work.args))
            run_times[i].append(time.perf_counter() - start)
    by_hand = median(compile_times[1][1:])
    return Ratios(
        median(link_times[1:]) / by_hand,
        median(compile_times[0][1:]) / by_hand,
        median(run_times[0][1:]) / median(run_times[1][1:]),
    )


def call_cost(fns: Sequence[Callable[..., Any]], args: Any, rounds: int) -> list[float]:
    """The median cost of one call of each function, in microseconds, in turns."""
    batch = 1000
    times: list[list[float]] = [[] for _ in fns]
    for _ in range(rounds):
        for fn, cost in zip(fns, times, strict=True):
            start = time.perf_counter()
            for _ in range(batch):
                fn(*args)
            cost.append((time.perf_counter() - start) / batch * 1e6)
    return [median(cost) for cost in times]
