"""Standard variables between two bounds, and distributions as functions of them.

PyMC inverts F between F(lower) and F(upper). In an upper tail both are 1, and the draw
is infinite. The variables here keep the digits of both tails: an exponential, for which
-log P(E > e) is e itself, a normal, a Cauchy, and a gamma and a beta, for which we
invert the smaller of the two tails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import expit

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import (
    open_uniform,
    tail_uniform,
    truncated_exponential,
)
from jaxlink.numerics.random.truncated_normal import truncated_normal
from jaxlink.numerics.special.beta import betainc, logit
from jaxlink.numerics.special.gamma import gammainc, gammaincc, solve

__all__ = [
    "Transformed",
    "between_cauchy",
    "between_exponential",
    "between_gamma",
    "between_logit_beta",
    "between_normal",
    "of_standard",
]

Sampler = Callable[..., Array]


@dataclass(frozen=True)
class Transformed:
    """A distribution as a monotonic function of a standard one.

    Arguments:
        to: from a value inside the support, and the parameters, to the standard
            variable.
        back: the inverse of ``to``.
        support: from the parameters to the ends of the support and a value between.
        ends: the standard variable at the ends of the support.
        positive: the indices of the parameters that must be positive.
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
                # `to` has no derivative at the ends, so it never gets an end.
                inside = (bound > low) & (bound < high)
                value = self.to(jnp.where(inside, bound, between), *parameters)
                return jnp.where(inside, value, jnp.where(bound <= low, *self.ends))

            ends = (at(lower), at(upper))[:: 1 if self.ends[0] < self.ends[1] else -1]
            x = self.back(standard(key, shape, dtype, *ends), *parameters)
            valid = (lower <= upper) & (lower < high) & (upper > low)
            for i, parameter in enumerate(parameters):
                valid &= jnp.isfinite(parameter)
                if i in self.positive:
                    valid &= parameter > 0
            return jnp.where(valid, jnp.clip(x, lower, upper), jnp.nan)

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
        inside = (x > 0) & (x < jnp.inf)
        given = jnp.where(inside, x, 1)
        p, q = gammainc(alpha, given), gammaincc(alpha, given)
        zero = x <= 0
        return (
            jnp.where(inside, p, jnp.where(zero, 0, 1)),
            jnp.where(inside, q, jnp.where(zero, 1, 0)),
        )

    p, q = _tails_between(key, shape, dtype, tails(low), tails(high))
    return jnp.exp(solve(jnp.broadcast_to(alpha, shape), p, q)[2])


def between_logit_beta(
    key: Array, shape: Shape, dtype: Any, a: Array, b: Array, low: Array, high: Array
) -> Array:
    """The logit of a beta variable, where the logit is between ``low`` and ``high``."""

    def tails(y: Array) -> tuple[Array, Array]:
        inside = jnp.isfinite(y)
        given = jnp.where(inside, y, 0)
        p, q = betainc(a, b, expit(given)), betainc(b, a, expit(-given))
        zero = y < 0
        return (
            jnp.where(inside, p, jnp.where(zero, 0, 1)),
            jnp.where(inside, q, jnp.where(zero, 1, 0)),
        )

    p, q = _tails_between(key, shape, dtype, tails(low), tails(high))
    upper = q < p
    first, last = jnp.where(upper, b, a), jnp.where(upper, a, b)
    possible = (p > 0) & (q > 0)
    y = logit(first, last, jnp.where(possible, jnp.minimum(p, q), 0.5))
    return jnp.where(upper, -y, y)


def _tails_between(
    key: Array,
    shape: Shape,
    dtype: Any,
    low: tuple[Array, Array],
    high: tuple[Array, Array],
) -> tuple[Array, Array]:
    """P and Q of a draw, given P and Q of the bounds. Both keep their digits."""
    is_upper, tail = tail_uniform(key, shape, dtype)
    below = jnp.where(is_upper, 1 - tail, tail)
    above = jnp.where(is_upper, tail, 1 - tail)
    p = low[0] + below * (high[0] - low[0])
    q = high[1] + above * (low[1] - high[1])
    return p, q


def of_standard(
    transformed: Callable[..., Transformed], core: Sampler, shapes: int
) -> Sampler:
    """Like `Transformed.sampler`, for a standard distribution with its own parameters.

    Arguments:
        transformed: from the standard distribution's parameters to a `Transformed`.
        core: the sampler of the truncated standard distribution.
        shapes: the number of the standard distribution's parameters, which come first.
    """

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
