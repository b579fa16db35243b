"""Ops that change a gradient, but no value."""

from typing import Any

import numpy as np
from pytensor.compile.ops import ViewOp
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op


class ScaledGradient(ViewOp):
    """`GradScale`, but Ops with different ``multiplier`` compare unequal. PyTensor's
    own compare equal, so merging would drop one of them."""

    __props__ = ("multiplier",)

    def __init__(self, multiplier: Any):
        self.multiplier = multiplier


class ClippedGradient(ViewOp):
    """`GradClip`, but Ops with different bounds compare unequal (see above)."""

    __props__ = ("clip_lower_bound", "clip_upper_bound")

    def __init__(self, clip_lower_bound: Any, clip_upper_bound: Any):
        self.clip_lower_bound = clip_lower_bound
        self.clip_upper_bound = clip_upper_bound


class MaskedGradient(Op):
    """``x``, with a derivative of exactly zero where ``mask`` is false (see
    `jaxlink.rewrites.derivatives.shields`). The two broadcast."""

    __props__ = ()

    def make_node(self, x: Any, mask: Any) -> Apply:
        shape = [
            m if flag else n
            for n, m, flag in zip(
                x.type.shape, mask.type.shape, x.type.broadcastable, strict=True
            )
        ]
        return Apply(self, [x, mask], [x.type.clone(shape=shape)()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        x, mask = inputs
        output_storage[0][0] = np.broadcast_arrays(x, mask)[0].copy()
