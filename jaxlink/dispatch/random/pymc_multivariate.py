"""Samplers of PyMC's own RandomVariables over vectors and matrices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

from jaxlink.checks import check
from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]

_MULTIVARIATE = "pymc.distributions.multivariate."


@sampler(_MULTIVARIATE + "MatrixNormalRV", how="normal draws, times both factors")
def matrix_normal(
    key: Array, shape: Shape, dtype: Any, mu: Array, row_chol: Array, col_chol: Array
) -> Array:
    core = (row_chol.shape[-1], col_chol.shape[-1])
    z = jax.random.normal(key, (*shape, *core), dtype)
    return mu + row_chol @ z @ jnp.swapaxes(col_chol, -1, -2)


@sampler(
    _MULTIVARIATE + "CARRV",
    cast=False,
    how="normal draws, solved with the precision's factor",
)
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
    # mu into white noise. (PyMC 6.4's own draws divide by L L' and so are too narrow.)
    # All but mu are the same for the whole batch. The adjacency may be sparse.
    check(lambda: jnp.all(is_valid), "the adjacency of a `car` draw is not symmetric.")
    if hasattr(adjacency, "todense"):
        adjacency = adjacency.todense()
    n = mu.shape[-1]
    w = jnp.asarray(adjacency, dtype).reshape(n, n)
    scale, strength = (jnp.asarray(x, dtype).reshape(()) for x in (tau, alpha))
    # On some graphs the matrix is positive definite beyond the domain of alpha.
    strength = jnp.where(jnp.abs(strength) < 1, strength, jnp.nan)
    scale = jnp.where(jnp.isfinite(scale), scale, jnp.nan)
    factor = jnp.linalg.cholesky(scale * (jnp.diag(w.sum(axis=0)) - strength * w))
    check(
        lambda: ~jnp.isnan(factor).any(),
        "the precision of a `car` draw is not positive definite, or alpha not between "
        "-1 and 1.",
    )
    z = jax.random.normal(key, (*shape, n), dtype)
    white = z.reshape(-1, n).T
    deviation = solve_triangular(factor, white, trans="T", lower=True).T
    return jnp.asarray(mu, dtype) + deviation.reshape(z.shape)


@sampler(
    _MULTIVARIATE + "StickBreakingWeightsRV",
    static=(1,),
    how="exponential draws of what is broken off",
)
def stick_breaking_weights(
    key: Array, shape: Shape, dtype: Any, alpha: Array, k: np.ndarray
) -> Array:
    """What is left of a stick after i breaks is exp(-E_1 - ... - E_i) for exponential
    E of rate alpha, because 1 minus a beta(1, alpha) draw is exp(-E)."""
    breaks = int(np.ravel(k)[0])
    alpha = jnp.where(alpha > 0, alpha, jnp.nan)
    e = jax.random.exponential(key, (*shape, breaks), dtype) / alpha[..., None]
    left = jnp.exp(-jnp.cumsum(e, axis=-1))
    before = jnp.concatenate([jnp.ones((*shape, 1), dtype), left], axis=-1)
    pieces = before[..., :-1] * -jnp.expm1(-e)
    return jnp.concatenate([pieces, before[..., -1:]], axis=-1)
