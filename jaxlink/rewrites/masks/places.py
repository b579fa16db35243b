"""Selections by an array's values: nonzero and unique (see `rewrites.masks`)."""

from collections.abc import Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.tensor.basic import Nonzero
from pytensor.tensor.extra_ops import Unique

from jaxlink.ops.fill_unselected import FillUnselected
from jaxlink.rewrites.masks.selections import Masked, Value, Walk, none_if_plain, source


@source(Nonzero)
def nonzero(walk: Walk, node: Any, values: Sequence[Value]) -> Any:
    x: Any = values[0]
    if (
        node in walk.already_declined
        or (mask := walk.mask_of(node.inputs[0])) is None
        or isinstance(x, Masked)
    ):
        return none_if_plain(values)

    def places(*_: Any) -> Sequence[Value]:
        flat = pt.arange(mask.flags.shape[0])
        each = [flat] if x.type.ndim == 1 else pt.unravel_index(flat, x.shape)
        return [Masked(FillUnselected(0)(i, mask.flags), {0: mask}) for i in each]

    return places


@source(Unique)
def unique(walk: Walk, node: Any, values: Sequence[Value]) -> Any:
    """Sort the array and select the elements that differ from the one before."""
    x: Any = values[0]
    if (
        node in walk.already_declined
        or node.op.axis is not None
        or isinstance(x, Masked)
    ):
        return none_if_plain(values)
    if walk.binding_time(node.inputs[0]) == 0:
        return None

    def sorted_parts(*_: Any) -> Sequence[Value]:
        row = x if x.type.ndim == 1 else pt.join_dims(x)
        order = pt.argsort(row, kind="stable")
        in_order, i = row[order], pt.arange(row.shape[0])
        before = in_order[pt.maximum(i - 1, 0)]
        new = pt.neq(in_order, before)
        if row.type.dtype.startswith("float"):  # all nans count as one value
            new = new & ~(pt.isnan(in_order) & pt.isnan(before))
        flags = pt.eq(i, 0) | new
        mask = walk.mask(("unique", node.inputs[0]), lambda: flags)
        rank = pt.cumsum(flags.astype("int64")) - 1
        nothing = pt.zeros_like(rank)
        outs: list[Value] = [Masked(in_order, {0: mask})]
        if node.op.return_index:
            outs.append(Masked(order, {0: mask}))
        if node.op.return_inverse:
            outs.append(nothing[order].set(rank))
        if node.op.return_counts:
            outs.append(Masked(nothing[rank].inc(1)[rank], {0: mask}))
        return outs

    return sorted_parts
