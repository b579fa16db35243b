"""The pseudo-inverse, with a gradient for matrices of any rank.

Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate" (1973), equation 4.12: where the rank is constant,

    dP = -P dA P + P P* dA* (I - A P) + (I - P A) dA* P* P
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlink.numerics.linalg.matrices import adjoint

__all__ = ["pseudo_inverse"]


@jax.custom_jvp
def pseudo_inverse(x: Any, cutoff: Any) -> Any:
    """Singular values up to ``cutoff`` times the largest count as zero."""
    if x.size == 0:
        return jnp.zeros(x.shape[::-1], x.dtype)
    u, values, vt = jnp.linalg.svd(x, full_matrices=False)
    counts = values > cutoff * values.max()
    inverse = jnp.where(counts, 1 / jnp.where(counts, values, 1), 0).astype(x.dtype)
    return (adjoint(vt) * inverse) @ adjoint(u)


@pseudo_inverse.defjvp
def _pseudo_inverse_jvp(primals: Any, tangents: Any) -> Any:
    a, cutoff = primals
    da, _ = tangents
    p = pseudo_inverse(a, cutoff)
    da_t, p_t = adjoint(da), adjoint(p)
    row = p @ p_t @ da_t
    column = da_t @ p_t @ p
    return p, -p @ da @ p + (row - row @ a @ p) + (column - p @ a @ column)
