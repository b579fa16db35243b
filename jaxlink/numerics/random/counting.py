"""Tools for samplers of counts: fine uniform draws, inversion, conversion to integers.

A large count is drawn as its distance from a known number near its mean. The distance
has all its digits, even if the count is so large that a float would round it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlink.numerics.loops import while_loop
from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import Propose, rejection
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical

State = tuple[Array, Array, Array]

# Below this mean, counts are drawn by inversion.
RARE = 10
# Steps of an inversion per iteration of its loop. XLA fuses them into one pass over
# memory.
UNROLLED = 4


def fine_uniform(key: Array, shape: Shape, dtype: Any) -> Array:
    """Uniform draws in the open unit interval, as fine near 0 as 64 random bits allow.

    JAX's uniform draws are multiples of the machine epsilon, including 0. Events that
    are less likely than that, as 1e-12 in 32 bits, would get a wrong probability.
    """
    below_one = np.nextafter(np.ones((), dtype), 0, dtype=dtype)
    if np.finfo(dtype).bits == 64:
        bits = jax.random.bits(key, shape, np.uint64)
        u = bits.astype(dtype) * 2.0**-64 + 2.0**-65
    else:
        high, low = jax.random.bits(key, (2, *shape), np.uint32).astype(dtype)
        u = high * 2.0**-32 + (low + 0.5) * 2.0**-64
    return jnp.minimum(u, below_one)


def fine_exponential(key: Array, shape: Shape, dtype: Any) -> Array:
    """Exponential draws, as fine near 0 as `fine_uniform`'s."""
    return -jnp.log1p(-fine_uniform(key, shape, dtype))


def invert(
    key: Array,
    shape: Shape,
    log_none: Array,
    ratio: Callable[[Array], Array],
    mean: Array,
) -> Array:
    """Counts by inversion: the smallest k with P(X > k) at most a uniform draw.

    Arguments:
        key: gives one uniform draw per count.
        shape: the shape of the draw.
        log_none: the log probability of 0. If it is 0, the count is 0.
        ratio: maps k >= 0 to P(k + 1) / P(k).
        mean: probabilities decrease above it. Above it, a search ends when the next
            probability is lost in the rounding error of their sum.
    """
    # Not 1 - none, which would lose digits.
    none, some = jnp.exp(log_none), -jnp.expm1(log_none)
    u = fine_uniform(key, shape, some.dtype)
    negligible = some * (np.finfo(some.dtype).eps / 4)

    def unfinished(k: Array, probability: Array, above: Array) -> Array:
        return (u < above) & ((probability > negligible) | (k < mean))

    def step(state: State) -> State:
        k, probability, above = state
        for _ in range(UNROLLED):
            active = unfinished(k, probability, above)
            probability = jnp.where(active, probability * ratio(k), probability)
            k = jnp.where(active, k + 1, k)
            above = jnp.where(active, above - probability, above)
        return k, probability, above

    k, none, some = (jnp.broadcast_to(x, shape) for x in (some * 0, none, some))
    state = (k, none, some)
    return while_loop(lambda state: jnp.any(unfinished(*state)), step, state)[0]


def few_or_many(
    key: Array,
    shape: Shape,
    mean: Array,
    log_none: Array,
    ratio: Callable[[Array], Array],
    propose: Propose,
    most: Any = np.inf,
) -> Array:
    """Counts in the widest integer dtype: by inversion where their mean is below
    `RARE`, else by rejection.

    Arguments:
        key: makes the draws.
        shape: the shape of the draw.
        mean: the mean of the counts.
        log_none: see `invert`.
        ratio: see `invert`.
        propose: proposes offsets from the mean's floor, as for `rejection`.
        most: the largest possible count.
    """
    rare = mean < RARE
    few_key, many_key = jax.random.split(key)
    few = invert(few_key, shape, jnp.where(rare, log_none, 0), ratio, mean)
    start = jnp.where(rare, jnp.nan, jnp.zeros(shape, mean.dtype))
    offset = rejection(many_key, propose, start)
    base = jnp.where(rare, 0, jnp.floor(mean))
    return whole(base, jnp.where(rare, jnp.minimum(few, most), offset))


def whole(base: Array, offset: Array) -> Array:
    """``base + offset``, two floats with integer values, in the widest integer dtype.

    A sum that does not fit becomes the largest integer.
    """
    integer = canonical(np.int64)
    limit = np.iinfo(integer).max
    fits = base + offset < float(limit)
    # The largest float that fits this dtype.
    largest = np.nextafter(np.asarray(limit, base.dtype), 0, dtype=base.dtype)
    held = jnp.where(fits, jnp.minimum(base, largest), 0)
    rest = jnp.where(fits, offset + (base - held), 0)
    return jnp.where(fits, held.astype(integer) + rest.astype(integer), limit)


def counts_of(count: Array, valid: Array, dtype: Any) -> Array:
    """``count`` converted to ``dtype``, or -1 where it is not valid.

    A count that does not fit becomes the largest integer of the dtype.
    """
    if np.issubdtype(dtype, np.integer):
        largest = min(np.iinfo(dtype).max, np.iinfo(count.dtype).max)
        count = jnp.minimum(count, largest)
    return jnp.where(valid, count, -1).astype(dtype)


def require(valid: Array, message: str) -> Array:
    """Check that ``valid`` is true everywhere, and return it."""
    check(lambda: jnp.all(valid), message)
    return valid
