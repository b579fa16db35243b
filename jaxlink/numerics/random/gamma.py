"""Samplers based on gamma draws.

A draw x of shape alpha is d (1 + t)**3 exp(b), with d and t as in Marsaglia and Tsang
(2000), doi:10.1145/358407.358414. If alpha < 1, d and t are those for alpha + 1, and
exp(b) is a uniform number to the power 1 / alpha, which corrects for that. We keep a
draw as log(x / alpha), because for a small alpha x may underflow, and for a large alpha
x is so close to alpha that log(x) would lose digits.

We do not use JAX's own sampler. On a CPU it loops over the elements of the batch, and
its gradient is wrong where the draw underflows and, in 32 bits, for large shapes.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import digamma

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import (
    non_negative,
    positive,
    rejection,
    standard_exponential,
)


def standard_gamma(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    """Gamma draws of scale 1. Draws of small shapes may underflow; shape 0 gives 0."""
    return _scaled_exp(alpha, _log_ratio(key, shape, dtype, alpha))


def log_gamma(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    """The logarithm of a `standard_gamma` draw, which does not underflow."""
    return jnp.log(alpha) + _log_ratio(key, shape, dtype, alpha)


def log_odds_of_beta(
    key: Array, shape: Shape, dtype: Any, alpha: Array, beta: Array
) -> Array:
    """log(x / (1 - x)) for a beta draw x: the logarithm of a ratio of two gamma draws.

    We subtract logarithms, because both gamma draws may underflow.
    """
    alpha_key, beta_key = jax.random.split(key)
    a = _log_ratio(alpha_key, shape, dtype, alpha)
    b = _log_ratio(beta_key, shape, dtype, beta)
    return jnp.log(alpha / beta) + (a - b)


def _scaled_exp(scale: Array, x: Array) -> Array:
    """scale * exp(x), even where exp(x) itself overflows or underflows."""
    half = jnp.exp(x / 2)
    return scale * half * half


def _log_ratio(key: Array, shape: Shape, dtype: Any, alpha: Array) -> Array:
    """log(x / alpha) for gamma draws x of shape alpha."""
    alpha = jnp.broadcast_to(jnp.asarray(alpha, dtype), shape)
    fixed = jax.lax.stop_gradient(alpha)
    return _with_shape_gradient(_draw_log_ratio(key, fixed), alpha)


def _draw_log_ratio(key: Array, alpha: Array) -> Array:
    core_key, boost_key = jax.random.split(key)
    boosted = alpha < 1
    # d is alpha - 1/3, or alpha + 1 - 1/3.
    more = jnp.where(boosted, 2 / 3, -1 / 3)
    d = alpha + more
    width = 1 / (3 * jnp.sqrt(d))

    def propose(key: Array) -> tuple[Array, Array]:
        normal_key, keep_key = jax.random.split(key)
        x = jax.random.normal(normal_key, alpha.shape, alpha.dtype)
        waiting = jax.random.exponential(keep_key, alpha.shape, alpha.dtype)
        # log u < x**2 / 2 + d (1 - v + log v) with v = (1 + t)**3, without
        # cancellation.
        t = jnp.maximum(width * x, -1)
        log_keep = x * x / 2 + d * (3 * (jnp.log1p(t) - t) - t * t * (3 + t))
        return t, (t > -1) & (-waiting < log_keep)

    valid = (alpha > 0) & (alpha < jnp.inf)
    t = rejection(core_key, propose, jnp.where(valid, jnp.zeros_like(d), jnp.nan))
    waiting = standard_exponential(boost_key, alpha.shape, alpha.dtype)
    # Not divided by alpha, because XLA rounds a division differently under vmap.
    boost = jnp.where(boosted, -waiting * (1 / alpha), 0)
    log_ratio = jnp.log1p(more / alpha) + 3 * jnp.log1p(t) + boost
    # A draw of shape 0 is always 0, as in NumPy.
    return jnp.where(alpha == 0, -jnp.inf, log_ratio)


# --- the derivative with respect to the shape -----------------------------------------


@jax.custom_jvp
def _with_shape_gradient(log_ratio: Array, alpha: Array) -> Array:
    """``log_ratio``, with the derivative of a draw that keeps its rank."""
    del alpha
    return log_ratio


@_with_shape_gradient.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    alpha = primals[1]
    # Recursive, so that second derivatives know that the draw depends on alpha.
    log_ratio = _with_shape_gradient(*primals)
    return log_ratio, (_log_slope(log_ratio, alpha) - 1 / alpha) * tangents[1]


def _log_slope(log_ratio: Array, alpha: Array) -> Array:
    """d log(x) / d alpha at a fixed rank F(x; alpha), x = alpha exp(log_ratio).

    It is -(dF / d alpha) / (x f) with the density f. In v = -log(s) it becomes

        S = integral of exp(-alpha v - x (exp(-v) - 1)) (digamma(alpha) - log(x) + v)

    over v > 0. Over all v the integral is 0, so S is also minus the integral over
    v < 0.
    """
    log_x = log_ratio + jnp.log(alpha)
    small = log_x < 0
    return jnp.where(
        small,
        _log_slope_by_series(jnp.minimum(log_x, 0), alpha),
        _log_slope_by_quadrature(
            jnp.where(small, 0, log_ratio), jnp.where(small, 2, alpha)
        ),
    )


def _log_slope_by_series(log_x: Array, alpha: Array) -> Array:
    """For x <= 1, even if x underflows: integrate the terms of exp(-x exp(-v)).

    S = exp(x) sum_n (-x)**n / n! ((digamma(alpha) - log(x)) / m + 1 / m**2) with m =
    alpha + n. Inserting digamma(alpha) = digamma(alpha + 1) - 1 / alpha removes the
    terms that cancel.
    """
    x = jnp.exp(log_x)
    power, zeroth, first = jnp.ones_like(x), jnp.ones_like(x), jnp.zeros_like(x)
    for n in range(1, 20 if x.dtype == np.float64 else 12):
        power = -power * x / n
        zeroth += power * (alpha / (alpha + n))
        first += power * n / (alpha + n) ** 2
    return jnp.exp(x) / alpha * ((digamma(alpha + 1) - log_x) * zeroth - first)


def _log_slope_by_quadrature(log_ratio: Array, alpha: Array) -> Array:
    """For x >= 1, on the side of v where the exponent decreases from 0.

    With r = x / alpha - 1 and h = exp(-v) - 1 + v, the exponent is alpha r v - x h.
    Both terms are negative. Because h >= v**2 / 2 for v < 0, and h >= v**2 / (2 + v)
    for v > 0, the exponent is below -cut beyond the root of a quadratic equation.
    """
    n_nodes, cut = (40, 40) if log_ratio.dtype == np.float64 else (20, 20)
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    r, x = jnp.expm1(log_ratio), alpha * jnp.exp(log_ratio)
    far = alpha * jnp.abs(r)
    b = 2 * far - cut
    end = jnp.where(
        r < 0,
        4 * cut / (b + jnp.sqrt(b * b + 8 * cut * alpha)),
        -2 * cut / (far + jnp.sqrt(far * far + 2 * cut * x)),
    )
    shift = _digamma_minus_log(alpha) - log_ratio
    r, x, alpha, shift = (y[..., None] for y in (r, x, alpha, shift))
    v = end[..., None] * jnp.asarray((nodes + 1) / 2, x.dtype)
    exponent = alpha * (r * v) - x * _expm1_minus_linear(v)
    integrand = jnp.exp(exponent) * (shift + v)
    return end * (integrand * jnp.asarray(weights / 2, x.dtype)).sum(axis=-1)


def _expm1_minus_linear(v: Array) -> Array:
    """exp(-v) - 1 + v."""
    near = jnp.abs(v) < 0.5
    z = jnp.where(near, v, 0)
    series = jnp.zeros_like(v)
    for n in range(17, 1, -1):
        series = series * z + (-1) ** n / math.factorial(n)
    return jnp.where(near, series * z * z, jnp.expm1(-v) + v)


def _digamma_minus_log(alpha: Array) -> Array:
    """digamma(alpha) - log(alpha), by Stirling's series for alpha > 20."""
    large = alpha > 20
    z = 1 / jnp.where(large, alpha, 20) ** 2
    series = z * (-1 / 12 + z * (1 / 120 + z * (-1 / 252 + z * (1 / 240 - z / 132))))
    return jnp.where(large, series - 1 / (2 * alpha), digamma(alpha) - jnp.log(alpha))


