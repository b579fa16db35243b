"""Bessel functions of the first kind of any real order.

For v >= 0 and x > 0, let v = m + f with m an integer and 0 <= f < 1:

* if x is small relative to v, the power series, DLMF 10.2.2;
* for x < 25, Miller's backward recurrence, normalized by Neumann's expansion of
  (x / 2)^f, DLMF 10.23.15 and 3.6(iii);
* for larger x, up to the turning point v = x, Hankel's expansion of orders f and f + 1,
  DLMF 10.17.3, and forward recurrence, which is stable there;
* for orders beyond it, the integral along the contour of steepest descent, where the
  integrand is positive (DLMF 10.9.17; Gil, Segura and Temme, Numerical Methods for
  Special Functions, SIAM 2007, chapter 5).

Downward recurrence from f and f + 1 gives negative orders.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from jaxlink.numerics.special.bessel import (
    of_order,
    power_at_zero,
    series,
    sine_deficit,
)
from jaxlink.numerics.special.calculus import decaying_integral, negligible, smooth
from jaxlink.numerics.special.log_gamma import log_gamma_1p

__all__ = ["j0", "j1", "jv"]

# From FAR on, Hankel's expansion reaches full precision. Up to FAR, Miller's algorithm
# does, with this many orders.
FAR, ORDERS = 25, 110
# The most steps a recurrence may take. The longest in a batch decides for all elements.
LONGEST = 10**8


def _series(v: Any, x: Any) -> Any:
    """J for x^2 <= 4 (v + 1), or for v > 40 and x < 25."""
    total = series(v, -(x * x / 4), 40)
    return total * jnp.exp(v * jnp.log(x / 2) - log_gamma_1p(v))


def _miller(m: Any, f: Any, x: Any) -> Any:
    """J for m <= 40 and 1 < x < 25, by orders f + n with n from `ORDERS` down to 0.

    With h_1 = 1 and h_k = h_{k-1} (f + k - 1) / k, Neumann's expansion is
    (x / 2)^f / Gamma(f + 1) = J_f + sum_k h_k (f + 2 k) J_{f + 2 k}.
    """
    half = ORDERS // 2
    h = jnp.exp(special.gammaln(f + half) - log_gamma_1p(f) - math.lgamma(half + 1))

    def body(i: Any, state: Any) -> Any:
        this, above, wanted, total, h = state
        n = (ORDERS - i).astype(x.dtype)
        wanted = jnp.where(n == m, this, wanted)
        k = n / 2
        even = (jnp.mod(n, 2) == 0) & (n > 0)
        total = total + jnp.where(even, h * (f + n) * this, 0)
        h = jnp.where(even & (n > 2), h * k / (f + k - 1), h)
        below = 2 * (f + n) / x * this - above
        # Scale down large numbers, so that they do not overflow.
        scale = jnp.where(abs(below) > 1e12, 1e-12, 1.0).astype(x.dtype)
        state = below, this, wanted, total
        return *(z * scale for z in state), h

    zero = jnp.zeros_like(x)
    start = (zero + 1e-20, zero, zero, zero, h)
    this, _, wanted, total, _ = lax.fori_loop(0, ORDERS, body, start)
    wanted = jnp.where(m == 0, this, wanted)
    return wanted / (total + this) * jnp.exp(f * jnp.log(x / 2) - log_gamma_1p(f))


def _hankel(f: Any, x: Any) -> Any:
    """J for orders below 2 and x >= `FAR`."""

    def body(k: Any, state: Any) -> Any:
        term, p, q = state
        n = k.astype(x.dtype)
        term = term * (2 * f + 2 * n - 1) * (2 * f - 2 * n + 1) / (8 * n * x)
        sign = jnp.where(k % 4 < 2, 1, -1).astype(x.dtype)
        even = k % 2 == 0
        return (
            term,
            p + jnp.where(even, sign * term, 0),
            q + jnp.where(even, 0, sign * term),
        )

    one = jnp.ones_like(f * x)
    _, p, q = lax.fori_loop(1, 25, body, (one, one, 0 * one))
    phase = (f / 2 + 0.25) * math.pi
    cos_x, sin_x, cos_p, sin_p = jnp.cos(x), jnp.sin(x), jnp.cos(phase), jnp.sin(phase)
    cos, sin = cos_x * cos_p + sin_x * sin_p, sin_x * cos_p - cos_x * sin_p
    return jnp.sqrt(2 / (math.pi * x)) * (cos * p - sin * q)


def _recur(m: Any, first: Any, second: Any, factor: Callable[[Any], Any]) -> Any:
    """Element m of the sequence y_{n+1} = factor(n) y_n - y_{n-1}, or nan beyond
    `LONGEST`."""
    too_long = m > LONGEST
    m = jnp.where(too_long, 0, m)
    most = jnp.max(m, initial=0).astype("int32")

    def body(i: Any, state: Any) -> Any:
        before, this = state
        n = i.astype(m.dtype)
        after = factor(n) * this - before
        go = n <= m
        return jnp.where(go, this, before), jnp.where(go, after, this)

    start = jnp.broadcast_arrays(first, second)
    found = lax.fori_loop(1, most + 1, body, tuple(start))[0]
    return jnp.where(too_long, jnp.nan, found)


def _contour(v: Any, x: Any) -> Any:
    """J for v > x >= `FAR`, like `bessel._ive_contour` with cosh and sinh swapped.

    The integrand is exp(x sinh(u) cos(h) - v u), with cosh(u) = v / x * h / sin(h).
    """
    c0 = v / x
    s0 = jnp.sqrt((v - x) * (v + x)) / x
    log_0 = jnp.log1p((v - x) / x + s0)

    def exponent(h: Any) -> Any:
        outside = h > 3.1
        h = jnp.where(outside, 3.1, h)
        q = sine_deficit(h) / jnp.where(h == 0, 1, jnp.sin(h))
        s = jnp.sqrt(s0 * s0 + c0 * c0 * q * (2 + q))
        more = c0 * c0 * q * (2 + q) / (s + s0)
        value = x * (more * jnp.cos(h) - 2 * s0 * jnp.sin(h / 2) ** 2)
        value = value - v * jnp.log1p((c0 * q + more) / (c0 + s0))
        return jnp.where(outside, -jnp.inf, value)

    # The integrand is negligible beyond the width of the saddle, and beyond that of the
    # turning point (Watson, A Treatise on the Theory of Bessel Functions, 8.31).
    e = negligible(x.dtype)
    wide = jnp.minimum(
        1.2 * jnp.sqrt(2 * e / (x * s0)),
        1.2 * (9 * math.sqrt(3) * e / (4 * v)) ** (1 / 3),
    )
    largest = jnp.minimum(wide, math.pi)
    integral = decaying_integral(exponent, largest / e, largest)
    return jnp.exp(x * s0 - v * log_0) * integral / math.pi


def _near(f: Any, x: Any) -> Any:
    """J for orders below 3 and 0 < x < `FAR`."""
    m = jnp.floor(f)
    small = x * x < 4 * (f + 1)
    return jnp.where(
        small,
        _series(f, jnp.where(small, x, 1)),
        _miller(m, f - m, jnp.where(small, 2, x)),
    )


def _low(f: Any, x: Any) -> Any:
    """J for orders below 3 and 0 < x < inf."""
    near = x < FAR
    return jnp.where(
        near,
        _near(f, jnp.where(near, x, 1)),
        _hankel(f, jnp.where(near, FAR, x)),
    )


def _positive(v: Any, x: Any) -> Any:
    """J for 0 <= v < inf and 0 < x < inf."""
    m = lax.stop_gradient(jnp.floor(v))
    f = v - m
    near = x < FAR
    small = (x * x < 4 * (v + 1)) | (near & (v > 40))
    miller = near & ~small
    contour = ~near & ~small & (v > x + jnp.cbrt(x))
    forward = ~(small | miller | contour)
    by_series = _series(v, jnp.where(small, x, 1))
    by_miller = _miller(m, f, jnp.where(miller, x, 2))
    by_contour = _contour(jnp.where(contour, v, 100), jnp.where(contour, x, 50))
    y = jnp.where(forward, x, FAR)
    by_recurrence = _recur(
        jnp.where(forward, m, 0),
        _hankel(f, y),
        _hankel(f + 1, y),
        lambda n: 2 * (f + n) / y,
    )
    value = jnp.where(small, by_series, by_recurrence)
    return jnp.where(miller, by_miller, jnp.where(contour, by_contour, value))


def _jv(v: Any, x: Any) -> Any:
    whole = v == jnp.floor(v)
    bad = jnp.isnan(v) | jnp.isnan(x) | ((x < 0) & ~whole)
    inside = ~bad & (x != 0) & (abs(x) < jnp.inf) & (abs(v) < jnp.inf)
    v1 = jnp.where(inside, v, 0)
    y = jnp.where(inside, jnp.where(x < 0, -x, x), 1)
    odd = jnp.mod(v1, 2) == 1
    value = _positive(jnp.where(v1 < 0, -v1, v1), y)
    # At an integer order, the recurrence has the right derivative, which contains Y.
    # But its rounding errors grow like Y and swamp the value, so only the derivative is
    # used.
    m = lax.stop_gradient(jnp.floor(v1))
    f = v1 - m
    steps = jnp.where(v1 < 0, -m, 0)
    below = _recur(steps + 1, _low(f + 1, y), _low(f, y), lambda n: 2 * (f - n + 1) / y)
    whole_below = jnp.where(odd, -value, value)
    usable = jnp.where(jnp.isfinite(below), below, 0)
    whole_below = lax.stop_gradient(whole_below - usable) + usable
    value = jnp.where(v1 < 0, jnp.where(whole, whole_below, below), value)
    value = jnp.where(odd & (x < 0), -value, value)
    # At infinity, J is 0.
    edge = jnp.where(bad, jnp.nan, jnp.where(x == 0, power_at_zero(v), 0))
    return jnp.where(inside, value, edge)


# J' = (J_{v-1} - J_{v+1}) / 2: DLMF 10.6.1.
jv: Callable[..., Any] = smooth(
    _jv, {0: of_order(_jv), 1: lambda v, x: (jv(v - 1, x) - jv(v + 1, x)) / 2}
)


def _of_whole_order(n: int) -> Callable[[Any], Any]:
    """J_n for n = 0, 1, 2, which needs no recurrence over orders."""

    def value(x: Any) -> Any:
        inside = (x != 0) & (abs(x) < jnp.inf)
        y = jnp.where(inside, jnp.where(x < 0, -x, x), 1)
        j = _low(jnp.full_like(y, n), y)
        j = jnp.where(inside, j, jnp.where((x == 0) & (n == 0), 1, 0))
        j = jnp.where((x < 0) & (n == 1), -j, j)
        return jnp.where(jnp.isnan(x), jnp.nan, j)

    return value


j0 = smooth(_of_whole_order(0), {0: lambda x: -j1(x)})
j1: Callable[..., Any] = smooth(_of_whole_order(1), {0: lambda x: (j0(x) - j2(x)) / 2})
j2: Callable[..., Any] = smooth(
    _of_whole_order(2), {0: lambda x: (j1(x) - jv(jnp.full_like(x, 3), x)) / 2}
)
