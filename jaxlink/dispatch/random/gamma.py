"""Samplers that are made of gamma draws.

A draw of shape alpha is d (1 + t)**3 exp(b): d and t are those of Marsaglia and Tsang
(2000), doi:10.1145/358407.358414, for alpha, or for alpha + 1 if alpha < 1, and then
exp(b) is the uniform number to the power 1 / alpha that makes up for it. Small shapes
give draws below the smallest float, so whatever divides them works with logarithms.

JAX's own sampler is not used: on a CPU it is a loop over the elements of the batch, and
the gradient of its logarithm is wrong where the draw underflows.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array
from jax.scipy.special import digamma

from jaxlink.dispatch.random.primitives import rejection
from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]


def standard_gamma(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    """Gamma draws of scale 1. Small shapes may underflow to 0."""
    alpha = jnp.broadcast_to(alpha, shape)
    d, t, boost = _parts(key, jax.lax.stop_gradient(alpha))
    draw = d * (1 + t) ** 3 * jnp.exp(boost)
    return _with_shape_gradient(draw, _log_of(d, t, boost), alpha)


def log_gamma(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    """The logarithms of `standard_gamma`'s draws, which do not underflow."""
    alpha = jnp.broadcast_to(alpha, shape)
    log_draw = _log_of(*_parts(key, jax.lax.stop_gradient(alpha)))
    return _log_with_shape_gradient(log_draw, alpha)


def _log_of(d: Array, t: Array, boost: Array) -> Array:
    return jnp.log(d) + 3 * jnp.log1p(t) + boost


def _parts(key: Array, alpha: Array) -> tuple[Array, Array, Array]:
    core_key, boost_key = jax.random.split(key)
    boosted = alpha < 1
    d = jnp.where(boosted, alpha + 1, alpha) - 1 / 3
    width = 1 / (3 * jnp.sqrt(d))

    def propose(key: Array) -> tuple[Array, Array]:
        normal_key, keep_key = jax.random.split(key)
        x = jax.random.normal(normal_key, alpha.shape, alpha.dtype)
        waiting = jax.random.exponential(keep_key, alpha.shape, alpha.dtype)
        # log u < x**2 / 2 + d (1 - v + log v) with v = (1 + t)**3, rid of what cancels.
        t = jnp.maximum(width * x, -1)
        log_keep = x * x / 2 + d * (3 * (jnp.log1p(t) - t) - t * t * (3 + t))
        return t, (t > -1) & (-waiting < log_keep)

    valid = (alpha > 0) & (alpha < jnp.inf)
    t = rejection(core_key, propose, jnp.where(valid, jnp.zeros_like(d), jnp.nan))
    waiting = jax.random.exponential(boost_key, alpha.shape, alpha.dtype)
    return d, t, jnp.where(boosted, -waiting / alpha, 0)


@jax.custom_jvp
def _with_shape_gradient(draw: Array, log_draw: Array, alpha: Array) -> Array:
    """``draw``, as one that keeps its rank when alpha moves."""
    del log_draw, alpha
    return draw


@_with_shape_gradient.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    draw, log_draw, alpha = primals
    return draw, draw * _log_slope(log_draw, alpha) * tangents[2]


@jax.custom_jvp
def _log_with_shape_gradient(log_draw: Array, alpha: Array) -> Array:
    del alpha
    return log_draw


@_log_with_shape_gradient.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    log_draw, alpha = primals
    return log_draw, _log_slope(log_draw, alpha) * tangents[1]


def _log_slope(log_draw: Array, alpha: Array) -> Array:
    """d log(x) / d alpha at a fixed rank F(x; alpha).

    For small x, F = x**alpha / Gamma(alpha + 1) (1 + O(x)), hence at a fixed F
    d log(x) / d alpha = (digamma(alpha + 1) - log(x)) / alpha, also where x underflows.
    """
    small = log_draw < np.log(np.finfo(log_draw.dtype).eps)
    draw = jnp.exp(jnp.where(small, 0, log_draw))
    slope = jax.lax.random_gamma_grad(alpha, draw) / draw
    return jnp.where(small, (digamma(alpha + 1) - log_draw) / alpha, slope)


@sampler(ptr.GammaRV, how="rejection (Marsaglia and Tsang)")
def gamma(key: Array, shape: Shape, dtype: Any, alpha: Array, scale: Array) -> Array:
    return scale * standard_gamma(key, shape, dtype, alpha)


@sampler(ptr.InvGammaRV)
def invgamma(key: Array, shape: Shape, dtype: Any, alpha: Array, scale: Array) -> Array:
    # In logarithms: a gamma draw of small alpha underflows, and 1 / 0 is not a draw.
    return scale * jnp.exp(-log_gamma(key, shape, dtype, alpha))


@sampler(ptr.GenGammaRV)
def gengamma(
    key: Array, shape: Shape, dtype: Any, alpha: Array, p: Array, lambd: Array
) -> Array:
    # (X / lambd)**p is a gamma draw of shape alpha / p.
    return lambd * jnp.exp(log_gamma(key, shape, dtype, alpha / p) / p)


@sampler(ptr.BetaRV)
def beta(key: Array, shape: Shape, dtype: Any, alpha: Array, beta: Array) -> Array:
    # In logarithms: of two draws that underflow, the ratio counts.
    alpha_key, beta_key = jax.random.split(key)
    log_a = log_gamma(alpha_key, shape, dtype, alpha)
    log_b = log_gamma(beta_key, shape, dtype, beta)
    return jax.nn.sigmoid(log_a - log_b)


@sampler(ptr.StudentTRV)
def student_t(
    key: Array, shape: Shape, dtype: Any, df: Array, loc: Array, scale: Array
) -> Array:
    # A normal draw over the root of a chi-square draw over its degrees of freedom.
    normal_key, gamma_key = jax.random.split(key)
    z = jax.random.normal(normal_key, shape, dtype)
    log_g = log_gamma(gamma_key, shape, dtype, df / 2)
    return loc + scale * z * jnp.exp((jnp.log(df / 2) - log_g) / 2)
