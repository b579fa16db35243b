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
    is_known = all(isinstance(i, Constant) for i in indices)
    by_element = isinstance(getattr(x.owner, "op", None), Elemwise)
    if support is EVERYWHERE and not (is_known and by_element):
        # Finding the elements read would cost more, or would not help a mixing Op.
        return [Spread(EVERYWHERE)]
    if support is not EVERYWHERE and support.is_scalar:
        return [Spread(support)]
    ndim = node.outputs[0].type.ndim

    def build() -> Variable:
        read = support.array(ndim) if support else pt.constant(True)
        place = node.op(pt.zeros(x.shape, dtype="int32"), *indices)
        # A sum, because an element may be read several times.
        return pt.gt(pt.inc_subtensor(place, read.astype("int32")), 0)

    return [Spread(Support(build, x.type.broadcastable))]


@spreads(IncSubtensor, AdvancedIncSubtensor)
def _write(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, y, *indices = node.inputs
    read_type = Subtensor if isinstance(node.op, IncSubtensor) else AdvancedSubtensor
    read = read_type(node.op.idx_list)

    def unwritten() -> Variable:
        place = read(pt.ones(x.shape, dtype="bool"), *indices)
        return pt.set_subtensor(place, pt.constant(False))

    own = support
    if node.op.set_instead_of_inc:
        own = both(support, Support(unwritten, x.type.broadcastable))
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(own), Spread(support)]
    flags = y.type.broadcastable
    if read(x, *indices).type.broadcastable != flags or any(
        i.type.dtype == "bool" for i in indices
    ):
        return [Spread(own, exact=False), Spread(support.any(), exact=False)]
    written = support.map(
        lambda mask: read(pt.broadcast_to(mask, x.shape), *indices), flags
    )
    return [Spread(own), Spread(written)]


@spreads(FillUnselected)
def _fill(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, mask = node.inputs
    flags = [i != node.op.axis for i in range(x.type.ndim)]
    order = ["x" if flag else 0 for flag in flags]
    selected = Support(lambda: mask.dimshuffle(order), flags)
    return [Spread(both(support, selected))]
