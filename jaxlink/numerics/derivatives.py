"""Functions that change, stop or forbid the derivative of a value."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlink.values.static import is_static

Run = Callable[..., Any]


def with_masked_gradient(x: Any, mask: Any) -> Any:
    """``x``, with a derivative of exactly zero where ``mask`` is false.

    If ``x`` has no derivative (an integer, a stream), it is returned unchanged.
    """
    if not isinstance(x, jax.Array) or not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    if is_static(mask) and np.all(mask):
        return x
    # To XLA this is x. The first operand's derivative passes through the mask, in both
    # modes and all orders. The second operand has no derivative.
    return jnp.where(mask, x, jax.lax.stop_gradient(x))


def undifferentiable(fn: Run, error: type[Exception], message: str) -> Run:
    """``fn``, but differentiating it raises ``error(message)``."""

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


@jax.custom_jvp
def decided(decision: Any, *differentiated: Any) -> Any:
    """``decision``, without a derivative.

    It is computed only once if JAX differentiates the values that it chooses between.
    """
    del differentiated
    return lax.stop_gradient(decision)


@decided.defjvp
def _decided_jvp(primals: Any, tangents: Any) -> Any:
    del tangents
    once = lax.stop_gradient(lax.optimization_barrier(primals[0]))
    if jnp.issubdtype(once.dtype, jnp.inexact):
        return once, jnp.zeros_like(once)
    return once, np.zeros(once.shape, jax.dtypes.float0)
