"""Samplers for continuous distributions over vectors and matrices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

from jaxlink.numerics.linalg.matrices import computed_once
from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.gamma import log_gamma
from jaxlink.values.runtime_checks import check


def symmetric_root(cov: Array) -> Array:
    """The symmetric square root of a positive semidefinite matrix; nan for others.

    It is a smooth function of the matrix. Eigenvectors times roots of eigenvalues are
    not: the sign of an eigenvector is arbitrary, and eigenvectors turn abruptly where
    eigenvalues are equal, as in an identity matrix.
    """
    return _eigen_root(cov)[0]


@jax.custom_jvp
def _eigen_root(cov: Array) -> tuple[Array, Array, Array]:
    """The root, its eigenvectors and its eigenvalues."""
    values, vectors = jnp.linalg.eigh(cov)
    # Rounding may move a zero eigenvalue of a singular matrix slightly below zero.
    largest = jnp.max(jnp.abs(values), axis=-1, keepdims=True, initial=0)
    rounding = 10 * cov.shape[-1] * np.finfo(cov.dtype).eps * largest
    clipped = jnp.maximum(values, 0)
    roots = jnp.sqrt(jnp.where(values < -rounding, jnp.nan, clipped))
    return (vectors * roots[..., None, :]) @ vectors.mT, vectors, roots


@_eigen_root.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    """Differentiate root @ root = cov: d_root @ root + root @ d_root = d_cov.

    In the basis of eigenvectors, each element of d_cov is divided by r_i + r_j, the sum
    of two eigenvalues of the root. If both are zero, and the rank of the covariance
    stays the same, the element of d_cov is zero too, and we set that of d_root to zero.
    (If the rank rises, draws move by the root of the change and have no derivative.)
    """
    root, vectors, roots = _eigen_root(*primals)
    sums = roots[..., :, None] + roots[..., None, :]
    inverse = jnp.where(sums == 0, 0, 1 / jnp.where(sums == 0, 1, sums))

    def solve(_: Any, b: Array) -> Array:
        return vectors @ (inverse * (vectors.mT @ b @ vectors)) @ vectors.mT

    d_cov = (tangents[0] + tangents[0].mT) / 2
    d_root = jax.lax.custom_linear_solve(
        lambda x: x @ root + root @ x, d_cov, solve, symmetric=True
    )
    # The eigenvectors and eigenvalues are only used in derivatives.
    constant = jnp.zeros_like(vectors), jnp.zeros_like(roots)
    return (root, vectors, roots), (d_root, *constant)


def dirichlet(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    # A category with alpha = 0 is never drawn, as in NumPy. If all are 0 or one is
    # negative, the draw is nan.
    absent = alpha == 0
    shape = (*shape, alpha.shape[-1])
    log_draw = log_gamma(key, shape, dtype, jnp.where(absent, 1, alpha))
    return jax.nn.softmax(jnp.where(absent, -jnp.inf, log_draw), axis=-1)


def matrix_normal(
    key: Array, shape: Shape, dtype: Any, mu: Array, row_chol: Array, col_chol: Array
) -> Array:
    core = (row_chol.shape[-1], col_chol.shape[-1])
    z = jax.random.normal(key, (*shape, *core), dtype)
    return mu + row_chol @ z @ jnp.swapaxes(col_chol, -1, -2)


def conditional_autoregression(
    key: Array,
    shape: Shape,
    dtype: Any,
    mu: Array,
    adjacency: Any,
    alpha: Array,
    tau: Array,
    is_valid: Array,
) -> Array:
    # The density's precision is tau (D - alpha W) = L L', so L' turns a deviation from
    # mu into white noise. (PyMC 6.4 solves with L L', so its draws are too narrow.) All
    # parameters except mu are the same for the whole batch. The adjacency may be
    # sparse.
    check(lambda: jnp.all(is_valid), "the adjacency of a `car` draw is not symmetric.")
    if hasattr(adjacency, "todense"):
        adjacency = adjacency.todense()
    n = mu.shape[-1]
    w = jnp.asarray(adjacency, dtype).reshape(n, n)
    scale, strength = (jnp.asarray(x, dtype).reshape(()) for x in (tau, alpha))
    # On some graphs the matrix is positive definite even outside alpha's domain.
    strength = jnp.where(jnp.abs(strength) < 1, strength, jnp.nan)
    scale = jnp.where(jnp.isfinite(scale), scale, jnp.nan)
    precision = scale * (jnp.diag(w.sum(axis=0)) - strength * w)
    factor = jnp.linalg.cholesky(computed_once(precision))
    check(
        lambda: ~jnp.isnan(factor).any(),
        "the precision of a `car` draw is not positive definite, or alpha is not "
        "between -1 and 1.",
    )
    z = jax.random.normal(key, (*shape, n), dtype)
    white = z.reshape(-1, n).T
    deviation = solve_triangular(factor, white, trans="T", lower=True).T
    return jnp.asarray(mu, dtype) + deviation.reshape(z.shape)


def stick_breaking_weights(
    key: Array, shape: Shape, dtype: Any, alpha: Array, k: np.ndarray
) -> Array:
    """The pieces of a stick that is broken k times.

    After i breaks, exp(-E_1 - ... - E_i) of the stick is left, where each E is an
    exponential draw of rate alpha, because 1 minus a beta(1, alpha) draw is exp(-E).
    """
    breaks = int(np.ravel(k)[0])
    alpha = jnp.where(alpha > 0, alpha, jnp.nan)
    e = jax.random.exponential(key, (*shape, breaks), dtype) / alpha[..., None]
    left = jnp.exp(-jnp.cumsum(e, axis=-1))
    before = jnp.concatenate([jnp.ones((*shape, 1), dtype), left], axis=-1)
    pieces = before[..., :-1] * -jnp.expm1(-e)
    return jnp.concatenate([pieces, before[..., -1:]], axis=-1)
