"""Small helpers of linear algebra."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

__all__ = ["adjoint", "computed_once", "mirror", "nan_unless", "nonzero"]


def adjoint(x: Any) -> Any:
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def computed_once(x: Any) -> Any:
    """A matrix that is read together with its transpose.

    XLA fuses what computes a matrix with what reads it, and computes each element again
    for the transpose, in code that LLVM no longer optimizes: numbers that are the same
    for all elements are computed anew for each. In draws of a Gaussian process that
    takes most of the time (`python -m benchmarks.suite --only draw`).
    """
    return lax.optimization_barrier(x)


def mirror(x: Any, lower: bool, transpose: Callable[[Any], Any] = adjoint) -> Any:
    """The Hermitian (or symmetric) matrix that shares one triangle with ``x``."""
    x = computed_once(x)
    if lower:
        return jnp.tril(x) + transpose(jnp.tril(x, -1))
    return jnp.triu(x) + transpose(jnp.triu(x, 1))


def nan_unless(ok: Any, x: Any) -> Any:
    return jnp.where(ok, x, jnp.nan)


def nonzero(x: Any) -> Any:
    """``x`` as a divisor: 1 where it is 0."""
    return jnp.where(x == 0, 1, x)
