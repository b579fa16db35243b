"""Samplers of PyTensor's continuous distributions over vectors."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array

from jaxlink.checks import check
from jaxlink.dispatch.random.gamma import log_gamma
from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]


@sampler(ptr.MvNormalRV, reads_op=True, how="normal draws, times a root of cov")
def multivariate_normal(op: ptr.MvNormalRV) -> Callable[..., Array]:
    # "svd" and "eigh" allow a singular covariance, and mean the same.
    cholesky = op.method == "cholesky"
    factor, wanted = (
        (jnp.linalg.cholesky, "positive definite")
        if cholesky
        else (symmetric_root, "positive semidefinite")
    )
    message = f"LinAlgError: the covariance of a draw of `{op.name}` is not {wanted}."

    def draw(key: Array, shape: Shape, dtype: Any, mean: Array, cov: Array) -> Array:
        root = factor(cov)
        check(lambda: ~jnp.isnan(root).any(), message)
        z = jax.random.normal(key, (*shape, mean.shape[-1]), dtype)
        return mean + jnp.einsum("...ij,...j->...i", root, z)

    return draw


def symmetric_root(cov: Array) -> Array:
    """The positive semidefinite square root of such a matrix; nan if it is none.

    Unlike eigenvectors times roots of eigenvalues it is a smooth function of the
    matrix: eigenvectors have a sign that is a matter of chance, and turn abruptly where
    eigenvalues are equal, as those of an identity are.
    """
    return _eigen_root(cov)[0]


@jax.custom_jvp
def _eigen_root(cov: Array) -> tuple[Array, Array, Array]:
    """The root, its eigenvectors and its eigenvalues."""
    values, vectors = jnp.linalg.eigh(cov)
    # Rounding leaves the zeros of a singular matrix a little below zero.
    largest = jnp.max(jnp.abs(values), axis=-1, keepdims=True, initial=0)
    rounding = 10 * cov.shape[-1] * np.finfo(cov.dtype).eps * largest
    clipped = jnp.maximum(values, 0)
    roots = jnp.sqrt(jnp.where(values < -rounding, jnp.nan, clipped))
    return (vectors * roots[..., None, :]) @ vectors.mT, vectors, roots


@_eigen_root.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    """From root @ root = cov: d_root @ root + root @ d_root = d_cov.

    In the basis of eigenvectors an element of d_cov is divided by r_i + r_j, the sum
    of two eigenvalues of the root. If both are zero the element is zero too, for as
    long as the rank of the covariance stays; then that of d_root is taken as zero. (If
    the rank rises, draws move by the root of the change, and have no derivative.)
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
    # Eigenvectors and -values serve the derivatives only.
    constant = jnp.zeros_like(vectors), jnp.zeros_like(roots)
    return (root, vectors, roots), (d_root, *constant)


@sampler(ptr.DirichletRV, how="gamma draws, normalised in logarithms")
def dirichlet(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    # A category of alpha 0 is never drawn, as in NumPy. All of them, or an alpha that
    # is negative, make nan.
    absent = alpha == 0
    shape = (*shape, alpha.shape[-1])
    log_draw = log_gamma(key, shape, dtype, jnp.where(absent, 1, alpha))
    return jax.nn.softmax(jnp.where(absent, -jnp.inf, log_draw), axis=-1)