# --- the samplers ---------------------------------------------------------------------


def gamma(key: Array, shape: Shape, dtype: Any, alpha: Array, scale: Array) -> Array:
    log_ratio = _log_ratio(key, shape, dtype, alpha)
    return _scaled_exp(non_negative(scale) * alpha, log_ratio)


def invgamma(key: Array, shape: Shape, dtype: Any, alpha: Array, scale: Array) -> Array:
    log_ratio = _log_ratio(key, shape, dtype, alpha)
    return _scaled_exp(non_negative(scale) / alpha, -log_ratio)


def gengamma(
    key: Array, shape: Shape, dtype: Any, alpha: Array, p: Array, lambd: Array
) -> Array:
    # (X / lambd)**p is a gamma draw of shape alpha / p.
    log_draw = log_gamma(key, shape, dtype, alpha / positive(p)) / p
    return _scaled_exp(non_negative(lambd), log_draw)


def beta(key: Array, shape: Shape, dtype: Any, alpha: Array, beta: Array) -> Array:
    odds = log_odds_of_beta(key, shape, dtype, positive(alpha), positive(beta))
    return jax.nn.sigmoid(odds)


def student_t(
    key: Array, shape: Shape, dtype: Any, df: Array, loc: Array, scale: Array
) -> Array:
    # The gamma draw of shape df / 2 is divided by its mean. A root that overflows is
    # replaced by the largest finite one, so that a normal draw of 0 does not give nan.
    normal_key, gamma_key = jax.random.split(key)
    z = jax.random.normal(normal_key, shape, dtype)
    largest = np.log(np.finfo(dtype).max) - 1
    log_root = -_log_ratio(gamma_key, shape, dtype, positive(df) / 2) / 2
    return loc + non_negative(scale) * z * jnp.exp(jnp.minimum(log_root, largest))


