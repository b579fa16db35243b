"""Time a jaxlink function against the same function written by hand in JAX.

Both run in one process and take turns, so that other load on the machine affects both
alike. The result is the ratio of their medians.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax

import jaxlink


@dataclass(frozen=True)
class Workload:
    """One function, made in two ways.

    ``compiled`` calls ``jaxlink.function`` on a PyTensor graph that was built before;
    ``by_hand`` returns a plain JAX function. Both are jitted and called with ``args``.
    """

    name: str
    compiled: Callable[[], Callable[..., Any]]
    by_hand: Callable[[], Callable[..., Any]]
    args: Sequence[Any]


@dataclass(frozen=True)
class Ratios:
    """jaxlink's median time over that of the handwritten function.

    ``compile`` takes the graph or the function to an executable. ``link`` is
    ``jaxlink.function`` alone, over the same handwritten compilation.
    """

    link: float
    compile: float
    run: float


def forget() -> None:
    """Drop all programs, so that the next call compiles again."""
    jaxlink.clear_cache()
    jax.clear_caches()
    gc.collect()  # or what was dropped would be collected while we measure


def medians(
    actions: Sequence[Callable[[], Any]],
    rounds: int,
    before: Callable[[], Any] = lambda: None,
) -> list[float]:
    """Median seconds of each action. They take turns, after one warm-up round."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds + 1):
        for action, taken in zip(actions, times, strict=True):
            before()
            start = time.perf_counter()
            jax.block_until_ready(action())
            taken.append(time.perf_counter() - start)
    return [median(taken[1:]) for taken in times]


def compare(work: Workload, compiles: int, runs: int) -> Ratios:
    """All ratios of a workload."""
    compiled, by_hand = (
        lambda make=make: jax.jit(make()).lower(*work.args).compile()
        for make in (work.compiled, work.by_hand)
    )
    actions = [work.compiled, compiled, by_hand]
    link, ours, theirs = medians(actions, compiles, before=forget)
    executables = compiled(), by_hand()
    run = medians([lambda e=e: e(*work.args) for e in executables], runs)
    return Ratios(link / theirs, ours / theirs, run[0] / run[1])


def call_cost(fns: Sequence[Callable[..., Any]], args: Any, rounds: int) -> list[float]:
    """The median cost of one call of each function, in microseconds."""
    batch = 1000

    def call_often(fn: Callable[..., Any]) -> None:
        for _ in range(batch):
            fn(*args)

    times = medians([lambda fn=fn: call_often(fn) for fn in fns], rounds)
    return [seconds / batch * 1e6 for seconds in times]
