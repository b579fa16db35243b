"""Ops that only change a gradient, and functions without a gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.gradient import (
    DisconnectedGrad,
    GradClip,
    GradScale,
    UndefinedGrad,
    ZeroGrad,
)

from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import ArgumentError
from jaxlink.numerics.derivatives import undifferentiable, with_masked_gradient
from jaxlink.ops.gradients import ClippedGradient, MaskedGradient, ScaledGradient
from jaxlink.values.static import is_static
from jaxlink.values.types import name_of


@rule(ZeroGrad, DisconnectedGrad)
def no_gradient(op: Any, node: Any) -> Function:
    return jax.lax.stop_gradient


@rule(GradScale, ScaledGradient)
def scaled_gradient(op: Any, node: Any) -> Function:
    @jax.custom_jvp
    def scale(x: Any) -> Any:
        return x

    @scale.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return x, t * jnp.asarray(op.multiplier, t.dtype)

    return lambda x: scale(jnp.asarray(x))


@rule(GradClip, ClippedGradient)
def clipped_gradient(op: Any, node: Any) -> Function:
    @jax.custom_vjp
    def clip(x: Any) -> Any:
        return x

    def backward(_: None, g: Any) -> Any:
        low = jnp.asarray(op.clip_lower_bound, g.dtype)
        return (jnp.clip(g, low, jnp.asarray(op.clip_upper_bound, g.dtype)),)

    clip.defvjp(lambda x: (x, None), backward)
    return lambda x: clip(jnp.asarray(x))


@rule(MaskedGradient, inner=True)
def masked_gradient(op: MaskedGradient, node: Any, link: Any) -> Function:
    def run(x: Any, mask: Any) -> Any:
        out = with_masked_gradient(x, mask)
        shape = np.broadcast_shapes(np.shape(x), np.shape(mask))
        if np.shape(out) == shape:
            return out
        return (np if is_static(out) else jnp).broadcast_to(out, shape)

    return run


@rule(UndefinedGrad)
def undefined_gradient(op: Any, node: Any) -> Function:
    return undifferentiable(
        jnp.asarray,
        ArgumentError,
        f"the gradient through {name_of(node.inputs[0])} is undefined "
        "(grad_undefined). Do not differentiate with respect to anything that it "
        "depends on.",
    )
