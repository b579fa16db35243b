"""The scaled complementary error function, and the logarithm of erfc."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from jaxlink.numerics.special.calculus import smooth

__all__ = ["erfcx", "log_erfc"]

_SLOPE = -2 / math.sqrt(math.pi)


def erfcx(x: Any) -> Any:
    """JAX's erfcx. For large x, where JAX 0.11 has a gap, the series DLMF 7.12.1."""
    far = x > 8
    # Element by element, because JAX 0.12 has no second derivative for an array.
    near = jnp.vectorize(special.erfcx)(jnp.where(far, 0, x))
    y = jnp.where(far, x, 8)
    z = 1 / (2 * y * y)
    total = jnp.ones_like(x)
    for n in range(31, 0, -2):
        total = 1 - n * z * total
    return jnp.where(far, total / (y * math.sqrt(math.pi)), near)


# With erfcx(x) = exp(x^2) erfc(x), which does not underflow,
#     log(erfc(x)) = log(erfcx(x)) - x^2.
# Its derivative is s(x) = -2 / (sqrt(pi) erfcx(x)), and s'(x) = -s(x) (s(x) + 2x).
# For very negative x erfcx overflows, and s is zero, as it should be.


def _log_erfc(x: Any) -> Any:
    right = x > 0.5
    y = jnp.where(right, x, 1)
    on_the_left = jnp.log(lax.erfc(jnp.where(right, 0, x)))
    return jnp.where(right, jnp.log(erfcx(y)) - y * y, on_the_left)


def _slope(x: Any) -> Any:
    return _SLOPE / erfcx(x)


def _curvature(x: Any) -> Any:
    return -slope(x) * (slope(x) + 2 * x)


slope: Callable[..., Any] = smooth(_slope, {0: _curvature})
log_erfc = smooth(_log_erfc, {0: slope})
