"""The regularized incomplete gamma functions and their inverses.

With P = 1 - Q, D(u) = u - log(1 + u) and the gamma density's peak factor

    F(k, x) = x^k exp(-x) / Gamma(k + 1) = exp(-k D(x / k - 1) - r(k)) / sqrt(2 pi k),

and the remainder r of Stirling's series, both tails are k F times an integral over
s > 0:

    P = k F I,  I = int exp(-k s - x expm1(-s)) ds       (t = x exp(-s) in DLMF 8.2.1)
    Q = k F I,  I = int exp((k - 1) log1p(s) - x s) ds   (t = x (1 + s) in DLMF 8.2.2)

Roughly where its tail is the smaller one, each integrand starts at one and decreases.
So the integral is well conditioned however large k and x are. And I is the reciprocal
of the tail's logarithmic derivative: d log P / d log x = 1 / I = -d log Q / d log x.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

__all__ = ["gammainc", "gammaincc", "gammainccinv", "gammaincinv"]


def log_peak(k: Any, x: Any, log_x: Any) -> Any:
    """log F(k, x)."""
    large = k >= 10
    big, small = jnp.where(large, k, 10), jnp.where(large, 1, k)
    power = jnp.where(small == 0, 0, small * log_x)  # 0 log 0 at order zero
    direct = power - x - log_gamma_1p(small)
    d = minus_log1p((x - big) / big, log_x - jnp.log(big))
    scaled = -big * d - stirling_remainder(big) - jnp.log(2 * math.pi * big) / 2
    return jnp.where(large, scaled, direct)


def lower_integral(k: Any, x: Any) -> Any:
    """The integral I for P. s^2 / (2 + s) <= s + expm1(-s) bounds its range."""
    e = negligible(x.dtype)
    excess, least = jnp.maximum(x - k, 0), jnp.minimum(k, x)
    b = e + 2 * excess
    by_curvature = (b + jnp.sqrt(b * b + 8 * e * least)) / (2 * least)
    largest = jnp.minimum((e + x) / k, by_curvature)
    largest = jnp.where(k > x, jnp.minimum(largest, e / (k - x)), largest)
    smallest = jnp.minimum(largest / e, 1)
    return decaying_integral(lambda s: -k * s - x * jnp.expm1(-s), smallest, largest)


def upper_integral(k: Any, x: Any) -> Any:
    """The integral I for Q. s^2 / (2 + 2 s) <= s - log1p(s) bounds its range."""
    e = negligible(x.dtype)
    c = 2 * e / jnp.maximum(k - 1, 1e-30)
    largest = jnp.minimum(
        e / jnp.where(k > 1, jnp.maximum(x - k + 1, 1), x),
        (c + jnp.sqrt(c * c + 4 * c)) / 2,
    )
    largest = jnp.where(k > 1, largest, e / x)
    smallest = jnp.minimum(largest / e, 1)
    return decaying_integral(
        lambda s: (k - 1) * jnp.log1p(s) - x * s, smallest, largest
    )


def _small(k: Any, x: Any, log_x: Any) -> tuple[Any, Any]:
    """s and c such that P = exp(s) (1 + c), for x <= 1 and k <= 1: DLMF 8.7.1.

    Both are proportional to k near zero, so that Q = -expm1(s) - exp(s) c is exact.
    """
    term, c = jnp.ones_like(x), jnp.zeros_like(x)
    for n in range(1, 20):
        term = term * -x / n
        c = c + k / (k + n) * term
    return k * log_x - log_gamma_1p(k), c


def _tails(k: Any, x: Any) -> tuple[Any, Any]:
    """P and Q."""
    bad = (k < 0) | (x < 0) | ((k == 0) & (x == 0)) | ((k == jnp.inf) & (x == jnp.inf))
    bad |= jnp.isnan(k) | jnp.isnan(x)
    none, all_ = (x == 0) | (k == jnp.inf), x == jnp.inf
    inside = ~(bad | none | all_)
    small = inside & (k < 1) & (x < 1)
    lower = inside & ~small & (x <= k)
    upper = inside & ~small & ~lower

    x_small = jnp.where(small, x, 0.5)
    s, c = _small(jnp.where(small, k, 1), x_small, jnp.log(x_small))
    p_small, q_small = jnp.exp(s) * (1 + c), -jnp.expm1(s) - jnp.exp(s) * c
    k1, x1 = jnp.where(small | ~inside, 1, k), jnp.where(small | ~inside, 1, x)
    integral = jnp.where(
        lower,
        lower_integral(jnp.where(lower, k1, 1), jnp.where(lower, x1, 1)),
        upper_integral(jnp.where(upper, k1, 1), jnp.where(upper, x1, 1)),
    )
    tail = k1 * jnp.exp(log_peak(k1, x1, jnp.log(x1))) * integral
    p = jnp.where(small, p_small, jnp.where(lower, tail, 1 - tail))
    q = jnp.where(small, q_small, jnp.where(lower, 1 - tail, tail))
    p = jnp.where(none, 0, jnp.where(all_, 1, p))
    q = jnp.where(none, 1, jnp.where(all_, 0, q))
    return jnp.where(bad, jnp.nan, p), jnp.where(bad, jnp.nan, q)


def _density(k: Any, x: Any) -> Any:
    """dP / dx = x^(k - 1) exp(-x) / Gamma(k)."""
    inside = (x > 0) & (x < jnp.inf) & (k >= 0) & (k < jnp.inf)
    y = jnp.where(inside, x, 1)
    value = k / y * jnp.exp(log_peak(jnp.where(inside, k, 1), y, jnp.log(y)))
    at_zero = jnp.where(k < 1, jnp.inf, jnp.where(k == 1, 1.0, 0.0))
    flat = (x == jnp.inf) ^ ((k == jnp.inf) & (x >= 0))
    outside = jnp.where(flat, 0, jnp.where(x == 0, at_zero, jnp.nan))
    outside = jnp.where((k == 0) & (x == 0), jnp.nan, outside)
    return jnp.where(inside, value, jnp.where(k >= 0, outside, jnp.nan))


density = smooth(_density)
gammainc = smooth(lambda k, x: _tails(k, x)[0], {1: density})
gammaincc = smooth(lambda k, x: _tails(k, x)[1], {1: lambda k, x: -density(k, x)})


# The inverses. In y = log x, log P and log Q are concave (1 / I above is monotonic). So
# Newton's method converges from one side of the root and needs no bracket. For P it
# starts from below, at P <= x^k / Gamma(k + 1). For Q it starts from above, at the
# Chernoff bound -log Q >= x - k - k log(x / k) >= (x - k)^2 / (2 x).


def _slope(k: Any, y: Any, upper: Any) -> Any:
    """1 / I: the derivative of a tail's logarithm, up to its sign."""
    x, is_upper = jnp.exp(y), upper > 0
    integral = jnp.where(
        is_upper,
        upper_integral(jnp.where(is_upper, k, 1), jnp.where(is_upper, x, 1)),
        lower_integral(jnp.where(is_upper, 1, k), jnp.where(is_upper, 1, x)),
    )
    return 1 / integral


