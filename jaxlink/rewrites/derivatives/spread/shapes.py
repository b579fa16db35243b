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
from jaxlink.rewrites.derivatives.spread.rules import (
    Spread,
    Walk,
    spreads,
    spreads_by_element,
)
from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support


@spreads(TypeCastingOp, ViewOp, DeepCopyOp, CheckAndRaise)
@spreads(SpecifyShape, ScalarFromTensor, TensorFromScalar)
def _same(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    return [Spread(support)] * len(node.inputs)


@spreads_by_element(Alloc)
def _alloc(walk: Walk, node: Any, support: Support) -> list[Spread]:
    value, *lengths = node.inputs
    n_new = len(lengths) - value.type.ndim
    repeated = [
        *range(n_new),
        *(n_new + i for i, flag in enumerate(value.type.broadcastable) if flag),
    ]
    own = support.any(repeated)
    if n_new and not own.is_scalar:
        own = own.map(itemgetter((0,) * n_new), own.broadcastable[n_new:])
    return [Spread(own, exact=own is support)]


@spreads_by_element(DimShuffle)
def _dimshuffle(walk: Walk, node: Any, support: Support) -> list[Spread]:
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


@spreads_by_element(ExtractDiag)
def _extract_diag(walk: Walk, node: Any, support: Support) -> list[Spread]:
    """The diagonal is the last axis of the result."""
    ndim = node.inputs[0].type.ndim
    matrix = {node.op.axis1 % ndim, node.op.axis2 % ndim}
    kept = [i for i in range(ndim) if i not in matrix]
    order = [kept.index(i) if i in kept else "x" for i in range(ndim)]
    flags = [i in matrix or support.broadcastable[kept.index(i)] for i in range(ndim)]
    rows = support.any([ndim - 2])
    spread_out = rows.map(lambda mask: mask[..., 0].dimshuffle(order), flags)
    return [Spread(rows if rows.is_scalar else spread_out, exact=False)]


@spreads_by_element(AllocDiag)
def _alloc_diag(walk: Walk, node: Any, support: Support) -> list[Spread]:
    op, out = node.op, node.outputs[0]
    diagonal = support.map(
        lambda mask: pt.diagonal(
            pt.broadcast_to(mask, out.shape), op.offset, op.axis1, op.axis2
        ),
        node.inputs[0].type.broadcastable,
    )
    return [Spread(diagonal)]


@spreads_by_element(Reshape)
def _reshape(walk: Walk, node: Any, support: Support) -> list[Spread]:
    x, out = node.inputs[0], node.outputs[0]

    def undo(mask: Variable) -> Variable:
        return pt.broadcast_to(mask, out.shape).reshape(x.shape, ndim=x.type.ndim)

    return [Spread(support.map(undo, x.type.broadcastable))]


@spreads_by_element(MakeVector)
def _make_vector(walk: Walk, node: Any, support: Support) -> list[Spread]:
    return [Spread(support.map(itemgetter(i), ())) for i in range(len(node.inputs))]


@spreads_by_element(Join)
def _join(walk: Walk, node: Any, support: Support) -> list[Spread]:
    axis = node.op.axis % node.outputs[0].type.ndim
    if support.broadcastable[axis]:
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


@spreads_by_element(Stack)
def _stack(walk: Walk, node: Any, support: Support) -> list[Spread]:
    along, *flags = support.broadcastable
    return [
        Spread(support.map(itemgetter(0 if along else i), flags))
        for i in range(len(node.inputs))
    ]


@spreads(Part)
def _part(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    # Masks come before parts are put together.
    return [Spread(EVERYWHERE)]
