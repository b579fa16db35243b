"""Loops with a known number of steps: ``lax.scan``, or unrolled."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim

from jaxlink.dispatch.scan.body import (
    Body,
    Carry,
    cut_gradient,
    source,
    stack,
    stop_gradient,
)
from jaxlink.dispatch.scan.draws_ahead import draw_ahead, with_draws
from jaxlink.errors import DynamicShapeError
from jaxlink.ops.loop import Keep
from jaxlink.values.static import to_dynamic

# If more last rows than this are read, they are not carried. A second loop stacks them.
_MANY = 16
# XLA compiles each step of an unrolled loop.
_MOST_UNROLLED = 512


def run_scan(
    body: Body, outer: Sequence[Any], sequences: Sequence[Any], n_steps: int
) -> tuple[Carry, list[Any]]:
    """The carry after ``n_steps``, and the stacked rows of each state and nit-sot.

    This is one ``lax.scan``. It is two or three in a row if no gradient flows through
    the first steps (``truncate_gradient``), or if many rows are read but not all.
    """
    many = {k for k in body.keep if isinstance(k, int) and k > _MANY}
    no_gradient = _steps_without_gradient(body, n_steps)
    cuts = {0, n_steps, no_gradient, *(n_steps - k for k in many)}
    ends = sorted(cut for cut in cuts if 0 <= cut <= n_steps)

    sequences = list(map(to_dynamic, sequences))
    few = replace(body, keep=tuple(0 if k in many else k for k in body.keep))
    carry = few.start(outer)
    if n_steps:
        carry = few.with_windows(carry, sequences)
    initial, pieces = carry, []
    drawn = draw_ahead(body.planned, carry.untraced, n_steps)
    for start, stop in pairwise(ends) if n_steps else [(0, 0)]:
        part = replace(body, keep=tuple(_kept(k, n_steps - start) for k in body.keep))
        length = stop - start
        xs = [seq if seq.shape[0] == length else seq[start:stop] for seq in sequences]
        if start < no_gradient:
            part, xs, carry = part.frozen(), stop_gradient(xs), stop_gradient(carry)
        elif start == no_gradient:
            carry = cut_gradient(initial, carry, no_gradient)

        def step(carry: Carry, xs: Any, part: Body = part) -> tuple[Carry, Any]:
            xs, drawn = xs
            untraced = with_draws(carry.untraced, drawn)
            return part.advance(carry._replace(untraced=untraced), xs)[:2]

        these = jax.tree.map(lambda x, at=slice(start, stop): x[at], drawn)
        carry, traces = _scan(step, carry, (xs, these), length)
        pieces.append(traces)
    return carry, [_joined(some) for some in zip(*pieces, strict=True)]


def _scan(step: Any, carry: Carry, xs: Any, length: Any) -> tuple[Carry, Any]:
    """``lax.scan``, whose length may be symbolic if a sequence has it."""
    if not is_symbolic_dim(length):
        return jax.lax.scan(step, carry, xs, length=length)
    counted = jnp.arange(length), xs
    return jax.lax.scan(lambda carry, x: step(carry, x[1]), carry, counted)


def run_unrolled(
    body: Body, outer: Sequence[Any], sequences: Sequence[Any], n_steps: int
) -> tuple[Carry, list[Any]]:
    """Like `run_scan`, but unrolled: each step may have its own shapes, and known
    values stay known."""
    if n_steps > _MOST_UNROLLED:
        raise DynamicShapeError(
            f"shapes inside `{body.node.op}` change from step to step, so it would be "
            f"unrolled. It has {n_steps} steps, and more than {_MOST_UNROLLED} take "
            "too long to compile. Use the full size in every step, and mask it."
        )
    n_states, keep = len(body.keep) - len(body.keep_nit_sot), body.keep
    kept = tuple("steps" if k and i >= n_states else k for i, k in enumerate(keep))
    body = replace(body, convert=lambda value: value, keep=kept)
    no_gradient = _steps_without_gradient(body, n_steps)
    frozen = body.frozen() if no_gradient > 0 else body
    carry = body.start(outer)
    initial, steps = carry, []
    for i in range(n_steps):
        xs = [seq[i] for seq in sequences]
        if i < no_gradient:
            xs, carry = stop_gradient(xs), stop_gradient(carry)
        elif i == no_gradient:
            carry = cut_gradient(initial, carry, no_gradient)
        carry, traces, _ = (frozen if i < no_gradient else body).advance(carry, xs)
        steps.append(traces)
    outs = body.node.outputs[body.scan.info.n_mit_mot :]
    # Only the rows of a nit-sot that are read must have the same shape.
    last = [k if isinstance(k, int) else 0 for k in keep]
    traces = [
        None if some[0] is None else stack(some[-k:], source(var))
        for var, k, some in zip(outs, last, zip(*steps, strict=True), strict=False)
    ]
    return carry, traces or [None] * len(body.keep)


def _steps_without_gradient(body: Body, n_steps: int) -> int:
    truncate = body.scan.truncate_gradient
    return 0 if truncate < 0 else max(n_steps - truncate, 0)


def _kept(keep: Keep, steps_left: int) -> Keep:
    """What a loop keeps if it starts ``steps_left`` steps before the end."""
    if not isinstance(keep, int) or keep <= _MANY:
        return keep
    return "steps" if steps_left <= keep else 0


def _joined(pieces: Sequence[Any]) -> Any:
    given = [piece for piece in pieces if piece is not None]
    if len(given) <= 1:
        return given[0] if given else None
    return jnp.concatenate(given)
