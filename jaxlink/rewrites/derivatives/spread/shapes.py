"""Ops that move or copy elements without changing them."""

from operator import itemgetter
from typing import Any

import pytensor.tensor as pt
from pytensor.compile.ops import DeepCopyOp, TypeCastingOp, ViewOp
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import (
    Alloc,
    AllocDiag,
    ExtractDiag,
    Join,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.shape import Reshape, SpecifyShape

from jaxlink.ops.stacked import Part, Stack
from jaxlink.rewrites.derivatives.spread.rules import Spread, Walk, spreads
from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support


@spreads(TypeCastingOp, ViewOp, DeepCopyOp, CheckAndRaise)
@spreads(SpecifyShape, ScalarFromTensor, TensorFromScalar)
def _same(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    return [Spread(support)] * len(node.inputs)


@spreads(Alloc)
def _alloc(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    value, *lengths = node.inputs
    rest = [Spread(EVERYWHERE)] * len(lengths)
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support), *rest]
    n_new = len(lengths) - value.type.ndim
    repeated = [
        *range(n_new),
        *(n_new + i for i, flag in enumerate(value.type.broadcastable) if flag),
    ]
    own = support.any(repeated)
    if n_new and not own.is_scalar:
        own = own.map(itemgetter((0,) * n_new), own.broadcastable[n_new:])
    return [Spread(own, exact=own is support), *rest]


@spreads(DimShuffle)
def _dimshuffle(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)]
    order = node.op.new_order
    x = node.inputs[0]
    if x.type.ndim == 0:
        return [Spread(support.any())]
    kept = [o for o in order if o != "x"]
    back = [kept.index(i) if i in kept else "x" for i in range(x.type.ndim)]

    def undo(mask: Variable) -> Variable:
        index = tuple(0 if o == "x" else slice(None) for o in order)
        return mask[index].dimshuffle(back)

    flags = [
        i not in kept or support.broadcastable[order.index(i)]
        for i in range(x.type.ndim)
    ]
    return [Spread(support.map(undo, flags))]


@spreads(ExtractDiag)
def _extract_diag(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    """The diagonal is the last axis of the result."""
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)]
    ndim = node.inputs[0].type.ndim
    matrix = {node.op.axis1 % ndim, node.op.axis2 % ndim}
    kept = [i for i in range(ndim) if i not in matrix]
    order = [kept.index(i) if i in kept else "x" for i in range(ndim)]
    flags = [i in matrix or support.broadcastable[kept.index(i)] for i in range(ndim)]
    rows = support.any([ndim - 2])
    spread_out = rows.map(lambda mask: mask[..., 0].dimshuffle(order), flags)
    return [Spread(rows if rows.is_scalar else spread_out, exact=False)]


@spreads(AllocDiag)
def _alloc_diag(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)]
    op, out = node.op, node.outputs[0]
    diagonal = support.map(
        lambda mask: pt.diagonal(
            pt.broadcast_to(mask, out.shape), op.offset, op.axis1, op.axis2
        ),
        node.inputs[0].type.broadcastable,
    )
    return [Spread(diagonal)]


@spreads(Reshape)
def _reshape(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, out = node.inputs[0], node.outputs[0]
    if support is not EVERYWHERE and not support.is_scalar:
        support = support.map(
            lambda mask: pt.broadcast_to(mask, out.shape).reshape(
                x.shape, ndim=x.type.ndim
            ),
            x.type.broadcastable,
        )
    return [Spread(support), Spread(EVERYWHERE)]


@spreads(MakeVector)
def _make_vector(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)] * len(node.inputs)
    return [Spread(support.map(itemgetter(i), ())) for i in range(len(node.inputs))]


@spreads(Join)
def _join(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    axis = node.op.axis % node.outputs[0].type.ndim
    if support is EVERYWHERE or support.is_scalar or support.broadcastable[axis]:
        return [Spread(support)] * len(node.inputs)
    spreads: list[Spread] = []
    start: Any = 0
    for part in node.inputs:
        stop = start + part.shape[axis]
        place = (*[slice(None)] * axis, slice(start, stop))
        flags = [
            part.type.broadcastable[i] if i == axis else flag
            for i, flag in enumerate(support.broadcastable)
        ]
        spreads.append(Spread(support.map(itemgetter(place), flags)))
        start = stop
    return spreads


@spreads(Stack)
def _stack(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)] * len(node.inputs)
    along, *flags = support.broadcastable
    return [
        Spread(support.map(itemgetter(0 if along else i), flags))
        for i in range(len(node.inputs))
    ]


@spreads(Part)
def _part(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    # Masks come before parts are put together.
    return [Spread(EVERYWHERE)]