def _log_tail(k: Any, y: Any, upper: Any) -> tuple[Any, Any]:
    """The tail's logarithm and its slope."""
    x, slope = jnp.exp(y), _slope(k, y, upper)
    small = (upper == 0) & (k < 1) & (x < 1)
    s, c = _small(jnp.where(small, k, 1), jnp.where(small, x, 0), y)
    by_integral = log_peak(k, x, y) + jnp.log(k / slope)
    return jnp.where(small, s + jnp.log1p(c), by_integral), slope


def _root(k: Any, log_p: Any, upper: Any) -> Any:
    """The y at which the logarithm of the tail is ``log_p``."""

    def step(y: Any) -> Any:
        log_tail, slope = _log_tail(k, y, upper)
        return jnp.where(upper > 0, -1, 1) * (log_p - log_tail) / slope

    from_below = (log_p + log_gamma_1p(k)) / k
    from_above = jnp.log(k - log_p + jnp.sqrt(log_p * (log_p - 2 * k)))
    start = jnp.where(upper > 0, from_above, from_below)
    return newton(step, start, 32 * float(np.finfo(k.dtype).eps))


def _by_order(k: Any, y: Any, upper: Any) -> Any:
    # The tail's logarithm stays fixed: dy = -d(log tail)/dk / (d(log tail)/dy).
    one = jnp.ones_like(k)
    (_, slope), (by_k, _) = jax.jvp(lambda k: _log_tail(k, y, upper), (k,), (one,))
    return jnp.where(upper > 0, 1, -1) * by_k / slope