def beta_clipped(key: Array, shape: Shape, dtype: Any, a: Array, b: Array) -> Array:
    # The open unit interval: PyMC moves 0 and 1 to the nearest floats inside. XLA would
    # flush the float next to 0 to 0, so we use the smallest normal float.
    inside = np.finfo(dtype).tiny, np.nextafter(np.ones((), dtype), 0, dtype=dtype)
    return jnp.clip(beta(key, shape, dtype, a, b), *inside)


def skew_student_t(
    key: Array, shape: Shape, dtype: Any, a: Array, b: Array, mu: Array, sigma: Array
) -> Array:
    """Jones and Faddy (2003), doi:10.1111/1467-9868.00378.

    sqrt(a + b) (2 p - 1) / (2 sqrt(p (1 - p))) for p ~ beta(a, b). With p / (1 - p) =
    exp(2 x), a ratio of two gamma draws, it is sqrt(a + b) sinh(x).
    """
    x = log_odds_of_beta(key, shape, dtype, a, b) / 2
    skewed = jnp.sqrt(a + b) * jnp.sinh(x)
    return mu + non_negative(sigma) * skewed


def moyal(key: Array, shape: Shape, dtype: Any, mu: Array, sigma: Array) -> Array:
    # Minus the logarithm of a chi-square draw with one degree of freedom.
    half = jnp.asarray(0.5, dtype)
    log_chisquare = math.log(2) + log_gamma(key, shape, dtype, half)
    return mu - non_negative(sigma) * log_chisquare
