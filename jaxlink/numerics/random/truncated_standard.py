"""Standard variables between two bounds, and distributions as functions of them.

PyMC inverts F between F(lower) and F(upper). In an upper tail both are 1, and the draw
is infinite. The variables here keep the digits of both tails: an exponential, for which
-log P(E > e) is e itself, a normal, a Cauchy, and a gamma and a beta, for which we
invert the smaller of the two tails.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import expit

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import (
    both_sides,
    open_uniform,
    tail_uniform,
    truncated_exponential,
)
from jaxlink.numerics.random.truncated_normal import truncated_normal
from jaxlink.numerics.special.beta import betainc, logit
from jaxlink.numerics.special.gamma import gammainc, gammaincc, solve

Sampler = Callable[..., Array]


def of_standard(
    standard: Sampler,
    to: Callable[..., Array],
    back: Callable[..., Array],
    support: Callable[..., tuple[Any, Any, Any]],
    ends: tuple[float, float] = (0.0, math.inf),
    positive: tuple[int, ...] = (),
    shapes: int = 0,
) -> Sampler:
    """The sampler of a distribution that is a monotonic function of a standard one.

    Arguments:
        standard: the sampler of the truncated standard distribution.
        to: maps a value inside the support, and the parameters, to the standard
            variable.
        back: the inverse of ``to``.
        support: maps the parameters to the ends of the support and a value between.
        ends: the standard variable at the ends of the support.
        positive: the indices of the parameters, after the standard distribution's own,
            that must be positive.
        shapes: the number of the standard distribution's own parameters, which come
            first. They must be positive.
    """

    def draw(key: Array, shape: Shape, dtype: Any, *operands: Array) -> Array:
        *parameters, lower, upper = operands
        low, high, between = support(*parameters)

        def at(bound: Array) -> Array:
            # `to` has no derivative at the ends, so it never gets an end.
            inside = (bound > low) & (bound < high)
            value = to(jnp.where(inside, bound, between), *parameters)
            return jnp.where(inside, value, jnp.where(bound <= low, *ends))

        bounds = (at(lower), at(upper))[:: 1 if ends[0] < ends[1] else -1]
        z = standard(key, shape, dtype, *parameters[:shapes], *bounds)
        valid = (lower <= upper) & (lower < high) & (upper > low)
        for i, parameter in enumerate(parameters[shapes:]):
            valid &= jnp.isfinite(parameter)
            if i in positive:
                valid &= parameter > 0
        x = jnp.where(valid, jnp.clip(back(z, *parameters), lower, upper), jnp.nan)
        for parameter in parameters[:shapes]:
            x = jnp.where((parameter > 0) & (parameter < jnp.inf), x, jnp.nan)
        return x

    return draw


def between_exponential(
    key: Array, shape: Shape, dtype: Any, low: Array, high: Array
) -> Array:
    # An exponential variable is memoryless: beyond its lower bound it starts again.
    return low + truncated_exponential(*tail_uniform(key, shape, dtype), high - low)


def between_normal(
    key: Array, shape: Shape, dtype: Any, low: Array, high: Array
) -> Array:
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    return truncated_normal(key, shape, dtype, zero, one, low, high)


def between_cauchy(
    key: Array, shape: Shape, dtype: Any, low: Array, high: Array
) -> Array:
    """The cotangent of a uniform angle.

    It keeps its digits in the upper tail, so the interval is mirrored if more of it
    lies below zero.
    """
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


def between_gamma(
    key: Array, shape: Shape, dtype: Any, alpha: Array, low: Array, high: Array
) -> Array:
    def tails(x: Array) -> tuple[Array, Array]:
        return gammainc(alpha, x), gammaincc(alpha, x)

    p, q = _tails_between(key, shape, dtype, tails, (0, jnp.inf, 1), low, high)
    return jnp.exp(solve(jnp.broadcast_to(alpha, shape), p, q)[2])


def between_logit_beta(
    key: Array, shape: Shape, dtype: Any, a: Array, b: Array, low: Array, high: Array
) -> Array:
    """The logit of a beta variable, where the logit is between ``low`` and ``high``."""

    def tails(y: Array) -> tuple[Array, Array]:
        return betainc(a, b, expit(y)), betainc(b, a, expit(-y))

    support = -jnp.inf, jnp.inf, 0
    p, q = _tails_between(key, shape, dtype, tails, support, low, high)
    upper = q < p
    first, last = jnp.where(upper, b, a), jnp.where(upper, a, b)
    possible = (p > 0) & (q > 0)
    y = logit(first, last, jnp.where(possible, jnp.minimum(p, q), 0.5))
    return jnp.where(upper, -y, y)


def _tails_between(
    key: Array,
    shape: Shape,
    dtype: Any,
    tails: Callable[[Array], tuple[Array, Array]],
    support: tuple[float, float, float],
    low: Array,
    high: Array,
) -> tuple[Array, Array]:
    """P and Q of a draw between two bounds. Both keep their digits.

    Arguments:
        tails: P and Q of a value inside the support.
        support: its ends and a value between.
    """
    first, last, between = support

    def at(bound: Array) -> tuple[Array, Array]:
        inside, before = (bound > first) & (bound < last), bound <= first
        p, q = tails(jnp.where(inside, bound, between))
        p = jnp.where(inside, p, jnp.where(before, 0, 1))
        return p, jnp.where(inside, q, jnp.where(before, 1, 0))

    (p_low, q_low), (p_high, q_high) = at(low), at(high)
    below, above = both_sides(*tail_uniform(key, shape, dtype))
    return p_low + below * (p_high - p_low), q_high + above * (q_low - q_high)
