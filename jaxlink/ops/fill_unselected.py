"""`FillUnselected`: replaces ``x[mask]`` if the mask is unknown before the call."""

from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op


class FillUnselected(Op):
    """``x``, with every slice along ``axis`` that ``mask`` omits overwritten."""

    __props__ = ("axis",)

    def __init__(self, axis: int):
        self.axis = axis

    def make_node(self, x: Any, mask: Any) -> Apply:
        return Apply(self, [x, mask], [x.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        x, mask = inputs

        def take_one(x: Any, i: Any, axis: int) -> Any:
            return np.take(x, [i], axis)

        output_storage[0][0] = fill_unselected(np, take_one, x, mask, self.axis)


def fill_unselected(xp: Any, take_one: Any, x: Any, mask: Any, axis: int) -> Any:
    if mask.shape[0] != x.shape[axis]:
        raise IndexError(
            f"a mask of length {mask.shape[0]} does not fit dimension {axis} of an "
            f"array of shape {x.shape}"
        )
    if mask.shape[0] == 0:
        return x
    first = take_one(x, xp.argmax(mask), axis)
    fill = xp.where(mask.any(), first, xp.ones((), x.dtype))
    mask = xp.expand_dims(mask, tuple(i for i in range(x.ndim) if i != axis))
    return xp.where(mask, x, fill)
