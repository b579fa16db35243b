"""Modified Bessel functions of any real order, exponentially scaled.

Both are integrals along a contour through the saddle point t0 = asinh(v / x). The
integrand is positive there, so nothing cancels (Gil, Segura and Temme, Numerical
Methods for Special Functions, SIAM 2007, chapter 5; DLMF 10.32.9 and 10.32.12). Let
w = sqrt(x^2 + v^2), and factor out the exponent at the saddle:

    K_v(x) = 1/2 exp(v t0 - w) int exp(-w (cosh t - 1) - v (sinh t - t)) dt,
    I_v(x) = 1/pi exp(w - v t0) int exp(x cosh(u) cos(h) - v u - (w - v t0)) dh,

where t runs over all reals, h from 0 to pi, and u(h) = asinh(v / x * h / sin(h)).
For small x, we sum the power series of I, DLMF 10.25.2.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxlink.numerics.special.calculus import horner, negligible, smooth, trapezoid
from jaxlink.numerics.special.log_gamma import log_gamma_1p

__all__ = ["ive", "kve", "of_order", "power_at_zero", "series", "sine_deficit"]


def _sinh_less(t: Any) -> Any:
    """sinh(t) - t."""
    near = abs(t) < 1
    z = jnp.where(near, t, 0)
    series = [1 / math.factorial(2 * k + 3) for k in range(8)]
    return jnp.where(near, z**3 * horner(series, z * z), jnp.sinh(t) - t)


def _linear_less(t: Any) -> Any:
    """t - 1 + exp(-t)."""
    near = t < 0.5
    z = jnp.where(near, t, 0)
    series = [(-1) ** k / math.factorial(k + 2) for k in range(12)]
    return jnp.where(near, z * z * horner(series, z), t + jnp.expm1(-t))


def sine_deficit(t: Any) -> Any:
    """t - sin(t)."""
    near = abs(t) < 1
    z = jnp.where(near, t, 0)
    series = [(-1) ** k / math.factorial(2 * k + 3) for k in range(8)]
    return jnp.where(near, z**3 * horner(series, z * z), t - jnp.sin(t))


def series(v: Any, q: Any, count: int) -> Any:
    """The sum of q^k / (k! (v + 1) ... (v + k)) over k < count."""

    def body(k: Any, state: Any) -> Any:
        term, total = state
        k = k.astype(q.dtype)
        term = term * q / (k * (k + v))
        return term, total + term

    one = jnp.ones_like(q * v)
    return lax.fori_loop(1, count, body, (one, one))[1]


def power_at_zero(v: Any) -> Any:
    """(x / 2)^v / Gamma(v + 1) at x = 0: 1, 0, or a pole."""
    pole = (v < 0) & (v != jnp.floor(v))
    return jnp.where(v == 0, 1, jnp.where(pole, -_parity(v) * jnp.inf, 0))


def _parity(v: Any) -> Any:
    """1 if floor(v) is even, else -1."""
    return jnp.where(jnp.mod(jnp.floor(v), 2) == 0, 1, -1)


def _saddle(v: Any, x: Any) -> tuple[Any, Any, Any]:
    """t0, w and w - v t0 - x for v >= 0 and x > 0."""
    w = jnp.hypot(x, v)
    t0 = jnp.arcsinh(v / x)
    return t0, w, v * (v / (w + x) - t0)


def _kve(v: Any, x: Any) -> Any:
    """K_v(x) exp(x) for v >= 0 and 0 < x < inf."""
    # The order acts only through the factor exp(v (t + t0)). We differentiate that
    # factor, and not the saddle and its exponent, which would cancel for small x.
    order, v = v, lax.stop_gradient(v)
    t0, w, exponent = _saddle(v, x)
    t0 = lax.stop_gradient(t0)
    less = x * (x / (w + v))  # w - v
    # The exponent is the negative of w (cosh t - 1) + v (sinh t - t) for t > 0, and of
    # (w - v) (cosh t - 1) + v (|t| - 1 + exp(-|t|)) for t < 0. All terms are positive.
    # t^2 / (2 + t) <= t - 1 + exp(-t) bounds the range on the left.
    e = negligible(x.dtype)
    right = 2 * jnp.arcsinh(jnp.sqrt(e / (2 * w)))
    c = e / jnp.maximum(v, 1e-30)
    left = 2 * jnp.arcsinh(jnp.sqrt(e / (2 * less)))
    left = jnp.minimum(left, (c + jnp.sqrt(c * c + 8 * c)) / 2)

    def integrand(t: Any) -> Any:
        inside = (t <= right) & (t >= -left)
        t = jnp.where(inside, t, 0)
        cosh_less = 2 * jnp.sinh(t / 2) ** 2
        of_w = jnp.where(t > 0, w, less) * cosh_less
        of_v = v * jnp.where(t > 0, _sinh_less(t), _linear_less(-t))
        exponent = (order - v) * (t + t0) - of_w - of_v
        return jnp.where(inside, jnp.exp(exponent), 0)

    step = jnp.minimum(0.2, 0.5 / jnp.sqrt(w))
    total = trapezoid(integrand, -left, right, step)
    return jnp.exp(-exponent + jnp.log(total / 2))


def _ive_series(v: Any, x: Any) -> Any:
    """exp(-x) I_v(x) for v >= 0 and x^2 < 400 + 40 v."""
    total = series(v, x * x / 4, 80)
    return jnp.exp(v * jnp.log(x / 2) - x - log_gamma_1p(v)) * total


def _ive_contour(v: Any, x: Any) -> Any:
    """exp(-x) I_v(x) for v >= 0 and large x."""
    _, w, exponent = _saddle(v, x)
    s0, c0 = v / x, w / x

    def integrand(h: Any) -> Any:
        inside = h < 3.14
        h = jnp.where(inside, h, 1)
        q = sine_deficit(h) / jnp.where(h == 0, 1, jnp.sin(h))  # h / sin(h) - 1
        s = s0 * (1 + q)
        c = jnp.sqrt(1 + s * s)
        more = s0 * s0 * q * (2 + q) / (c + c0)  # cosh(u) - cosh(t0)
        value = x * (more * jnp.cos(h) - 2 * c0 * jnp.sin(h / 2) ** 2)
        value -= v * jnp.log1p((s0 * q + more) / (s0 + c0))
        return jnp.where(inside, jnp.exp(value), 0)

    e = negligible(x.dtype)
    width = 1 / jnp.sqrt(w)
    stop = jnp.minimum(math.pi, 1.2 * math.sqrt(2 * e) * width)
    step = lax.stop_gradient(jnp.minimum(0.2, width / 3))
    # The integrand is even, so the node at zero counts half.
    total = trapezoid(integrand, 0 * step, stop, step) - step / 2
    return jnp.exp(exponent + jnp.log(total / math.pi))


def _sin_pi(v: Any) -> Any:
    """sin(pi v), exactly zero at integers."""
    whole = jnp.round(v)
    sign = 1 - 2 * jnp.mod(whole, 2)
    return lax.stop_gradient(sign) * jnp.sin(math.pi * (v - lax.stop_gradient(whole)))


def _kve_everywhere(v: Any, x: Any) -> Any:
    inside = (x > 0) & (x < jnp.inf) & jnp.isfinite(v)
    order = jnp.where(inside, jnp.where(v < 0, -v, v), 0)
    value = _kve(order, jnp.where(inside, x, 1))
    edge = jnp.where(x == 0, jnp.inf, jnp.where(x == jnp.inf, 0, jnp.nan))
    return jnp.where(inside, value, jnp.where(jnp.isnan(v), jnp.nan, edge))


def _kve_by_x(v: Any, x: Any) -> Any:
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    slope = jax.jvp(_kve_everywhere, (v, x), (zero, one))[1]
    edge = jnp.where(x == 0, -jnp.inf, jnp.where(x == jnp.inf, 0, jnp.nan))
    return jnp.where((x > 0) & (x < jnp.inf), slope, edge)


def _ive_everywhere(v: Any, x: Any) -> Any:
    whole = v == jnp.floor(v)
    bad = jnp.isnan(v) | jnp.isnan(x) | ((x < 0) & ~whole)
    order, y = jnp.where(v < 0, -v, v), jnp.where(x < 0, -x, x)
    inside = ~bad & (y > 0) & (y < jnp.inf) & (order < jnp.inf)
    order, y = jnp.where(inside, order, 0), jnp.where(inside, y, 1)
    by_series = y * y < 400 + 40 * order
    value = jnp.where(
        by_series,
        _ive_series(order, jnp.where(by_series, y, 1)),
        _ive_contour(order, jnp.where(by_series, 30, y)),
    )
    # I of order -v is I + 2 / pi sin(pi v) K, DLMF 10.27.2.
    other = _kve(order, y) * jnp.exp(-2 * y)
    reflected = value + 2 / math.pi * _sin_pi(order) * other
    use = (v < 0) & ~(whole & jnp.isinf(other))
    value = jnp.where(use, reflected, value)
    value = jnp.where((jnp.mod(v, 2) == 1) & (x < 0), -value, value)
    edge = jnp.where(x == 0, power_at_zero(v), 0)
    return jnp.where(inside, value, jnp.where(bad, jnp.nan, edge))


def _ive_by_x(v: Any, x: Any) -> Any:
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    slope = jax.jvp(_ive_everywhere, (v, x), (zero, one))[1]
    # At zero, the slope of (x / 2)^v / Gamma(v + 1). For order zero, the slope of
    # exp(-|x|) from the left, as in PyTensor.
    steep = (abs(v) < 1) | ((v < 0) & (v != jnp.floor(v)))
    steep_slope = jnp.where(v < 0, _parity(v), 1) * jnp.inf
    edge = jnp.where(steep, steep_slope, jnp.where(abs(v) == 1, 0.5, 0))
    edge = jnp.where(v == 0, 1, edge)
    return jnp.where(x == 0, edge, slope)


def of_order(fn: Any) -> Any:
    """The derivative of ``fn`` with respect to the order.

    It is nan where the orders next to ``v`` have no value, or an infinite one.
    """

    def derivative(v: Any, x: Any) -> Any:
        one, zero = jnp.ones_like(x), jnp.zeros_like(x)
        none = (x < 0) | ((x == 0) & (v <= 0))
        return jnp.where(none, jnp.nan, jax.jvp(fn, (v, x), (one, zero))[1])

    return smooth(derivative)


kve = smooth(_kve_everywhere, {1: smooth(_kve_by_x)})
ive_by_x = smooth(_ive_by_x, {0: of_order(_ive_by_x)})
ive = smooth(_ive_everywhere, {0: of_order(_ive_everywhere), 1: ive_by_x})