def _root_by_order(k: Any, log_p: Any, upper: Any) -> Any:
    return _by_order(k, root(k, log_p, upper), upper)


def _root_by_target(k: Any, log_p: Any, upper: Any) -> Any:
    slope = _slope(k, root(k, log_p, upper), upper)
    return jnp.where(upper > 0, -1, 1) / slope


root = smooth(_root, {0: smooth(_root_by_order), 1: smooth(_root_by_target)})


def solve(k: Any, p: Any, q: Any) -> tuple[Any, Any, Any, Any]:
    """Solve P = p and Q = q for y = log x.

    Returns:
        Whether there is a root, the order (0.5 where there is none), the root, and 1
        where it was solved from Q or 0 where it was solved from P.
    """
    inside = (k > 0) & (k < jnp.inf) & (p > 0) & (q > 0)
    k1, p1, q1 = (jnp.where(inside, z, 0.5) for z in (k, p, q))
    log_p = jnp.where(p1 < q1, jnp.log(p1), jnp.log1p(-q1))
    log_q = jnp.where(p1 < q1, jnp.log1p(-p1), jnp.log(q1))
    # If the start for P is small, it is nearly the root, however small Q is.
    is_upper = (q1 < 0.1) & (log_p + log_gamma_1p(k1) > -2 * k1)
    upper = is_upper.astype(k.dtype)
    return inside, k1, root(k1, jnp.where(is_upper, log_q, log_p), upper), upper


def _inverse(k: Any, p: Any, q: Any) -> Any:
    inside, _, y, _ = solve(k, p, q)
    edge = jnp.where(p == 0, 0, jnp.where(q == 0, jnp.inf, jnp.nan))
    return jnp.where(inside, jnp.exp(y), jnp.where(k >= 0, edge, jnp.nan))


def _inverse_by_order(k: Any, p: Any, q: Any) -> Any:
    inside, k1, y, upper = solve(k, p, q)
    edge = jnp.where((k >= 0) & ((p == 0) | (q == 0)), 0, jnp.nan)
    return jnp.where(inside, jnp.exp(y) * _by_order(k1, y, upper), edge)


def _inverse_by_p(k: Any, p: Any, q: Any) -> Any:
    """Not 1 / density where there is a root, because that overflows if x underflows."""
    inside, k1, y, upper = solve(k, p, q)
    tail = jnp.where(inside, jnp.where(upper > 0, q, p), 1)
    slope = jnp.exp(y) / (_slope(k1, y, upper) * tail)
    x = jnp.where(p == 0, 0, jnp.where(q == 0, jnp.inf, jnp.nan)).astype(k.dtype)
    return jnp.where(inside, slope, 1 / density(k, x))


def _inverse_by_q(k: Any, p: Any, q: Any) -> Any:
    return -_inverse_by_p(k, p, q)


def _of_p(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda k, p: fn(k, p, 1 - p)


def _of_q(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda k, q: fn(k, 1 - q, q)


gammaincinv = smooth(
    _of_p(_inverse),
    {0: smooth(_of_p(_inverse_by_order)), 1: smooth(_of_p(_inverse_by_p))},
)
gammainccinv = smooth(
    _of_q(_inverse),
    {0: smooth(_of_q(_inverse_by_order)), 1: smooth(_of_q(_inverse_by_q))},
)
