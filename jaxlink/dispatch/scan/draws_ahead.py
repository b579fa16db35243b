"""Standard draws of a loop, made ahead of it.

A loop over time draws ``normal(f(state), scale)``. Its parameters are known only step
by step. But the keys are known before, and so are the standard draws ``z`` of
``loc + scale * z``. They are made in one batch before the loop: that is many times
faster than one at a time, and gives the same bits.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType

from jaxlink.dispatch.random.registry import find_row
from jaxlink.numerics.random.continuous import LocationScale
from jaxlink.values.static import canonical
from jaxlink.values.streams import Stream

# In elements, of all steps.
LARGEST = 2**22


class StandardDraw(NamedTuple):
    """A draw in a step that can be made ahead."""

    sampler: LocationScale
    shape: tuple[int, ...]
    dtype: str


# For each random generator that a loop carries: its draws in a step, in order. None
# stands for a draw that cannot be made ahead.
Plan = list[list[StandardDraw | None]]


def plan(scan: Any) -> Plan:
    """The draws of a Scan that can be made ahead."""
    inputs = scan.inner_untraced_sit_sot(scan.fgraph.inputs)
    return [_draws_along(scan.fgraph, var) for var in inputs]


def _draws_along(fgraph: Any, stream: Any) -> list[StandardDraw | None]:
    found: list[StandardDraw | None] = []
    while isinstance(stream.type, RandomType):
        draws = [
            client
            for client, i in fgraph.clients[stream]
            if isinstance(client.op, RandomVariable) and i == 0
        ]
        if not draws:
            return found
        if len(draws) > 1 or len(fgraph.clients[stream]) > 1:
            return []
        row, (stream, out) = find_row(draws[0].op), draws[0].outputs
        sampler: Any = row and row.draw
        fits = isinstance(sampler, LocationScale) and None not in out.type.shape
        found.append(
            StandardDraw(sampler, out.type.shape, out.type.dtype) if fits else None
        )
    return []


def draw_ahead(planned: Plan, streams: Sequence[Any], n_steps: int) -> list[list[Any]]:
    """The draws of all steps, along a new first axis; ``None`` where there is none."""
    size = sum(
        n_steps * math.prod(draw.shape)
        for draws in planned
        for draw in draws
        if draw is not None
    )
    if not 0 < size <= LARGEST:
        return [[] for _ in streams]
    return [
        _along(draws, stream, n_steps) if isinstance(stream, Stream) else []
        for draws, stream in zip(planned, streams, strict=True)
    ]


def _along(draws: list[StandardDraw | None], stream: Stream, n_steps: int) -> list[Any]:
    if str(jax.random.key_impl(stream.key)) != "threefry2x32":
        return []  # it draws other bits under vmap
    first = jnp.asarray(stream.count, np.uint32)
    steps = jnp.arange(n_steps, dtype=np.uint32) * np.uint32(len(draws))

    def drawn(draw: StandardDraw, place: int) -> Any:
        def at(step: Any) -> Any:
            key = jax.random.fold_in(stream.key, first + step + np.uint32(place))
            return draw.sampler.standard(key, draw.shape, canonical(draw.dtype))

        return jax.vmap(at)(steps)

    return [draw and drawn(draw, place) for place, draw in enumerate(draws)]


def with_draws(streams: Sequence[Any], drawn: Sequence[Sequence[Any]]) -> list[Any]:
    """The generators of one step, with the draws made ahead for it."""
    return [
        replace(stream, drawn=tuple(some)) if some else stream
        for stream, some in zip(streams, drawn, strict=True)
    ]
