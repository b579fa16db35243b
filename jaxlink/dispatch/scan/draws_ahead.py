"""Standard draws of a loop, made ahead of it.

A loop over time draws ``normal(f(state), scale)``. Its parameters are known only step
by step. But the keys are known before, and so are the standard draws ``z`` of
``loc + scale * z``. They are made in one batch before the loop: that is many times
faster than one at a time, and gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim
from pytensor.graph.basic import Apply

from jaxlink.dispatch.random.standard_draws import (
    StandardDraw,
    draws_along,
    standard_of,
)
from jaxlink.values.static import canonical
from jaxlink.values.streams import Stream

# In elements, of all steps.
LARGEST = 2**22


# For each random generator that a loop carries: its draws in a step, in order. None
# stands for a draw that cannot be made ahead.
Plan = list[tuple[StandardDraw | None, ...]]


def plan(scan: Any) -> Plan:
    """The draws of a Scan that can be made ahead."""
    inputs = scan.inner_untraced_sit_sot(scan.fgraph.inputs)
    return [tuple(map(_standard, draws_along(scan.fgraph, var))) for var in inputs]


def _standard(node: Apply | None) -> StandardDraw | None:
    standard = None if node is None else standard_of(node.op)
    if node is None or standard is None or None in node.outputs[1].type.shape:
        return None
    out = node.outputs[1].type
    return StandardDraw(standard, out.shape, out.dtype)


def draw_ahead(planned: Plan, streams: Sequence[Any], n_steps: int) -> list[list[Any]]:
    """The draws of all steps, along a new first axis; ``None`` where there is none."""
    size = sum(
        n_steps * draw.size for draws in planned for draw in draws if draw is not None
    )
    if is_symbolic_dim(size) or not 0 < size <= LARGEST:
        return [[] for _ in streams]
    return [
        _along(draws, stream, n_steps) if isinstance(stream, Stream) else []
        for draws, stream in zip(planned, streams, strict=True)
    ]


def _along(
    draws: Sequence[StandardDraw | None], stream: Stream, n_steps: int
) -> list[Any]:
    if str(jax.random.key_impl(stream.key)) != "threefry2x32":
        return []  # it draws other bits under vmap
    first = jnp.asarray(stream.count, np.uint32)
    steps = jnp.arange(n_steps, dtype=np.uint32) * np.uint32(len(draws))

    def drawn(draw: StandardDraw, place: int) -> Any:
        def at(step: Any) -> Any:
            key = jax.random.fold_in(stream.key, first + step + np.uint32(place))
            return draw.standard(key, draw.shape, canonical(draw.dtype))

        return jax.vmap(at)(steps)

    return [draw and drawn(draw, place) for place, draw in enumerate(draws)]


def with_draws(streams: Sequence[Any], drawn: Sequence[Sequence[Any]]) -> list[Any]:
    """The generators of one step, with the draws made ahead for it."""
    return [
        replace(stream, drawn=tuple(some)) if some else stream
        for stream, some in zip(streams, drawn, strict=True)
    ]
