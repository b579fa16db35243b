"""What samplers of counts share: fine uniform draws, inversion, conversion to integers.

A large count is drawn as its distance from a known number near its mean: the distance
has all its digits where the count as a float may have none behind the thousands.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlink.numerics.loops import while_loop
from jaxlink.numerics.random import Shape
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical

State = tuple[Array, Array, Array]

# Steps of an inversion in one turn of its loop, which XLA makes one pass over memory.
UNROLLED = 4


def fine_uniform(key: Array, shape: Shape, dtype: Any) -> Array:
    """Uniform draws in the open unit interval, as fine near 0 as 64 random bits allow.

    JAX's are multiples of the machine epsilon, 0 among them: events of a probability
    below it, as 1e-12 in 32 bits, would come with a wrong one.
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
    """Counts by inversion: the first k for which P(X > k) is not above a uniform draw.

    Arguments:
        key: for one uniform draw a count.
        shape: the shape of the draw.
        log_none: the logarithm of the probability of 0. At 0 the count is 0, too.
        ratio: of k >= 0, the probability of k + 1 over that of k.
        mean: counts above it are ever less likely. A search ends there at a probability
            that rounding errors of the sum of all hide.
    """
    # The complement has digits of its own.
    none, some = jnp.exp(log_none), -jnp.expm1(log_none)
    u = fine_uniform(key, shape, some.dtype)
    negligible = some * (np.finfo(some.dtype).eps / 4)

    def going_on(k: Array, probability: Array, above: Array) -> Array:
        return (u < above) & ((probability > negligible) | (k < mean))

    def step(state: State) -> State:
        k, probability, above = state
        for _ in range(UNROLLED):
            more = going_on(k, probability, above)
            probability = jnp.where(more, probability * ratio(k), probability)
            k = jnp.where(more, k + 1, k)
            above = jnp.where(more, above - probability, above)
        return k, probability, above

    k, none, some = (jnp.broadcast_to(x, shape) for x in (some * 0, none, some))
    return while_loop(lambda state: jnp.any(going_on(*state)), step, (k, none, some))[0]


def whole(base: Array, offset: Array) -> Array:
    """``base + offset``, two whole floats, as an integer of the widest dtype.

    What does not fit is its largest integer.
    """
    integer = canonical(np.int64)
    limit = np.iinfo(integer).max
    fits = base + offset < float(limit)
    # The largest float that is an integer of this dtype.
    largest = np.nextafter(np.asarray(limit, base.dtype), 0, dtype=base.dtype)
    held = jnp.where(fits, jnp.minimum(base, largest), 0)
    rest = jnp.where(fits, offset + (base - held), 0)
    return jnp.where(fits, held.astype(integer) + rest.astype(integer), limit)


def counts_of(count: Array, valid: Array, dtype: Any) -> Array:
    """Integers of the widest dtype in ``dtype``, -1 where they are not valid.

    A count that does not fit is the largest integer of the dtype.
    """
    if np.issubdtype(dtype, np.integer):
        largest = min(np.iinfo(dtype).max, np.iinfo(count.dtype).max)
        count = jnp.minimum(count, largest)
    return jnp.where(valid, count, -1).astype(dtype)


def require(valid: Array, message: str) -> Array:
    """``valid``, with a check that it is true everywhere."""
    check(lambda: jnp.all(valid), message)
    return valid
