"""Hypergeometric counts."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.counting import (
    counts_of,
    few_or_many,
    fine_uniform,
    require,
    whole,
)
from jaxlink.numerics.random.log_probabilities import deviance, log_factorial_ratio
from jaxlink.numerics.random.standard import Propose


def hypergeometric(
    key: Array, shape: Shape, dtype: Any, good: Array, bad: Array, taken: Array
) -> Array:
    """The number of good balls among ``taken`` balls.

    The numbers of good balls and of taken balls can be swapped, and each can be
    replaced by its complement. So we take as few balls as possible, at most half of all
    balls are taken, and at most half are marked.
    """
    valid = require(
        (good >= 0)
        & (bad >= 0)
        & (good + bad < jnp.inf)
        & (taken >= 0)
        & (taken <= good + bad),
        "`hypergeometric` needs numbers of balls that are not negative, and cannot "
        "take more balls than there are.",
    )
    good, bad, taken = (jnp.where(valid, x, 0) for x in (good, bad, taken))
    total = good + bad
    few, many = jnp.minimum(good, taken), jnp.maximum(good, taken)
    complement = 2 * many > total
    many = jnp.where(complement, total - many, many)
    steps, marked = jnp.minimum(few, many), jnp.maximum(few, many)
    hits = _hits(key, shape, total, marked, steps)
    hits = jnp.where(complement, whole(few, jnp.zeros_like(few)) - hits, hits)
    return counts_of(hits, valid, dtype)


def _hits(key: Array, shape: Shape, total: Array, marked: Array, steps: Array) -> Array:
    """The number of marked balls among those taken, in the widest integer dtype."""
    mean = marked * (steps / jnp.maximum(total, 1))
    left = total - marked - steps

    def ratio(k: Array) -> Array:
        return (marked - k) / (k + 1) * ((steps - k) / (left + k + 1))

    log_none = _log_none(total, marked, steps, mean)
    propose = _proposals(shape, total, marked, steps, mean)
    return few_or_many(key, shape, mean, log_none, ratio, propose, steps)


def _log_weight(
    difference: Array, k: Array, total: Array, marked: Array, steps: Array
) -> Array:
    """The log probability of k = mean + difference, up to a constant.

    As Loader writes it, the probability is that of k among the marked balls times that
    of steps - k among the others, if each ball is taken with probability p = steps /
    total. The four numbers of balls (marked or not, taken or not) all differ from their
    means by the same amount, up to sign.
    """
    p = steps / total
    others = total - marked
    off = (
        deviance(difference, marked * p)
        + deviance(-difference, marked * (1 - p))
        + deviance(-difference, others * p)
        + deviance(difference, others * (1 - p))
    )
    counts = (k, marked - k, steps - k, others - steps + k)
    return -off - sum(map(log_factorial_ratio, counts))


def _log_none(total: Array, marked: Array, steps: Array, mean: Array) -> Array:
    """The log probability that no ball taken is marked.

    It is the sum of log(1 - marked / (total - i)) over i < steps. Where that is nearly
    0, we use steps times its middle term, whose relative error (steps / total)**2 is
    less than 1e-8. The general formula would cancel there.
    """
    hardly = mean < 1e-3
    middle = jnp.maximum(total, 1) - (steps - 1) / 2
    short = steps * jnp.log1p(-jnp.where(hardly, marked / middle, 0))
    total, marked, steps = (
        jnp.where(hardly, other, x)
        for x, other in ((total, 2), (marked, 1), (steps, 1))
    )
    general = _log_weight(-mean, jnp.zeros_like(mean), total, marked, steps)
    general += sum(map(log_factorial_ratio, (marked, total - marked, steps)))
    general = general + log_factorial_ratio(total - steps) - log_factorial_ratio(total)
    return jnp.where(hardly, short, general)


def _proposals(
    shape: Shape, total: Array, marked: Array, steps: Array, mean: Array
) -> Propose:
    """Stadlober's HRUA (1990), doi:10.1016/0377-0427(90)90349-5.

    A point (x, y) of a rectangle is kept if x**2 is at most the probability of
    floor(y / x), relative to that of the mode. The draws are offsets from the mean's
    floor.
    """
    variance = mean * ((total - steps) / total) * ((total - marked) / (total - 1))
    width = 2 * math.sqrt(2 / math.e) * jnp.sqrt(variance + 0.5)
    width = width + 3 - 2 * math.sqrt(3 / math.e)
    base = jnp.floor(mean)
    fraction = mean - base
    mode = jnp.floor((marked + 1) * ((steps + 1) / (total + 2)))

    def log_weight(offset: Array) -> Array:
        return _log_weight(offset - fraction, base + offset, total, marked, steps)

    log_top = log_weight(mode - base)

    def propose(key: Array) -> tuple[Array, Array]:
        x, y = fine_uniform(key, (2, *shape), mean.dtype)
        offset = jnp.floor(fraction + 0.5 + width * (y - 0.5) / x)
        k = base + offset
        inside = (k >= 0) & (k <= steps)
        return offset, inside & (2 * jnp.log(x) <= log_weight(offset) - log_top)

    return propose
