"""Rules for Ops on a selection, except reductions (see `rewrites.masks`)."""

from collections.abc import Sequence
from typing import Any

import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.ops import DeepCopyOp, ViewOp
from pytensor.gradient import DisconnectedGrad, GradClip, GradScale, ZeroGrad
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import (
    Alloc,
    ARange,
    Join,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.reshape import JoinDims
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.special import LogAddExp, XLog1PY, XLogY

from jaxlink.rewrites.masks.selections import (
    Declined,
    Mask,
    Masked,
    MaskRule,
    Source,
    Value,
    Walk,
    aligned,
    any_masked,
    axes_of,
    mask_rule,
    plain,
    require_fit,
    source,
    spread,
)

# --- element by element --------------------------------------------------------------


@mask_rule(Elemwise, XLogY, XLog1PY, LogAddExp)
def elementwise(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    axes = aligned(values)
    outs = node.op(*map(plain, values), return_list=True)
    return [Masked(out, axes) for out in outs]


@mask_rule(ViewOp, DeepCopyOp, ZeroGrad, DisconnectedGrad, GradScale, GradClip)
def same(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    return [Masked(node.op(plain(values[0])), axes_of(values[0]))]


@mask_rule(CheckAndRaise, SpecifyShape)
def checked(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    if any_masked(values[1:]):
        raise Declined(f"`{node.op}` needs it as it is")
    axes = axes_of(values[0])
    if isinstance(node.op, SpecifyShape) and any(
        hasattr(node.inputs[1 + axis].type, "dtype") for axis in axes
    ):
        raise Declined("its length is specified")
    return [Masked(node.op(*map(plain, values)), axes)]


# --- shapes --------------------------------------------------------------------------


def length(value: Value, axis: int) -> Variable:
    axes = axes_of(value)
    if axis in axes:
        return pt.sum(axes[axis].flags, dtype="int64")
    return plain(value).shape[axis]


@mask_rule(Shape)
def shape(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    ndim = plain(values[0]).type.ndim
    return [pt.stack([length(values[0], axis) for axis in range(ndim)])]


@mask_rule(Shape_i)
def shape_i(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    return [length(values[0], node.op.i)]


@mask_rule(DimShuffle)
def dimshuffle(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    order, axes = list(node.op.new_order), axes_of(values[0])
    if not set(axes) <= set(order):
        raise Declined(f"`{node.op}` drops the selected dimension")
    moved = {order.index(axis): mask for axis, mask in axes.items()}
    return [Masked(plain(values[0]).dimshuffle(order), moved)]


@mask_rule(Reshape, JoinDims)
def joined(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Join dimensions; the new mask marks the selected joint elements."""
    x = values[0]
    if not isinstance(x, Masked) or any_masked(values[1:]):
        raise Declined("a shape depends on it")
    if isinstance(node.op, JoinDims):
        start, n = node.op.start_axis, node.op.n_axes
    elif node.op.ndim == 1:
        start, n = 0, x.ndim
    else:
        raise Declined(f"`{node.op}` rearranges the selected elements")
    kept = {axis: mask for axis, mask in x.axes.items() if axis < start}
    kept |= {a - n + 1: mask for a, mask in x.axes.items() if a >= start + n}
    inside = {a - start: mask for a, mask in x.axes.items() if start <= a < start + n}
    if inside and n == 1:
        kept[start] = x.axes[start]
    elif inside:
        lengths = [x.full.shape[a] for a in range(start, start + n)]

        def flags() -> Variable:
            all_flags = pt.ones(lengths, dtype="bool")
            for axis, mask in inside.items():
                all_flags = all_flags & spread(mask, axis, n)
            return pt.join_dims(all_flags)

        sizes = tuple(None if a in inside else lengths[a] for a in range(n))
        key = ("joined", n, *sorted((a, m.key) for a, m in inside.items()), sizes)
        kept[start] = walk.mask(key, flags)
    return [Masked(pt.join_dims(x.full, start_axis=start, n_axes=n), kept)]


# --- arrays as long as a selection ---------------------------------------------------


_SAME_NUMBER = (DimShuffle, ScalarFromTensor, TensorFromScalar)


def _count_of(walk: Walk, var: Variable) -> Mask | None:
    """The mask for which ``var`` is ``mask.sum()``, or ``None``."""
    while var.owner is not None:
        op = var.owner.op
        if isinstance(op, CAReduce) and isinstance(op.scalar_op, ps.Add):
            (x,) = var.owner.inputs
            whole = op.axis is None or len(op.axis) == x.type.ndim
            return walk.mask_of(x) if whole and x.type.dtype == "bool" else None
        is_cast = isinstance(getattr(op, "scalar_op", None), ps.Cast)
        if not is_cast and not isinstance(op, _SAME_NUMBER):
            return None
        (var,) = var.owner.inputs
    return None


def _if_counted(rule: MaskRule) -> Source:
    def find(walk: Walk, node: Any, values: Sequence[Value]) -> MaskRule | None:
        if any_masked(values):
            return rule
        counted = any(_count_of(walk, var) for var in node.inputs)
        return rule if counted and node not in walk.already_declined else None

    return find


@source(Alloc)
@_if_counted
def alloc(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    if any_masked(values[1:]):
        raise Declined("a shape depends on it")
    counts = [_count_of(walk, var) for var in node.inputs[1:]]
    lengths = [
        n if mask is None else mask.flags.shape[0]
        for n, mask in zip(values[1:], counts, strict=True)
    ]
    axes = {a: mask for a, mask in enumerate(counts) if mask is not None}
    shift = len(lengths) - plain(values[0]).type.ndim
    for axis, mask in axes_of(values[0]).items():
        if axes.get(axis + shift) != mask:
            raise Declined("it is broadcast to another length")
    require_fit(values[0], axes, len(lengths))
    return [Masked(pt.alloc(plain(values[0]), *lengths), axes)]


@source(ARange)
@_if_counted
def arange(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    mask = _count_of(walk, node.inputs[1])
    bounds = [getattr(plain(values[i]), "data", None) for i in (0, 2)]
    if mask is None or bounds != [0, 1]:
        raise Declined(f"`{node.op}` counts up to it")
    rank = pt.maximum(pt.cumsum(mask.flags.astype("int64")) - 1, 0)
    return [Masked(rank.astype(node.op.dtype), {0: mask})]


@mask_rule(Join)
def join(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    axis = node.op.axis % plain(values[0]).type.ndim
    others = [{a: m for a, m in axes_of(v).items() if a != axis} for v in values]
    if any(other != others[0] for other in others):
        raise Declined("it is joined to an array that is not selected by the same mask")
    along = [axes_of(v).get(axis) for v in values]
    if not any(along):
        return [Masked(node.op(*map(plain, values)), others[0])]

    def flags() -> Variable:
        parts = [
            mask.flags if mask else pt.ones((plain(v).shape[axis],), dtype="bool")
            for mask, v in zip(along, values, strict=True)
        ]
        return pt.concatenate(parts)

    parts = [m.key if m else plain(v) for m, v in zip(along, values, strict=True)]
    mask = walk.mask(("join", axis, *parts), flags)
    return [Masked(node.op(*map(plain, values)), {axis: mask, **others[0]})]


@mask_rule(OpFromGraph)
def inner_graph(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    if node.op.pullback_overrides is not None:
        raise Declined(f"`{node.op}` has its own gradient")
    return walk.inline(node)
