"""Samplers for truncated distributions: functions of standard variables between bounds.

A sampler is a function ``(key, shape, dtype, *parameters, lower, upper) -> draw``. If a
parameter is outside its domain, or nothing lies between the bounds, the draw is nan.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import expit

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import open_uniform
from jaxlink.numerics.random.truncated_normal import truncated_normal
from jaxlink.numerics.random.truncated_standard import (
    between_cauchy,
    between_exponential,
    between_gamma,
    between_logit_beta,
    between_normal,
    of_standard,
)

# --- functions of a standard exponential ---------------------------------------------


def _laplace_to(x: Array, mu: Array, b: Array) -> Array:
    # P(Z > z) is exp(-z) / 2 above 0 and 1 - exp(z) / 2 below.
    z = (x - mu) / b
    below = -jnp.log1p(-jnp.exp(jnp.minimum(z, 0)) / 2)
    return jnp.where(z > 0, z + math.log(2), below)


def _laplace_back(e: Array, mu: Array, b: Array) -> Array:
    below = jnp.log(-2 * jnp.expm1(-jnp.minimum(e, math.log(2))))
    return mu + b * jnp.where(e > math.log(2), e - math.log(2), below)


def _real_line(*parameters: Array) -> tuple[Any, Any, Any]:
    *_, location, _ = parameters
    return -math.inf, math.inf, location


def _positive_line(*parameters: Array) -> tuple[Any, Any, Any]:
    return 0.0, math.inf, parameters[-1]


exponential = of_standard(
    between_exponential,
    lambda x, scale: x / scale,
    lambda e, scale: scale * e,
    _positive_line,
    positive=(0,),
)
weibull = of_standard(
    between_exponential,
    lambda x, alpha, beta: (x / beta) ** alpha,
    lambda e, alpha, beta: beta * e ** (1 / alpha),
    _positive_line,
    positive=(0, 1),
)
pareto = of_standard(
    between_exponential,
    lambda x, alpha, m: alpha * jnp.log(x / m),
    lambda e, alpha, m: m * jnp.exp(e / alpha),
    lambda alpha, m: (m, math.inf, 2 * m),
    positive=(0, 1),
)
kumaraswamy = of_standard(
    between_exponential,
    lambda x, a, b: -b * jnp.log1p(-(x**a)),
    lambda e, a, b: (-jnp.expm1(-e / b)) ** (1 / a),
    lambda a, b: (0.0, 1.0, 0.5),
    positive=(0, 1),
)
laplace = of_standard(
    between_exponential, _laplace_to, _laplace_back, _real_line, positive=(1,)
)
logistic = of_standard(
    between_exponential,
    lambda x, mu, s: jax.nn.softplus((x - mu) / s),
    # P(Z > z) = 1 / (1 + exp(z)), so that z = log(expm1(e)).
    lambda e, mu, s: mu + s * (e + jnp.log(-jnp.expm1(-e))),
    _real_line,
    positive=(1,),
)
gumbel = of_standard(
    between_exponential,
    lambda x, mu, beta: jnp.exp(-(x - mu) / beta),
    lambda e, mu, beta: mu - beta * jnp.log(e),
    _real_line,
    (math.inf, 0.0),
    positive=(1,),
)


# --- functions of a standard normal or Cauchy variable -------------------------------

half_normal = of_standard(
    between_normal,
    lambda x, loc, sigma: (x - loc) / sigma,
    lambda z, loc, sigma: loc + sigma * z,
    lambda loc, sigma: (loc, math.inf, loc + sigma),
    positive=(1,),
)
log_normal = of_standard(
    between_normal,
    lambda x, mu, sigma: (jnp.log(x) - mu) / sigma,
    lambda z, mu, sigma: jnp.exp(mu + sigma * z),
    lambda mu, sigma: (0.0, math.inf, 1.0),
    (-math.inf, math.inf),
    positive=(1,),
)
# Minus the logarithm of a chi-square variable with one degree of freedom.
moyal = of_standard(
    between_normal,
    lambda x, mu, sigma: jnp.exp(-(x - mu) / (2 * sigma)),
    lambda z, mu, sigma: (
        mu - 2 * sigma * jnp.log(jnp.maximum(z, np.finfo(z.dtype).tiny))
    ),
    _real_line,
    (math.inf, 0.0),
    positive=(1,),
)
cauchy = of_standard(
    between_cauchy,
    lambda x, loc, scale: (x - loc) / scale,
    lambda z, loc, scale: loc + scale * z,
    _real_line,
    (-math.inf, math.inf),
    positive=(1,),
)
half_cauchy = of_standard(
    between_cauchy,
    lambda x, scale: x / scale,
    lambda z, scale: scale * z,
    _positive_line,
    positive=(0,),
)


# --- quantiles by special functions --------------------------------------------------


gamma = of_standard(
    between_gamma,
    lambda x, alpha, scale: x / scale,
    lambda z, alpha, scale: scale * z,
    _positive_line,
    positive=(0,),
    shapes=1,
)
inverse_gamma = of_standard(
    between_gamma,
    lambda x, alpha, scale: scale / x,
    lambda z, alpha, scale: scale / z,
    _positive_line,
    (math.inf, 0.0),
    positive=(0,),
    shapes=1,
)
beta = of_standard(
    between_logit_beta,
    lambda x, a, b: jnp.log(x) - jnp.log1p(-x),
    lambda y, a, b: expit(y),
    lambda a, b: (0.0, 1.0, 0.5),
    (-math.inf, math.inf),
    shapes=2,
)
# See `jaxlink.numerics.random.gamma.skew_student_t`.
skew_student_t = of_standard(
    between_logit_beta,
    lambda x, a, b, mu, sigma: 2 * jnp.arcsinh((x - mu) / sigma / jnp.sqrt(a + b)),
    lambda y, a, b, mu, sigma: mu + sigma * jnp.sqrt(a + b) * jnp.sinh(y / 2),
    _real_line,
    (-math.inf, math.inf),
    positive=(1,),
    shapes=2,
)


def student_t(
    key: Array, shape: Shape, dtype: Any, df: Array, *operands: Array
) -> Array:
    return skew_student_t(key, shape, dtype, df / 2, df / 2, *operands)


# --- others --------------------------------------------------------------------------


def uniform(key: Array, shape: Shape, dtype: Any, *operands: Array) -> Array:
    low, high, lower, upper = operands
    low, high = jnp.maximum(low, lower), jnp.minimum(high, upper)
    x = low + open_uniform(key, shape, dtype) * (high - low)
    return jnp.where(low <= high, jnp.clip(x, low, high), jnp.nan)


def normal(key: Array, shape: Shape, dtype: Any, *operands: Array) -> Array:
    mu, sigma, low, high, lower, upper = operands
    bounds = jnp.maximum(low, lower), jnp.minimum(high, upper)
    return truncated_normal(key, shape, dtype, mu, sigma, *bounds)


def geometric(
    key: Array, shape: Shape, dtype: Any, p: Array, lower: Array, upper: Array
) -> Array:
    """An exponential variable in units of -log(1 - p), rounded up."""
    first, last = jnp.maximum(jnp.ceil(lower), 1), jnp.floor(upper)
    length = -jnp.log1p(-jnp.minimum(p, 1 - np.finfo(dtype).eps))
    e = between_exponential(key, shape, dtype, (first - 1) * length, last * length)
    x = jnp.clip(jnp.ceil(e / length), first, last)
    return jnp.where((p > 0) & (p <= 1) & (first <= last), x, jnp.nan)
