"""Poisson and negative binomial counts."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, random

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.counting import counts_of, few_or_many, require
from jaxlink.numerics.random.gamma import log_gamma
from jaxlink.numerics.random.log_probabilities import deviance, log_factorial_ratio
from jaxlink.numerics.random.standard import Propose
from jaxlink.values.static import canonical


def poisson(key: Array, shape: Shape, dtype: Any, rate: Array) -> Array:
    valid = require(
        (rate >= 0) & (rate < jnp.inf),
        "the rate of `poisson` is negative, infinite or nan.",
    )
    return counts_of(_counts(key, shape, jnp.where(valid, rate, 0)), valid, dtype)


def negative_binomial(
    key: Array, shape: Shape, dtype: Any, n: Array, p: Array
) -> Array:
    # n need not be an integer. We use logarithms, because the gamma draw may underflow
    # for a small n, and the odds may overflow for a small p.
    valid = require(
        (n > 0) & (n < jnp.inf) & (p > 0) & (p <= 1),
        "`negative_binomial` needs a positive, finite n and a p in (0, 1].",
    )
    gamma_key, poisson_key = random.split(key)
    n, p = jnp.where(valid, n, 1), jnp.where(valid, p, 1)
    log_rate = log_gamma(gamma_key, shape, n.dtype, n) + jnp.log1p(-p) - jnp.log(p)
    rate = jnp.exp(jnp.minimum(log_rate, math.log(_overflowing_rate())))
    return counts_of(_counts(poisson_key, shape, rate), valid, dtype)


def _overflowing_rate() -> float:
    """A rate so large that its counts do not fit the widest integer dtype."""
    return 4.0 * np.iinfo(canonical(np.int64)).max


def _counts(key: Array, shape: Shape, rate: Array) -> Array:
    rate = jnp.minimum(rate, _overflowing_rate())
    propose = _proposals(shape, rate)
    return few_or_many(key, shape, rate, -rate, lambda k: rate / (k + 1), propose)


def _proposals(shape: Shape, rate: Array) -> Propose:
    """Transformed rejection for rates of at least 10: Hörmann's PTRS (1993),
    doi:10.1016/0167-6687(93)90997-4. The draws are offsets from the rate's floor.

    His hat is up to 0.571 % too low near k = rate + 2 sqrt(rate), so that 8e-7 of all
    draws would be missing there. We raise it. His quick tests save logarithms for a
    single draw, but not for a batch.
    """
    b = 0.931 + 2.53 * jnp.sqrt(rate)
    a = -0.059 + 0.02483 * b
    log_scale = jnp.log(1.006 * (1.1239 + 1.1328 / (b - 3.4)))
    base = jnp.floor(rate)
    fraction = rate - base

    def propose(key: Array) -> tuple[Array, Array]:
        u, v = random.uniform(key, (2, *shape), rate.dtype) - 0.5
        tail = 0.5 - jnp.abs(u)
        offset = jnp.floor((2 * a / tail + b) * u + fraction + 0.43)
        k = base + offset
        log_height = jnp.log(0.5 - v) + log_scale - jnp.log(a / (tail * tail) + b)
        log_probability = -deviance(offset - fraction, rate) - log_factorial_ratio(k)
        return offset, (k >= 0) & (log_height <= log_probability)

    return propose
