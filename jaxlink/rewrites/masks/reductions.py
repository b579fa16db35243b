"""Reductions, sorting and products of a selection (see `rewrites.masks`)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce
from pytensor.tensor.extra_ops import CumOp
from pytensor.tensor.math import Argmax, Dot, MulWithoutZeros
from pytensor.tensor.sort import SortOp
from pytensor.tensor.special import LogSoftmax, LogSumExp, Softmax

from jaxlink.rewrites.masks.selections import (
    Declined,
    Mask,
    Masked,
    Value,
    Walk,
    axes_of,
    mask_rule,
    neutralized,
    plain,
    refilled,
)

# --- reductions ----------------------------------------------------------------------


def _least(dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    return -np.inf if kind == "f" else np.iinfo(dtype).min if kind in "iu" else False


def _greatest(dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    return np.inf if kind == "f" else np.iinfo(dtype).max if kind in "iu" else True


# The neutral element for a dtype. (A product without zeros skips zeros.)
NEUTRAL: dict[type, Callable[[str], Any]] = {
    ps.Add: lambda dtype: 0,
    ps.Mul: lambda dtype: 1,
    MulWithoutZeros: lambda dtype: 0,
    ps.Maximum: _least,
    ps.Minimum: _greatest,
    ps.AND: lambda dtype: True if dtype == "bool" else -1,
    ps.OR: lambda dtype: 0,
    ps.XOR: lambda dtype: 0,
}


def _not_empty(out: Variable, masks: Iterable[Mask], what: Any) -> Variable:
    check = CheckAndRaise(ValueError, f"{what} of an empty selection")
    return check(out, *(pt.any(mask.flags) for mask in masks))


def _without(axes: dict[int, Mask], gone: Iterable[int]) -> dict[int, Mask]:
    gone = set(gone)
    return {a - sum(g < a for g in gone): m for a, m in axes.items() if a not in gone}


def _reduced(node: Any, x: Masked) -> tuple[Sequence[int], list[int]]:
    """The axes that ``node`` reduces, and those of them that are selected."""
    axis = node.op.axis
    over = range(x.ndim) if axis is None else (np.atleast_1d(axis) % x.ndim).tolist()
    return over, [a for a in x.axes if a in over]


@mask_rule(CAReduce)
def reduction(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    (x,) = values
    assert isinstance(x, Masked)
    kind = type(node.op.scalar_op)
    if kind not in NEUTRAL or x.full.type.dtype.startswith("complex"):
        raise Declined(f"`{node.op}` has no neutral element")
    over, gone = _reduced(node, x)
    out = node.op(neutralized(x, gone, NEUTRAL[kind](x.full.type.dtype)))
    if kind in (ps.Maximum, ps.Minimum) and not getattr(node.op, "initial", False):
        out = _not_empty(out, [x.axes[axis] for axis in gone], node.op)
    return [Masked(out, _without(x.axes, over))]


@mask_rule(Argmax)
def argmax(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    (x,) = values
    assert isinstance(x, Masked)
    over, gone = _reduced(node, x)
    if gone and len(over) > 1:
        raise Declined("argmax is taken over several dimensions")
    out = node.op(neutralized(x, gone, _least(x.full.type.dtype)))
    for axis in gone:
        # The index among the selected. If all are the least value, it is the first.
        rank = pt.cumsum(x.axes[axis].flags.astype("int64")) - 1
        out = _not_empty(pt.maximum(rank[out], 0), [x.axes[axis]], "argmax")
    return [Masked(out, _without(x.axes, over))]


@mask_rule(CumOp)
def cumulative(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    (x,) = values
    assert isinstance(x, Masked)
    axis = node.op.axis
    if axis is None and x.ndim > 1:
        raise Declined(f"`{node.op}` flattens it")
    axis = axis or 0
    if axis not in x.axes:
        return [Masked(node.op(x.full), x.axes)]
    neutral = 0 if node.op.mode == "add" else 1
    return [refilled(node.op(neutralized(x, [axis], neutral)), x.axes)]


@mask_rule(LogSumExp, Softmax, LogSoftmax)
def softmax(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    (x,) = values
    assert isinstance(x, Masked)
    over, gone = _reduced(node, x)
    out = node.op(neutralized(x, gone, -np.inf))
    if not isinstance(node.op, LogSumExp):
        return [refilled(out, x.axes)]
    keeps = out.type.ndim == x.ndim
    rest = {a: m for a, m in x.axes.items() if a not in gone}
    return [Masked(out, rest if keeps else _without(x.axes, over))]


@mask_rule(SortOp)
def sort(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Sort the selected elements to the front; a new mask selects them there."""
    x = values[0]
    if not isinstance(x, Masked) or x.ndim != 1:
        raise Declined(f"`{node.op}` sorts several dimensions")
    (mask,) = x.axes.values()
    order = pt.argsort(x.full, kind="stable")
    order = order[pt.argsort(~mask.flags[order], kind="stable")]
    rank = pt.arange(mask.flags.shape[0])
    first = walk.mask(("sorted", mask.key), lambda: rank < pt.sum(mask.flags))
    return [Masked(x.full[order], {0: first})]


# --- products ------------------------------------------------------------------------


@mask_rule(Dot, Blockwise)
def dot(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    if not isinstance(getattr(node.op, "core_op", node.op), Dot):
        raise Declined(f"`{node.op}` needs it as it is")
    x, y = values
    ndim = plain(x).type.ndim
    last = ndim - 1
    row, column = max(last - 1, 0), max(plain(y).type.ndim - 2, 0)
    inner = [axes_of(x).get(last), axes_of(y).get(column)]
    if inner[0] != inner[1]:
        raise Declined("a product sums over dimensions selected by different masks")
    if any(a < ndim - 2 for v in values for a in axes_of(v)):
        raise Declined("a batch of products is selected")
    factors = [
        neutralized(v, [axis] if inner[0] else [], 0) if isinstance(v, Masked) else v
        for v, axis in ((x, last), (y, column))
    ]
    axes = {a: m for a, m in axes_of(x).items() if a == row != last}
    if last in axes_of(y) and last != column:
        axes[last] = axes_of(y)[last]
    return [Masked(node.op(*factors), axes)]
