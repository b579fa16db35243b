"""Owen's T function.

Let h, a >= 0, and let p and q be the normal tails beyond h and a h. For a > 1,

    T(h, a) = (p + q) / 2 - p q - T(a h, 1 / a),

where nothing cancels, because T(a h, 1 / a) < q / 2. For a <= 1 it is the integral

    T(h, a) = exp(-h^2 / 2) / (2 pi) int exp(-h^2 t^2 / 2) / (1 + t^2) dt, 0 < t < a.

Owen, Tables for computing bivariate normal probabilities, Ann. Math. Stat. 27 (1956).
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from jaxlink.numerics.special.calculus import negligible, smooth, trapezoid

__all__ = ["owens_t"]


def _owens_integral(h: Any, a: Any) -> Any:
    """T for a <= 1, by the rule of Takahasi and Mori for a finite range."""
    e = negligible(a.dtype)
    end = lax.stop_gradient(jnp.minimum(a, math.sqrt(2 * e) / jnp.maximum(h, 1)))

    def integrand(u: Any) -> Any:
        part = 1 / (1 + jnp.exp(-math.pi * jnp.sinh(u)))
        weight = math.pi * jnp.cosh(u) * part * (1 - part)
        t = end * part
        return weight * jnp.exp(-h * h * t * t / 2) / (1 + t * t)

    zero = jnp.zeros_like(a)
    total = end * trapezoid(integrand, zero - 3.1, zero + 3.1, zero + 0.1)
    return jnp.exp(-h * h / 2) / (2 * math.pi) * total


def _owens_t(h: Any, a: Any) -> Any:
    y, b = abs(h), abs(a)
    steep = b > 1
    inside = (y < jnp.inf) & (b < jnp.inf)
    y1, b1 = jnp.where(inside, y, 0), jnp.where(inside, b, 1)
    by_integral = _owens_integral(
        jnp.where(steep, b1 * y1, y1), jnp.where(steep, 1 / b1, b1)
    )
    p = special.erfc(y1 / math.sqrt(2)) / 2
    q = special.erfc(b1 * y1 / math.sqrt(2)) / 2
    value = jnp.where(steep, (p + q) / 2 - p * q - by_integral, by_integral)
    edge = special.erfc(jnp.where(jnp.isnan(b), jnp.nan, y) / math.sqrt(2)) / 4
    value = jnp.where(inside, value, jnp.where(y == jnp.inf, 0 * edge, edge))
    return jnp.sign(a) * value


def _owens_by_h(h: Any, a: Any) -> Any:
    peak = jnp.exp(-h * h / 2) / (2 * math.sqrt(2 * math.pi))
    return -peak * special.erf(a * h / math.sqrt(2))


def _owens_by_a(h: Any, a: Any) -> Any:
    c = 1 + a * a
    # c may be infinite
    exponent = jnp.where(h == 0, 0, -c * h * h / 2)
    return jnp.exp(exponent) / (2 * math.pi * c)


owens_t = smooth(_owens_t, {0: _owens_by_h, 1: _owens_by_a})
