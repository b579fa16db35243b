"""The regularized incomplete beta function and its inverse.

Up to the mean x = a / (a + b), where the integrand decreases, substitute t = x exp(-s)
in DLMF 8.17.1. (Beyond the mean, use 1 - I_{1-x}(b, a).) With r = x / (1 - x),

    I_x(a, b) = x^a (1 - x)^b / B(a, b) M,
    M = (1 + r) int exp(-a s + (b - 1) log1p(-r expm1(-s))) ds  over s > 0.

In y = logit(x), d log I / dy = 1 / M. M increases with x, so log I is concave in y.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlink.numerics.special.calculus import (
    decaying_integral,
    negligible,
    newton,
    smooth,
)
from jaxlink.numerics.special.log_gamma import (
    log_gamma_1p,
    minus_log1p,
    stirling_remainder,
)

__all__ = ["betainc", "betaincinv"]

# JAX's derivative, x (1 - x), loses the digits of 1 - x.
expit: Callable[..., Any] = smooth(jax.nn.sigmoid, {0: lambda y: expit(y) * expit(-y)})


def _mirrored(upper: Any, a: Any, b: Any, y: Any) -> tuple[Any, Any, Any]:
    """The arguments of the other tail where ``upper``."""
    return jnp.where(upper, b, a), jnp.where(upper, a, b), jnp.where(upper, -y, y)


def _log_peak(a: Any, b: Any, y: Any) -> Any:
    """log(x^a (1 - x)^b / B(a, b)), x = expit(y), by Loader's deviances."""
    x, n = expit(y), a + b
    log_x, log_1mx = -jax.nn.softplus(-y), -jax.nn.softplus(y)
    u = (b * x - a * expit(-y)) / a
    of_a = a * minus_log1p(u, log_x + jnp.log1p(b / a))
    of_b = b * minus_log1p(-u * a / b, log_1mx + jnp.log1p(a / b))
    remainder = stirling_remainder(n) - stirling_remainder(a) - stirling_remainder(b)
    # a b / n without overflow or underflow
    harmonic = jnp.minimum(a, b) / (1 + jnp.minimum(a, b) / jnp.maximum(a, b))
    return remainder - of_a - of_b + jnp.log(harmonic / (2 * math.pi)) / 2


def _integral(a: Any, b: Any, y: Any) -> Any:
    """M."""
    e, r = negligible(y.dtype), jnp.exp(y)
    steep = jnp.maximum(b - 1, 0) * r
    bounds = [(e + jnp.maximum(b - 1, 0) * jnp.log1p(r)) / a]
    bounds += [jnp.where(steep < a, e / (a - steep), jnp.inf)]
    # For b > 1 and t = r (1 - exp(-s)), the exponent is
    # a log(1 - t / r) + (b - 1) log1p(t). Up to the mean it is at most
    # -a t^2 / (2 r^2) or -(b - 1) t^2 / (2 + 2 t).
    c = 2 * e / jnp.maximum(b - 1, 1e-30)
    part = jnp.minimum(jnp.sqrt(2 * e / a), (c + jnp.sqrt(c * c + 4 * c)) / (2 * r))
    curved = (b > 1) & (steep <= a) & (part < 1)
    bounds += [jnp.where(curved, -jnp.log1p(-jnp.where(curved, part, 0)), jnp.inf)]
    largest = jnp.minimum(jnp.minimum(*bounds[:2]), bounds[2])
    smallest = jnp.minimum(largest / e, jnp.minimum(1, 1 / r))

    def exponent(s: Any) -> Any:
        return -a * s + (b - 1) * jnp.log1p(-r * jnp.expm1(-s))

    return (1 + r) * decaying_integral(exponent, smallest, largest)


def _log_tail(a: Any, b: Any, y: Any) -> Any:
    return _log_peak(a, b, y) + jnp.log(_integral(a, b, y))


def _betainc(a: Any, b: Any, x: Any) -> Any:
    bad = jnp.isnan(a + b + x) | (a < 0) | (b < 0) | (x < 0) | (x > 1)
    bad |= ((a == 0) & (b == 0)) | ((a == jnp.inf) & (b == jnp.inf))
    none = (x == 0) | ((x < 1) & ((b == 0) | (a == jnp.inf)))
    all_ = (x == 1) | ((x > 0) & ((a == 0) | (b == jnp.inf)))
    # The derivative at order zero is the same as next to zero.
    at_order_zero = ~bad & (x > 0) & (x < 1) & ((a == 0) | (b == 0))
    at_order_zero &= (a < jnp.inf) & (b < jnp.inf)
    a, b = (jnp.where(at_order_zero & (z == 0), z + 1e-30, z) for z in (a, b))
    inside = ~(bad | none | all_) | at_order_zero
    a, b, x = (jnp.where(inside, z, 0.5) for z in (a, b, x))
    # For b < 1 the integrand decreases for all x, and beyond the mean the other tail
    # may be the larger one. It is about w^b a / (a + b).
    w = jnp.minimum((1 - x) * (1 + a / b), 1)
    mean = a / (a + b)
    upper = (x > mean) & ((b >= 1) | (b * jnp.log(w) + jnp.log(mean) < -0.7))
    y = jnp.log(x) - jnp.log1p(-x)
    tail = jnp.exp(_log_tail(*_mirrored(upper, a, b, y)))
    value = jnp.where(upper, 1 - tail, tail)
    only_slope = value - lax.stop_gradient(value)
    edge = jnp.where(none, 0, 1) + jnp.where(at_order_zero, only_slope, 0)
    value = jnp.where(none | all_, edge, value)
    return jnp.where(bad, jnp.nan, value)


