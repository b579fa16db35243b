"""Cholesky factors and eigenvalues."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg as jsl

from jaxlink.numerics.linalg.matrices import adjoint, nan_unless, nonzero

__all__ = ["eig", "eigh", "eigh_of_pencil", "lower_cholesky"]


def lower_cholesky(x: Any) -> tuple[Any, Any]:
    """The factor of a Hermitian matrix, or nan, and whether it exists."""
    factor = lax.linalg.cholesky(x, symmetrize_input=False)
    ok = ~jnp.isnan(factor).any()
    # JAX leaves zeros above the diagonal of a failure.
    return nan_unless(ok, factor), ok


def eigh(x: Any) -> tuple[Any, Any]:
    """Eigenvalues and -vectors of a Hermitian matrix."""
    values, vectors = jnp.linalg.eigh(x, symmetrize_input=False)
    return values, vectors


def eigh_of_pencil(x: Any, b: Any) -> tuple[Any, Any, Any]:
    """Eigenvalues and -vectors of the pencil ``(x, b)`` of Hermitian matrices, and
    whether ``b`` is positive definite.

    With b = l l*, the vectors of inv(l) x inv(l*) are l* times those of the pencil.
    """
    factor, ok = lower_cholesky(b)
    half = jsl.solve_triangular(factor, x, lower=True)
    reduced = adjoint(jsl.solve_triangular(factor, adjoint(half), lower=True))
    values, vectors = jnp.linalg.eigh(reduced)
    return values, jsl.solve_triangular(adjoint(factor), vectors, lower=False), ok


@jax.custom_jvp
def eig(x: Any) -> tuple[Any, Any]:
    """Eigenvalues and -vectors of any square matrix, with derivatives of both."""
    values, vectors = jnp.linalg.eig(x)
    return values, vectors


@eig.defjvp
def _eig_jvp(primals: Any, tangents: Any) -> Any:
    """Perturbation theory: with C = inv(V) dX V, the values move by its diagonal, and
    vector j by C[i, j] / (value j - value i) along vector i (Golub and Van Loan,
    "Matrix Computations", 4th ed., 7.2.4). The movement of vector j along itself
    follows from LAPACK's convention: its length is one, and its largest element is
    real.
    """
    values, vectors = eig(*primals)
    (dx,) = tangents
    change = jnp.linalg.solve(vectors, dx.astype(vectors.dtype) @ vectors)
    gap = values - values[:, None]
    along = jnp.where(gap == 0, 0, change / nonzero(gap))
    moved = vectors @ along
    largest = jnp.abs(vectors).argmax(0)[None]
    turn = jnp.take_along_axis(moved / nonzero(vectors), largest, axis=0).imag
    stretch = (vectors.conj() * moved).sum(0).real
    moved = moved - vectors * lax.complex(stretch, turn[0])
    return (values, vectors), (jnp.diagonal(change), moved)
