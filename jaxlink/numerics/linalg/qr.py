"""QR factorizations of a matrix of any shape, as SciPy's modes return them."""

from typing import Any

import jax.numpy as jnp

from jaxlink.numerics.linalg.matrices import adjoint

__all__ = ["complete_qr", "economic_qr", "only_r", "raw_qr"]


def economic_qr(x: Any) -> tuple[Any, Any]:
    """Q and R. JAX differentiates them unless the matrix is wide. The reflections of a
    wide matrix come from its first columns, which are square."""
    m, n = x.shape
    q, r = jnp.linalg.qr(x[:, :m])
    return q, r if m >= n else jnp.concatenate([r, adjoint(q) @ x[:, m:]], axis=1)


def complete_qr(x: Any) -> tuple[Any, Any]:
    """A square Q, and R with as many rows as ``x``. JAX cannot differentiate them."""
    q, r = jnp.linalg.qr(x, mode="complete")
    return q, r


def only_r(x: Any) -> tuple[Any]:
    """R alone, with as many rows as ``x``."""
    m, n = x.shape
    r = economic_qr(x)[1]
    return (jnp.concatenate([r, jnp.zeros((max(m - n, 0), n), r.dtype)]),)


def raw_qr(x: Any) -> tuple[Any, Any, Any]:
    """The reflections and their factors as in LAPACK, and R, without a gradient."""
    h, tau = jnp.linalg.qr(x, mode="raw")
    h = jnp.swapaxes(h, 0, 1)
    return h, tau, jnp.triu(h[: h.shape[1]])
