"""Binomial, beta-binomial and multinomial counts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.counting import counts_of, few_or_many, require, whole
from jaxlink.numerics.random.discrete import probabilities
from jaxlink.numerics.random.gamma import log_gamma
from jaxlink.numerics.random.log_probabilities import deviance, log_factorial_ratio
from jaxlink.numerics.random.standard import Propose
from jaxlink.values.static import canonical


def binomial(key: Array, shape: Shape, dtype: Any, n: Array, p: Array) -> Array:
    valid = require(
        (n >= 0) & (n < jnp.inf) & (p >= 0) & (p <= 1),
        "`binomial` needs a finite n that is not negative and a p in [0, 1].",
    )
    n, p = jnp.where(valid, n, 0), jnp.where(valid, p, 0)
    return counts_of(binomial_counts(key, shape, n, p, 1 - p), valid, dtype)


def beta_binomial(
    key: Array, shape: Shape, dtype: Any, n: Array, a: Array, b: Array
) -> Array:
    # The beta draw p is the share of one of two gamma draws, and 1 - p is the other's
    # share. So both have all their digits, however small a and b are.
    valid = require(
        (n >= 0) & (n < jnp.inf) & (a > 0) & (a < jnp.inf) & (b > 0) & (b < jnp.inf),
        "`beta_binomial` needs a finite n that is not negative, and finite, positive a "
        "and b.",
    )
    n = jnp.where(valid, n, 0)
    shapes = jnp.stack(
        [jnp.broadcast_to(jnp.where(valid, x, 1), shape) for x in (a, b)]
    )
    gamma_key, binomial_key = random.split(key)
    log_a, log_b = log_gamma(gamma_key, shapes.shape, shapes.dtype, shapes)
    log_odds = log_a - log_b
    p, q = jax.nn.sigmoid(log_odds), jax.nn.sigmoid(-log_odds)
    return counts_of(binomial_counts(binomial_key, shape, n, p, q), valid, dtype)


def binomial_counts(key: Array, shape: Shape, n: Array, p: Array, q: Array) -> Array:
    """Counts of an event of probability p = 1 - q, in the widest integer dtype.

    We draw the count of the event or of its opposite, whichever is rarer.
    """
    n = jnp.floor(n)
    swapped = p > q
    p, q = jnp.where(swapped, q, p), jnp.where(swapped, p, q)
    odds = p / q

    def ratio(k: Array) -> Array:
        return (n - k) / (k + 1) * odds

    log_none = n * jnp.log1p(-p)
    propose = _proposals(shape, n, p, q)
    count = few_or_many(key, shape, n * p, log_none, ratio, propose, n)
    return jnp.where(swapped, whole(n, jnp.zeros_like(n)) - count, count)


def _proposals(shape: Shape, n: Array, p: Array, q: Array) -> Propose:
    """Transformed rejection for means of at least 10 and p <= 1/2: Hörmann's BTRS
    (1993), doi:10.1080/00949659308811496. The draws are offsets from the mean's floor.

    His quick tests save logarithms for a single draw, but not for a batch.
    """
    mean, mean_left = n * p, n * q
    deviation = jnp.sqrt(mean * q)
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 / b) * deviation
    base = jnp.floor(mean)
    fraction = mean - base

    def log_weight(offset: Array) -> Array:
        """The log probability, up to a constant."""
        difference, k = offset - fraction, base + offset
        off = deviance(difference, mean) + deviance(-difference, mean_left)
        return -off - log_factorial_ratio(k) - log_factorial_ratio(n - k)

    log_scale = jnp.log(alpha) + log_weight(jnp.floor(fraction + p))

    def propose(key: Array) -> tuple[Array, Array]:
        u, v = random.uniform(key, (2, *shape), mean.dtype) - 0.5
        tail = 0.5 - jnp.abs(u)
        offset = jnp.floor((2 * a / tail + b) * u + fraction + 0.5)
        k = base + offset
        log_height = jnp.log(0.5 - v) + log_scale - jnp.log(a / (tail * tail) + b)
        inside = (k >= 0) & (k <= n)
        return offset, inside & (log_height <= log_weight(offset))

    return propose


def multinomial(key: Array, shape: Shape, dtype: Any, n: Any, p: Any) -> Array:
    """Each category takes a binomial count of the trials that earlier categories left.

    Its probability is relative to the sum of its own and the later ones. So the last
    possible category takes all remaining trials, and the sum of all probabilities does
    not matter.
    """
    integer = canonical(np.int64)
    n = jax.lax.stop_gradient(jnp.asarray(n))
    n = jnp.where(jnp.isfinite(n), n, jnp.full_like(n, -1))  # an integer cannot be nan
    n = jnp.broadcast_to(n.astype(integer), shape)
    p = probabilities(p)
    valid = (n >= 0) & (p >= 0).all(-1) & (p > 0).any(-1) & (p < jnp.inf).all(-1)
    require(
        valid & (abs(p.sum(-1) - 1) < np.sqrt(np.finfo(p.dtype).eps)),
        "`multinomial` needs an n that is not negative, and probabilities that are "
        "not negative and sum to 1.",
    )
    p = jnp.broadcast_to(p.astype(canonical(np.float64)), (*shape, p.shape[-1]))
    p = jnp.moveaxis(jnp.where(valid[..., None], p, 1), -1, 0)
    _, later = jax.lax.scan(lambda s, x: (s + x, s), p[0] * 0, p, reverse=True)

    def take(left: Array, category: tuple[Array, ...]) -> tuple[Array, Array]:
        key, p, later = category
        all_ = jnp.maximum(p + later, np.finfo(p.dtype).tiny)
        trials = left.astype(p.dtype)
        count = binomial_counts(key, shape, trials, p / all_, later / all_)
        # The float number of trials may have been rounded.
        count = jnp.where(later > 0, jnp.minimum(count, left), left)
        return left - count, count

    keys = jax.random.split(key, len(p))
    _, counts = jax.lax.scan(take, jnp.where(valid, n, 0), (keys, p, later))
    return counts_of(jnp.moveaxis(counts, 0, -1), valid[..., None], dtype)