def _density(a: Any, b: Any, x: Any) -> Any:
    """The derivative with respect to x."""
    inside = (x > 0) & (x < 1) & (a > 0) & (b > 0) & (a < jnp.inf) & (b < jnp.inf)
    z = jnp.where(inside, x, 0.5)
    y = jnp.log(z) - jnp.log1p(-z)
    log_peak = _log_peak(jnp.where(inside, a, 1), jnp.where(inside, b, 1), y)
    near, far = jnp.where(x == 0, a, b), jnp.where(x == 0, b, a)
    edge = jnp.where(near < 1, jnp.inf, jnp.where(near == 1, far, 0))
    outside = jnp.where((x == 0) | (x == 1), edge, jnp.nan)
    # If one of the orders is zero or infinite, the function is 0 or 1.
    small, large = jnp.minimum(a, b), jnp.maximum(a, b)
    flat = (small >= 0) & (large > 0) & (small < jnp.inf) & (x > 0) & (x < 1)
    outside = jnp.where(flat, 0, outside)
    return jnp.where(inside, jnp.exp(log_peak) / (z * (1 - z)), outside)


density = smooth(_density)
betainc = smooth(_betainc, {2: density})


# The inverse: Newton's method for log I in y converges from below, because log I is
# concave. I <= r^a / (a B(a, b)), the integral of r^(a - 1) (1 + r)^(-a - b), gives a
# start. We solve for the logarithm of a small tail: p or 1 - p.

# Below this, the tail is p.
FEW = 0.05


def _root(a: Any, b: Any, log_p: Any) -> Any:
    """The y at which log I is ``log_p``."""

    def step(y: Any) -> Any:
        integral = _integral(a, b, y)
        return (log_p - _log_peak(a, b, y) - jnp.log(integral)) * integral

    log_a_beta = log_gamma_1p(a) + log_gamma_1p(b) - log_gamma_1p(a + b)
    log_a_beta += jnp.log1p(a / b)
    return newton(step, (log_p + log_a_beta) / a, 32 * float(np.finfo(a.dtype).eps))


def _logit(a: Any, b: Any, p: Any) -> Any:
    """The y at which I is p, for finite a, b > 0 and 0 < p < 1."""
    upper = p > jnp.maximum(_betainc(a, b, a / (a + b)), FEW)
    y = _root(
        jnp.where(upper, b, a),
        jnp.where(upper, a, b),
        jnp.where(upper, jnp.log1p(-p), jnp.log(p)),
    )
    return jnp.where(upper, -y, y)


def _logit_by(i: int) -> Callable[..., Any]:
    def derivative(a: Any, b: Any, p: Any) -> Any:
        y = logit(a, b, p)
        upper = (y > jnp.log(a / b)) & (p > FEW)
        tail = _mirrored(upper, a, b, y)
        if i == 2:
            return _integral(*tail) / jnp.where(upper, 1 - p, p)
        # The logarithm of the tail stays fixed, and its slope in y is 1 / M.
        by_first = upper ^ (i == 0)
        along = by_first.astype(a.dtype), (~by_first).astype(a.dtype), jnp.zeros_like(a)
        m, of_m = jax.jvp(_integral, tail, along)
        of_peak = jax.jvp(_log_peak, tail, along)[1]
        return jnp.where(upper, 1, -1) * (m * of_peak + of_m)

    return smooth(derivative)


LOGIT_BY = {i: _logit_by(i) for i in range(3)}
logit = smooth(_logit, LOGIT_BY)


def _with_edges(fn: Callable[..., Any], a: Any, b: Any, p: Any, edge: Any) -> Any:
    """``fn``, but ``edge`` where the inverse is 0 or 1, and nan where there is none."""
    good = (a > 0) & (b > 0) & (p >= 0) & (p <= 1)
    good &= (a < jnp.inf) | (b < jnp.inf) | (p == 0) | (p == 1)
    inside = good & (a < jnp.inf) & (b < jnp.inf) & (p > 0) & (p < 1)
    value = fn(*(jnp.where(inside, z, 0.5) for z in (a, b, p)))
    return jnp.where(inside, value, jnp.where(good, edge, jnp.nan))


def _betaincinv(a: Any, b: Any, p: Any) -> Any:
    edge = jnp.where(p == 0, 0, jnp.where((p == 1) | (a == jnp.inf), 1, 0))
    return _with_edges(lambda *args: expit(logit(*args)), a, b, p, edge)


def _betaincinv_by(i: int) -> Callable[..., Any]:
    def slope(*args: Any) -> Any:
        y = logit(*args)
        return expit(y) * expit(-y) * LOGIT_BY[i](*args)

    def derivative(a: Any, b: Any, p: Any) -> Any:
        at_end = (i == 2) & (a < jnp.inf) & (b < jnp.inf)
        edge = jnp.where(at_end, 1 / density(a, b, p), 0)
        return _with_edges(slope, a, b, p, edge)

    return smooth(derivative)


betaincinv: Callable[..., Any] = smooth(
    _betaincinv, {i: _betaincinv_by(i) for i in range(3)}
)
