"""Ops that read or write some elements of an array."""

from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
)

from jaxlink.ops.fill_unselected import FillUnselected
from jaxlink.rewrites.derivatives.spread.rules import Spread, Walk, spreads
from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support, both


@spreads(Subtensor, AdvancedSubtensor)
def _read(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, *indices = node.inputs
    rest = [Spread(EVERYWHERE)] * len(indices)
    is_known = all(isinstance(i, Constant) for i in indices)
    by_element = isinstance(getattr(x.owner, "op", None), Elemwise)
    if support is EVERYWHERE and not (is_known and by_element):
        # Finding the elements read would cost more, or would not help a mixing Op.
        return [Spread(EVERYWHERE), *rest]
    if support is not EVERYWHERE and support.is_scalar:
        return [Spread(support), *rest]
    ndim = node.outputs[0].type.ndim

    def build() -> Variable:
        read = support.array(ndim) if support else pt.constant(True)
        place = node.op(pt.zeros(x.shape, dtype="int32"), *indices)
        # A sum, because an element may be read several times.
        return pt.gt(pt.inc_subtensor(place, read.astype("int32")), 0)

    return [Spread(Support(build, x.type.broadcastable)), *rest]


@spreads(IncSubtensor, AdvancedIncSubtensor)
def _write(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, y, *indices = node.inputs
    rest = [Spread(EVERYWHERE)] * len(indices)
    if node.op.set_instead_of_inc:

        def build() -> Variable:
            place = _read_op(node.op)(pt.ones(x.shape, dtype="bool"), *indices)
            return pt.set_subtensor(place, pt.constant(False))

        own: Support | None = Support(build, x.type.broadcastable)
    else:
        own = EVERYWHERE
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(both(support, own)), Spread(support), *rest]
    place = _read_op(node.op)(x, *indices).type
    if place.broadcastable != y.type.broadcastable or any(
        i.type.dtype == "bool" for i in indices
    ):
        return [
            Spread(both(support, own), exact=False),
            Spread(support.any(), exact=False),
            *rest,
        ]
    written = support.map(
        lambda mask: _read_op(node.op)(pt.broadcast_to(mask, x.shape), *indices),
        y.type.broadcastable,
    )
    return [Spread(both(support, own)), Spread(written), *rest]


def _read_op(op: Any) -> Any:
    read = Subtensor if isinstance(op, IncSubtensor) else AdvancedSubtensor
    return read(op.idx_list)


@spreads(FillUnselected)
def _fill(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, mask = node.inputs
    order: list[Any] = ["x"] * x.type.ndim
    order[node.op.axis] = 0
    flags = [i != node.op.axis for i in range(x.type.ndim)]
    selected = Support(lambda: mask.dimshuffle(order), flags)
    return [Spread(both(support, selected)), Spread(EVERYWHERE)]
