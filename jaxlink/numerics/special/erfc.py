"""The complementary error function: scaled, inverted and in logarithms."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from jaxlink.numerics.special.calculus import smooth

__all__ = ["erfcinv", "erfcx", "log_erfc"]

_SLOPE = -2 / math.sqrt(math.pi)


def erfcx(x: Any) -> Any:
    """JAX's function; far out, the series DLMF 7.12.1."""
    # jax < 0.12: its erfcx has a gap far out.
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


def _erfcinv(x: Any) -> Any:
    # Not erfinv(1 - x), which loses small x.
    return -special.ndtri(x / 2) / math.sqrt(2)


def _erfcinv_by_x(x: Any) -> Any:
    return -math.sqrt(math.pi) / 2 * jnp.exp(erfcinv(x) ** 2)


erfcinv: Callable[..., Any] = smooth(_erfcinv, {0: _erfcinv_by_x})
