"""Samplers of truncated distributions: quantiles of uniform numbers between two bounds.

PyMC inverts F between F(lower) and F(upper). In an upper tail these are 1, and the draw
is infinite. Here each distribution is a monotonic function of a variable whose tails
keep their digits: of an exponential one, for which -log P(E > e) is e itself; of a
normal one; or the smaller of two tails is inverted.

A row is a function ``(key, shape, dtype, *parameters, lower, upper) -> draw``. A
parameter that is invalid, and bounds between which there is nothing, give nan.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array
from jax.scipy.special import expit

from jaxlink.dispatch.random.primitives import (
    open_uniform,
    tail_uniform,
    truncated_exponential,
)
from jaxlink.dispatch.random.pymc import truncated_normal
from jaxlink.dispatch.special.beta import betainc, logit
from jaxlink.dispatch.special.gamma import gammainc, gammaincc, solve

__all__ = ["TRUNCATED"]

Shape = tuple[int, ...]
Sampler = Callable[..., Array]


@dataclass(frozen=True)
class Transformed:
    """A distribution as a monotonic function of a standard one.

    Arguments:
        to: the standard variable of a value inside the support and the parameters.
        back: its inverse.
        support: of the parameters: the ends, and a value between them.
        ends: the standard variable at the ends of the support.
        positive: the indices of the parameters that must be.
    """

    to: Callable[..., Array]
    back: Callable[..., Array]
    support: Callable[..., tuple[Any, Any, Any]]
    ends: tuple[float, float]
    positive: tuple[int, ...]

    def sampler(self, standard: Sampler) -> Sampler:
        """The truncated distribution, given the truncated standard one."""

        def draw(key: Array, shape: Shape, dtype: Any, *operands: Array) -> Array:
            *parameters, lower, upper = operands
            low, high, between = self.support(*parameters)

            def at(bound: Array) -> Array:
                # What an end is mapped to has no derivative, so no end gets there.
                inside = (bound > low) & (bound < high)
                value = self.to(jnp.where(inside, bound, between), *parameters)
                return jnp.where(inside, value, jnp.where(bound <= low, *self.ends))

            ends = (at(lower), at(upper))[:: 1 if self.ends[0] < self.ends[1] else -1]
            x = self.back(standard(key, shape, dtype, *ends), *parameters)
            valid = (lower <= upper) & (lower < high) & (upper > low)
            for i in self.positive:
                valid &= parameters[i] > 0
            return jnp.where(valid, jnp.clip(x, lower, upper), jnp.nan)

        return draw


def _exponential(
    key: Array, shape: Shape, dtype: Any, low: Array, high: Array
) -> Array:
    # Beyond its lower bound it is what it was, for it has no memory.
    return low + truncated_exponential(*tail_uniform(key, shape, dtype), high - low)


def _normal(key: Array, shape: Shape, dtype: Any, low: Array, high: Array) -> Array:
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    return truncated_normal(key, shape, dtype, zero, one, low, high)


def _cauchy(key: Array, shape: Shape, dtype: Any, low: Array, high: Array) -> Array:
    """The cotangent of a uniform angle, which keeps its digits in the upper tail: the
    interval is mirrored if more of it lies below."""
    mirror = low + high < 0
    low, high = jnp.where(mirror, -high, low), jnp.where(mirror, -low, high)

    def angle(z: Array) -> Array:
        finite = jnp.isfinite(z)
        end = jnp.where(z > 0, 0, np.pi).astype(z.dtype)
        return jnp.where(finite, jnp.arctan2(1.0, jnp.where(finite, z, 0)), end)

    near, far = angle(low), angle(high)
    chosen = far + open_uniform(key, shape, dtype) * (near - far)
    z = jnp.cos(chosen) / jnp.sin(chosen)
    return jnp.where(mirror, -z, z)


def _gamma(
    key: Array, shape: Shape, dtype: Any, alpha: Array, low: Array, high: Array
) -> Array:
    def tails(x: Array) -> tuple[Array, Array]:
        inside = (x > 0) & (x < jnp.inf)
        given = jnp.where(inside, x, 1)
        p, q = gammainc(alpha, given), gammaincc(alpha, given)
        zero = x <= 0
        return (
            jnp.where(inside, p, jnp.where(zero, 0, 1)),
            jnp.where(inside, q, jnp.where(zero, 1, 0)),
        )

    p, q = _between(key, shape, dtype, tails(low), tails(high))
    return jnp.exp(solve(jnp.broadcast_to(alpha, shape), p, q)[2])


def _logit_beta(
    key: Array, shape: Shape, dtype: Any, a: Array, b: Array, low: Array, high: Array
) -> Array:
    """The logit of a beta variable, which is between ``low`` and ``high``."""

    def tails(y: Array) -> tuple[Array, Array]:
        inside = jnp.isfinite(y)
        given = jnp.where(inside, y, 0)
        p, q = betainc(a, b, expit(given)), betainc(b, a, expit(-given))
        zero = y < 0
        return (
            jnp.where(inside, p, jnp.where(zero, 0, 1)),
            jnp.where(inside, q, jnp.where(zero, 1, 0)),
        )

    p, q = _between(key, shape, dtype, tails(low), tails(high))
    upper = q < p
    first, last = jnp.where(upper, b, a), jnp.where(upper, a, b)
    possible = (p > 0) & (q > 0)
    y = logit(first, last, jnp.where(possible, jnp.minimum(p, q), 0.5))
    return jnp.where(upper, -y, y)


def _between(
    key: Array,
    shape: Shape,
    dtype: Any,
    low: tuple[Array, Array],
    high: tuple[Array, Array],
) -> tuple[Array, Array]:
    """P and Q of a draw, given those of the bounds. Both keep their digits."""
    is_upper, tail = tail_uniform(key, shape, dtype)
    below = jnp.where(is_upper, 1 - tail, tail)
    above = jnp.where(is_upper, tail, 1 - tail)
    p = low[0] + below * (high[0] - low[0])
    q = high[1] + above * (low[1] - high[1])
    return p, q


# --- functions of a standard exponential ---------------------------------------------


def _laplace_to(x: Array, mu: Array, b: Array) -> Array:
    # P(Z > z) is exp(-z) / 2 above 0, 1 - exp(z) / 2 below.
    z = (x - mu) / b
    below = -jnp.log1p(-jnp.exp(jnp.minimum(z, 0)) / 2)
    return jnp.where(z > 0, z + math.log(2), below)


def _laplace_back(e: Array, mu: Array, b: Array) -> Array:
    below = jnp.log(-2 * jnp.expm1(-jnp.minimum(e, math.log(2))))
    return mu + b * jnp.where(e > math.log(2), e - math.log(2), below)


def _logistic_back(e: Array, mu: Array, s: Array) -> Array:
    # P(Z > z) = 1 / (1 + exp(z)), so that z = log(expm1(e)).
    return mu + s * (e + jnp.log(-jnp.expm1(-e)))


def _of_exponential(
    to: Sampler, back: Sampler, support: Any, *positive: int, decreasing: bool = False
) -> Sampler:
    ends = (math.inf, 0.0) if decreasing else (0.0, math.inf)
    return Transformed(to, back, support, ends, positive).sampler(_exponential)


def _real_line(mu: Array, scale: Array) -> tuple[Any, Any, Any]:
    del scale
    return -math.inf, math.inf, mu


_EXPONENTIAL = _of_exponential(
    lambda x, scale: x / scale,
    lambda e, scale: scale * e,
    lambda scale: (0.0, math.inf, scale),
    0,
)
_WEIBULL = _of_exponential(
    lambda x, alpha, beta: (x / beta) ** alpha,
    lambda e, alpha, beta: beta * e ** (1 / alpha),
    lambda alpha, beta: (0.0, math.inf, beta),
    *(0, 1),
)
_PARETO = _of_exponential(
    lambda x, alpha, m: alpha * jnp.log(x / m),
    lambda e, alpha, m: m * jnp.exp(e / alpha),
    lambda alpha, m: (m, math.inf, 2 * m),
    *(0, 1),
)
_KUMARASWAMY = _of_exponential(
    lambda x, a, b: -b * jnp.log1p(-(x**a)),
    lambda e, a, b: (-jnp.expm1(-e / b)) ** (1 / a),
    lambda a, b: (0.0, 1.0, 0.5),
    *(0, 1),
)
_LAPLACE = _of_exponential(_laplace_to, _laplace_back, _real_line, 1)
_LOGISTIC = _of_exponential(
    lambda x, mu, s: jax.nn.softplus((x - mu) / s), _logistic_back, _real_line, 1
)
_GUMBEL = _of_exponential(
    lambda x, mu, beta: jnp.exp(-(x - mu) / beta),
    lambda e, mu, beta: mu - beta * jnp.log(e),
    _real_line,
    1,
    decreasing=True,
)


# --- functions of a standard normal or Cauchy variable -------------------------------

_HALF_NORMAL = Transformed(
    lambda x, loc, sigma: (x - loc) / sigma,
    lambda z, loc, sigma: loc + sigma * z,
    lambda loc, sigma: (loc, math.inf, loc + sigma),
    (0.0, math.inf),
    (1,),
).sampler(_normal)
_LOG_NORMAL = Transformed(
    lambda x, mu, sigma: (jnp.log(x) - mu) / sigma,
    lambda z, mu, sigma: jnp.exp(mu + sigma * z),
    lambda mu, sigma: (0.0, math.inf, 1.0),
    (-math.inf, math.inf),
    (1,),
).sampler(_normal)
# -log(chi-square of one degree of freedom).
_MOYAL = Transformed(
    lambda x, mu, sigma: jnp.exp(-(x - mu) / (2 * sigma)),
    lambda z, mu, sigma: (
        mu - 2 * sigma * jnp.log(jnp.maximum(z, np.finfo(z.dtype).tiny))
    ),
    _real_line,
    (math.inf, 0.0),
    (1,),
).sampler(_normal)
_CAUCHY = Transformed(
    lambda x, loc, scale: (x - loc) / scale,
    lambda z, loc, scale: loc + scale * z,
    _real_line,
    (-math.inf, math.inf),
    (1,),
).sampler(_cauchy)
_HALF_CAUCHY = Transformed(
    lambda x, scale: x / scale,
    lambda z, scale: scale * z,
    lambda scale: (0.0, math.inf, scale),
    (0.0, math.inf),
    (0,),
).sampler(_cauchy)


# --- quantiles by special functions --------------------------------------------------


def _of_standard(
    transformed: Callable[..., Transformed], core: Sampler, shapes: int
) -> Sampler:
    """Likewise if the standard distribution has ``shapes`` parameters of its own."""

    def draw(key: Array, shape: Shape, dtype: Any, *operands: Array) -> Array:
        own, rest = operands[:shapes], operands[shapes:]

        def standard(
            key: Array, shape: Shape, dtype: Any, low: Array, high: Array
        ) -> Array:
            return core(key, shape, dtype, *own, low, high)

        valid = jnp.asarray(True)
        for parameter in own:
            valid &= (parameter > 0) & (parameter < jnp.inf)
        safe = transformed(*own).sampler(standard)
        return jnp.where(valid, safe(key, shape, dtype, *rest), jnp.nan)

    return draw


_GAMMA = _of_standard(
    lambda alpha: Transformed(
        lambda x, scale: x / scale,
        lambda z, scale: scale * z,
        lambda scale: (0.0, math.inf, scale),
        (0.0, math.inf),
        (0,),
    ),
    _gamma,
    1,
)
_INVERSE_GAMMA = _of_standard(
    lambda alpha: Transformed(
        lambda x, scale: scale / x,
        lambda z, scale: scale / z,
        lambda scale: (0.0, math.inf, scale),
        (math.inf, 0.0),
        (0,),
    ),
    _gamma,
    1,
)
_BETA = _of_standard(
    lambda a, b: Transformed(
        lambda x: jnp.log(x) - jnp.log1p(-x),
        lambda y: expit(y),
        lambda: (0.0, 1.0, 0.5),
        (-math.inf, math.inf),
        (),
    ),
    _logit_beta,
    2,
)
# See `jaxlink.dispatch.random.pymc.skew_student_t`.
_SKEW_STUDENT_T = _of_standard(
    lambda a, b: Transformed(
        lambda x, mu, sigma: 2 * jnp.arcsinh((x - mu) / sigma / jnp.sqrt(a + b)),
        lambda y, mu, sigma: mu + sigma * jnp.sqrt(a + b) * jnp.sinh(y / 2),
        _real_line,
        (-math.inf, math.inf),
        (1,),
    ),
    _logit_beta,
    2,
)


def _student_t(
    key: Array, shape: Shape, dtype: Any, df: Array, *operands: Array
) -> Array:
    return _SKEW_STUDENT_T(key, shape, dtype, df / 2, df / 2, *operands)


# --- others --------------------------------------------------------------------------


def _uniform(
    key: Array,
    shape: Shape,
    dtype: Any,
    low: Array,
    high: Array,
    lower: Array,
    upper: Array,
) -> Array:
    low, high = jnp.maximum(low, lower), jnp.minimum(high, upper)
    x = low + open_uniform(key, shape, dtype) * (high - low)
    return jnp.where(low <= high, jnp.clip(x, low, high), jnp.nan)


def _truncated_normal(key: Array, shape: Shape, dtype: Any, *operands: Array) -> Array:
    mu, sigma, low, high, lower, upper = operands
    bounds = jnp.maximum(low, lower), jnp.minimum(high, upper)
    return truncated_normal(key, shape, dtype, mu, sigma, *bounds)


def _geometric(
    key: Array, shape: Shape, dtype: Any, p: Array, lower: Array, upper: Array
) -> Array:
    """How many units of the length -log(1 - p) an exponential variable has begun."""
    first, last = jnp.maximum(jnp.ceil(lower), 1), jnp.floor(upper)
    length = -jnp.log1p(-jnp.minimum(p, 1 - np.finfo(dtype).eps))
    e = _exponential(key, shape, dtype, (first - 1) * length, last * length)
    x = jnp.clip(jnp.ceil(e / length), first, last)
    return jnp.where((p > 0) & (p <= 1) & (first <= last), x, jnp.nan)


_PYMC = "pymc.distributions.continuous."

# The base, a class of PyTensor's or the name of one of PyMC's -> its row.
TRUNCATED: dict[type | str, Sampler] = {
    ptr.ExponentialRV: _EXPONENTIAL,
    ptr.ParetoRV: _PARETO,
    ptr.LaplaceRV: _LAPLACE,
    ptr.LogisticRV: _LOGISTIC,
    ptr.GumbelRV: _GUMBEL,
    ptr.HalfNormalRV: _HALF_NORMAL,
    ptr.LogNormalRV: _LOG_NORMAL,
    ptr.CauchyRV: _CAUCHY,
    ptr.GammaRV: _GAMMA,
    ptr.InvGammaRV: _INVERSE_GAMMA,
    ptr.BetaRV: _BETA,
    ptr.StudentTRV: _student_t,
    ptr.UniformRV: _uniform,
    ptr.GeometricRV: _geometric,
    _PYMC + "TruncatedNormalRV": _truncated_normal,
    _PYMC + "WeibullBetaRV": _WEIBULL,
    _PYMC + "KumaraswamyRV": _KUMARASWAMY,
    _PYMC + "MoyalRV": _MOYAL,
    _PYMC + "HalfCauchyRV": _HALF_CAUCHY,
    _PYMC + "SkewStudentTRV": _SKEW_STUDENT_T,
}
