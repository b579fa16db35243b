"""Reductions with PyTensor's values and derivatives where JAX's own differ."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["attained_at", "extremum", "prod_without_zeros"]


def prod_without_zeros(x: Any, axis: Any) -> Any:
    """The product of the elements that are not 0; 0 if there are none."""
    zero = x == 0
    product = jnp.prod(jnp.where(zero, 1, x), axis=axis, dtype=x.dtype)
    return jnp.where(jnp.all(zero, axis=axis), jnp.zeros_like(product), product)


def attained_at(x: Any, extremum: Any, axis: Any) -> Any:
    """Where ``x`` is its extremum over ``axis``."""
    over = tuple(range(x.ndim)) if axis is None else axis
    return x == jnp.expand_dims(extremum, over)


def extremum(reduce: Callable[..., Any], x: Any, axis: Any, **kwargs: Any) -> Any:
    """``jnp.max`` or ``jnp.min`` with PyTensor's derivative at ties.

    Every element that attains the extremum gets the whole gradient. JAX would divide it
    among them.
    """

    def value(x: Any) -> Any:
        return reduce(x, axis=axis, **kwargs)

    if x.dtype.kind != "f":
        return value(x)
    fn = jax.custom_jvp(value)

    @fn.defjvp
    def fn_jvp(primals: Any, tangents: Any) -> Any:
        # Computed once. With another rounding, no element would equal the extremum.
        (x,), (t,) = lax.optimization_barrier(primals), tangents
        out = fn(x)
        attained = attained_at(x, out, axis)
        return out, jnp.sum(jnp.where(attained, t, 0), axis=axis)

    return fn(x)
