"""Samplers of PyTensor's continuous distributions over vectors."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytensor.tensor.random.basic as ptr
from jax import Array

from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]


def _svd_factor(cov: Array) -> Array:
    u, s, _ = jnp.linalg.svd(cov)
    return u * jnp.sqrt(s)[..., None, :]


def _eigh_factor(cov: Array) -> Array:
    # Rounding leaves zero eigenvalues of a singular covariance a little below zero.
    w, v = jnp.linalg.eigh(cov)
    return v * jnp.sqrt(jnp.maximum(w, 0))[..., None, :]


# A matrix whose product with its transpose is the covariance.
COVARIANCE_FACTOR: dict[str, Callable[[Array], Array]] = {
    "cholesky": jnp.linalg.cholesky,
    "svd": _svd_factor,
    "eigh": _eigh_factor,
}


@sampler(ptr.MvNormalRV, reads_op=True)
def multivariate_normal(op: ptr.MvNormalRV) -> Callable[..., Array]:
    factor = COVARIANCE_FACTOR[op.method]

    def draw(key: Array, shape: Shape, dtype: Any, mean: Array, cov: Array) -> Array:
        z = jax.random.normal(key, (*shape, mean.shape[-1]), dtype)
        return mean + jnp.einsum("...ij,...j->...i", factor(cov), z)

    return draw


@sampler(ptr.DirichletRV)
def dirichlet(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    # JAX normalises gamma draws in logarithms, which tiny alphas need.
    return jax.random.dirichlet(key, alpha, shape, dtype)
