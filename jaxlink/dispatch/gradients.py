"""Ops that only change a gradient, and functions that have none."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.compile.ops import ViewOp
from pytensor.gradient import (
    DisconnectedGrad,
    GradClip,
    GradScale,
    UndefinedGrad,
    ZeroGrad,
)
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from jaxlink.dispatch.registry import rule
from jaxlink.errors import ArgumentError
from jaxlink.static import is_static, name_of

__all__ = [
    "ClippedGradient",
    "MaskedGradient",
    "ScaledGradient",
    "undifferentiable",
    "with_masked_gradient",
]

Run = Callable[..., Any]


class ScaledGradient(ViewOp):
    """`GradScale`, but those of different ``multiplier`` are different Ops: PyTensor's
    own compare equal, so merging would lose one of them."""

    __props__ = ("multiplier",)

    def __init__(self, multiplier: Any):
        self.multiplier = multiplier


class ClippedGradient(ViewOp):
    """`GradClip`, but two of different bounds are different Ops (see above)."""

    __props__ = ("clip_lower_bound", "clip_upper_bound")

    def __init__(self, clip_lower_bound: Any, clip_upper_bound: Any):
        self.clip_lower_bound = clip_lower_bound
        self.clip_upper_bound = clip_upper_bound


class MaskedGradient(Op):
    """``x``, whose derivative is exactly zero where ``mask`` is false (see
    `jaxlink.rewrites.derivatives.shields`). Both broadcast."""

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


@rule(ZeroGrad, DisconnectedGrad)
def no_gradient(op: Any, node: Any) -> Run:
    del op, node
    return jax.lax.stop_gradient


@rule(GradScale, ScaledGradient)
def scaled_gradient(op: Any, node: Any) -> Run:
    del node

    @jax.custom_jvp
    def scale(x: Any) -> Any:
        return x

    @scale.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return x, t * jnp.asarray(op.multiplier, t.dtype)

    return lambda x: scale(jnp.asarray(x))


@rule(GradClip, ClippedGradient)
def clipped_gradient(op: Any, node: Any) -> Run:
    del node

    @jax.custom_vjp
    def clip(x: Any) -> Any:
        return x

    def backward(_: None, g: Any) -> Any:
        low = jnp.asarray(op.clip_lower_bound, g.dtype)
        return (jnp.clip(g, low, jnp.asarray(op.clip_upper_bound, g.dtype)),)

    clip.defvjp(lambda x: (x, None), backward)
    return lambda x: clip(jnp.asarray(x))


@rule(MaskedGradient, inner=True)
def masked_gradient(op: MaskedGradient, node: Any, link: Any) -> Run:
    del op, node, link

    def run(x: Any, mask: Any) -> Any:
        out = with_masked_gradient(x, mask)
        shape = np.broadcast_shapes(np.shape(x), np.shape(mask))
        if np.shape(out) == shape:
            return out
        return (np if is_static(out) else jnp).broadcast_to(out, shape)

    return run


def with_masked_gradient(x: Any, mask: Any) -> Any:
    """``x``, whose derivative is exactly zero where ``mask`` is false. What has no
    derivative stays as it is."""
    if not isinstance(x, jax.Array) or not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    if is_static(mask) and np.all(mask):
        return x
    # For XLA this is x. The derivative of the first operand passes through the mask in
    # both modes and all orders; the second has none.
    return jnp.where(mask, x, jax.lax.stop_gradient(x))


@rule(UndefinedGrad)
def undefined_gradient(op: Any, node: Any) -> Run:
    del op
    return undifferentiable(
        jnp.asarray,
        ArgumentError,
        f"the gradient through {name_of(node.inputs[0])} is undefined "
        "(grad_undefined). Do not differentiate with respect to what it depends on.",
    )


def undifferentiable(fn: Run, error: type[Exception], message: str) -> Run:
    """``fn``, but whoever differentiates it gets an ``error``."""

    def guarded(*operands: Any) -> Any:
        known = {i: v for i, v in enumerate(operands) if is_static(v)}
        traced = {i: v for i, v in enumerate(operands) if i not in known}

        @jax.custom_jvp
        def call(traced: dict[int, Any]) -> Any:
            given = known | traced
            return fn(*(given[i] for i in range(len(operands))))

        @call.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            del primals, tangents
            raise error(message)

        return call(traced)

    return guarded
