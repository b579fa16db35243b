"""Samplers for continuous scalar distributions.

Most transform a standard draw by the parameters, so their gradients are exact
reparameterisation gradients. `gamma` has the distributions that consist of gamma draws.

If PyTensor raises for a parameter, as for a negative scale, the draw here is nan. A
scale of zero is valid: the draw is then the location.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import (
    both_sides,
    hazard_excess,
    non_negative,
    open_uniform,
    positive,
    rejection,
    standard_exponential,
    tail_uniform,
    truncated_exponential,
)

# --- a standard draw, shifted and scaled ---------------------------------------------


def _symmetric(lower_quantile: Callable[[Array], Array]) -> Callable[..., Array]:
    """The sampler of a distribution that is symmetric about 0."""

    def standard(key: Array, shape: Shape, dtype: Any) -> Array:
        upper, tail = tail_uniform(key, shape, dtype)
        x = lower_quantile(tail)
        return jnp.where(upper, -x, x)

    return standard


def _half_cauchy(key: Array, shape: Shape, dtype: Any) -> Array:
    upper, tail = tail_uniform(key, shape, dtype)
    tangent = jnp.tan(np.pi / 2 * tail)
    return jnp.where(upper, 1 / tangent, tangent)


def _gumbel(key: Array, shape: Shape, dtype: Any) -> Array:
    return -jnp.log(standard_exponential(key, shape, dtype))


@dataclass(frozen=True)
class FromStandard:
    """The sampler of a standard draw that the parameters transform.

    Attributes:
        standard: ``(key, shape, dtype) -> draws``. It reads random bits once, as many
            numbers as it returns.
        transform: ``(standard draws, *parameters) -> draws``.
    """

    standard: Callable[..., Array]
    transform: Callable[..., Array]

    def __call__(
        self, key: Array, shape: Shape, dtype: Any, *parameters: Array
    ) -> Array:
        return self.transform(self.standard(key, shape, dtype), *parameters)


def _moved(drawn: Array, loc: Array, scale: Array) -> Array:
    return loc + non_negative(scale) * drawn


def _upwards(drawn: Array, loc: Array, scale: Array) -> Array:
    return _moved(jnp.abs(drawn), loc, scale)


normal = FromStandard(jax.random.normal, _moved)
half_normal = FromStandard(jax.random.normal, _upwards)
cauchy = FromStandard(_symmetric(lambda tail: -1 / jnp.tan(np.pi * tail)), _moved)
half_cauchy = FromStandard(_half_cauchy, _moved)
gumbel = FromStandard(_gumbel, _moved)
laplace = FromStandard(_symmetric(lambda tail: jnp.log(2 * tail)), _moved)
logistic = FromStandard(
    _symmetric(lambda tail: jnp.log(tail) - jnp.log1p(-tail)), _moved
)


# --- a standard draw, transformed in other ways --------------------------------------


def _between(drawn: Array, low: Array, high: Array) -> Array:
    # As `jax.random.uniform` does it.
    width = high - low
    draw = jnp.maximum(low, drawn * width + low)
    return jnp.where((width >= 0) & (width < jnp.inf), draw, jnp.nan)


def _exponential_of_moved(drawn: Array, mean: Array, sigma: Array) -> Array:
    return jnp.exp(_moved(drawn, mean, sigma))


def _scaled(drawn: Array, scale: Array) -> Array:
    return non_negative(scale) * drawn


def _weibull(drawn: Array, k: Array) -> Array:
    # PyTensor's Weibull has no scale: P(X > x) = exp(-x**k). For k = 0 NumPy draws 0.
    draw = drawn ** (1 / jnp.where(k == 0, 1, k))
    return jnp.where(k == 0, 0, jnp.where(k > 0, draw, jnp.nan))


def _pareto(drawn: Array, b: Array, scale: Array) -> Array:
    # Not divided by b, because XLA rounds a division differently under vmap.
    return non_negative(scale) * jnp.exp(drawn * (1 / positive(b)))


uniform = FromStandard(jax.random.uniform, _between)
lognormal = FromStandard(jax.random.normal, _exponential_of_moved)
exponential = FromStandard(jax.random.exponential, _scaled)
weibull = FromStandard(standard_exponential, _weibull)
pareto = FromStandard(standard_exponential, _pareto)


# --- quantile functions --------------------------------------------------------------


def truncexpon(
    key: Array, shape: Shape, dtype: Any, b: Array, loc: Array, scale: Array
) -> Array:
    draw = truncated_exponential(*tail_uniform(key, shape, dtype), positive(b))
    return loc + non_negative(scale) * draw


def triangular(
    key: Array, shape: Shape, dtype: Any, left: Array, mode: Array, right: Array
) -> Array:
    # Inverts the quadratic on the side of the mode where u falls. We take one root, of
    # a positive number, so that its gradient is finite if the mode is at an end.
    below, above = both_sides(*tail_uniform(key, shape, dtype))
    width = right - left
    divisor = jnp.where(width > 0, width, 1)
    peak = (mode - left) / divisor
    rising = below < peak
    area = jnp.where(rising, below * peak, above * (right - mode) / divisor)
    root = width * jnp.where(area > 0, jnp.sqrt(jnp.where(area > 0, area, 1)), 0)
    valid = (left <= mode) & (mode <= right)
    return jnp.where(valid, jnp.where(rising, left + root, right - root), jnp.nan)


# --- Wald ----------------------------------------------------------------------------


def wald(key: Array, shape: Shape, dtype: Any, mean: Array, scale: Array) -> Array:
    mean = jnp.broadcast_to(positive(mean), shape)
    scale = jnp.broadcast_to(positive(scale), shape)
    fixed = jax.lax.stop_gradient((mean, scale))
    return _wald_with_gradient(_wald(key, *fixed), mean, scale)


def _wald(key: Array, mean: Array, scale: Array) -> Array:
    """Michael, Schucany and Haas (1976), doi:10.2307/2683801.

    The smaller root of their quadratic is mean * ratio with ratio = 1 + a - sqrt(a**2
    + 2 a) and a = mean z**2 / (2 scale). Written as a reciprocal, it does not cancel.
    The larger root, mean / ratio, is chosen with probability ratio / (1 + ratio), which
    may be small.
    """
    normal_key, uniform_key = jax.random.split(key)
    z = jax.random.normal(normal_key, mean.shape, mean.dtype)
    a = mean / scale * z * z / 2
    ratio = 1 / (1 + a + jnp.sqrt(a) * jnp.sqrt(a + 2))
    upper, tail = tail_uniform(uniform_key, mean.shape, mean.dtype)
    larger = ~upper & (tail * (1 + ratio) < ratio)
    return mean * jnp.where(larger, 1 / ratio, ratio)


@jax.custom_jvp
def _wald_with_gradient(draw: Array, mean: Array, scale: Array) -> Array:
    """``draw``, with the derivative of a draw that keeps its rank.

    The choice of root depends on the parameters, so the root's derivative is not that
    of the distribution, which is dx / d theta = -(dF / d theta) / f. With p =
    sqrt(scale x) / mean, q = sqrt(scale / x) and the normal density phi,

        F = Phi(p - q) + exp(2 scale / mean) Phi(-p - q),   f = q phi(p - q) / x.

    Because exp(2 scale / mean) phi(p + q) = phi(p - q), the density in dF cancels
    against f. With b = p + q and s = 2 p Phi(-b) / phi(b), this leaves

        dx / x = s d mean / mean + (1 - s) d scale / scale.

    With the hazard phi(b) / Phi(-b) = b + e, s is 2 p / (b + e) and 1 - s is (q - p +
    e) / (b + e), where q - p is a multiple of mean - x.
    """
    del mean, scale
    return draw


@_wald_with_gradient.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    _, mean, scale = primals
    draw_dot, mean_dot, scale_dot = tangents
    x = _wald_with_gradient(*primals)
    q = jnp.sqrt(scale) / jnp.sqrt(x)
    p = q * (x / mean)
    b = p + q
    e = hazard_excess(b)
    of_mean = 2 * p / (b + e)
    of_scale = (q * ((mean - x) / mean) + e) / (b + e)
    slope = of_mean * (x / mean) * mean_dot + of_scale * (x / scale) * scale_dot
    return x, draw_dot + slope


# --- von Mises -----------------------------------------------------------------------


def von_mises(key: Array, shape: Shape, dtype: Any, mu: Array, kappa: Array) -> Array:
    # Beyond a quarter of the largest float, the draw is mu anyway.
    largest = np.finfo(dtype).max / np.asarray(4, dtype)
    kappa = jnp.broadcast_to(jnp.minimum(non_negative(kappa), largest), shape)
    angle = _standard_von_mises(key, jax.lax.stop_gradient(kappa))
    angle = mu + _with_kappa_gradient(angle, kappa)
    # Draws inside the circle keep their digits. It ends at the largest float below pi.
    turns = jnp.round(angle / (2 * np.pi))
    end = np.asarray(np.pi, dtype)
    if np.float64(end) > np.pi:
        end = np.nextafter(end, np.zeros_like(end))
    return jnp.clip(angle - 2 * np.pi * turns, -end, end)


def _standard_von_mises(key: Array, kappa: Array) -> Array:
    """Rejection from a wrapped Cauchy: Best and Fisher (1979), doi:10.2307/2346732.

    The envelope 1 / (r - cos x) is tightest for kappa r**2 - r = kappa. With
    h = sqrt(1 + 4 kappa**2) and m = kappa (r - 1) = (1 + 1 / (h + 2 kappa)) / 2,
    nothing cancels for any kappa >= 0. A wrapped Cauchy draw is 2 arctan(w tan(v / 2))
    for a uniform angle v and w**2 = (r - 1) / (r + 1). It is kept with probability
    c exp(1 - c), where c = kappa (r - cos x).
    """
    m = (1 + 1 / (jnp.hypot(1, 2 * kappa) + 2 * kappa)) / 2
    w = jnp.sqrt(m / (m + 2 * kappa))

    def propose(key: Array) -> tuple[Array, Array]:
        half, keep = jax.random.uniform(key, (2, *kappa.shape), kappa.dtype)
        t = w * jnp.tan(np.pi * (half - 0.5))
        c = m + 2 * kappa * t * t / (1 + t * t)
        return 2 * jnp.arctan(t), keep <= c * jnp.exp(1 - c)

    start = jnp.where(jnp.isnan(kappa), jnp.nan, jnp.zeros_like(kappa))
    return rejection(key, propose, start)


@jax.custom_jvp
def _with_kappa_gradient(angle: Array, kappa: Array) -> Array:
    """``angle``, with the derivative of a draw that keeps its rank.

    That is d angle / d kappa = -(dF / d kappa) / f. With A = I1 / I0 it is the integral
    of exp(kappa (cos t - cos angle)) (A - cos t) from 0 to the angle. The integrand is
    smooth and at most a few standard deviations wide.
    """
    del kappa
    return angle


@_with_kappa_gradient.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    angle, kappa = _with_kappa_gradient(*primals), primals[1]
    angle_dot, kappa_dot = tangents
    nodes, weights = np.polynomial.legendre.leggauss(48)
    t = angle[..., None] * jnp.asarray((nodes + 1) / 2, angle.dtype)
    k = kappa[..., None]
    # cos t - cos angle, without cancellation for the small angles of a large kappa.
    a = angle[..., None]
    rise = 2 * jnp.sin((a + t) / 2) * jnp.sin((a - t) / 2)
    # A - cos t likewise, with 1 - cos t = 2 sin(t / 2)**2.
    gap = 2 * jnp.sin(t / 2) ** 2 - _one_minus_bessel_ratio(k)
    slope = angle / 2 * ((jnp.exp(k * rise) * gap) @ jnp.asarray(weights, angle.dtype))
    return angle, angle_dot + slope * kappa_dot


def _one_minus_bessel_ratio(k: Array) -> Array:
    """1 - I1(k) / I0(k). For large k, the quotient of the series DLMF 10.40.1."""
    far = k > 100
    near = jnp.where(far, 1, k)
    r = 1 / jnp.where(far, k, 100)
    series = r * (1 / 2 + r * (1 / 8 + r * (1 / 8 + r * (25 / 128 + r * 13 / 32))))
    ratio = jax.scipy.special.i1e(near) / jax.scipy.special.i0e(near)
    return jnp.where(far, series, 1 - ratio)


def asymmetric_laplace(
    key: Array, shape: Shape, dtype: Any, b: Array, kappa: Array, mu: Array
) -> Array:
    # P(X <= mu) = kappa**2 / (1 + kappa**2), and X is exponential on either side.
    # (PyMC's draw is infinite at u = 0.)
    below, above = both_sides(*tail_uniform(key, shape, dtype))
    rest = 1 / (1 + kappa**2)
    peak = kappa**2 * rest
    left = kappa * jnp.log(jnp.minimum(below / peak, 1))
    right = -jnp.log(jnp.minimum(above / rest, 1)) / kappa
    x = mu + jnp.where(below <= peak, left, right) / b
    return jnp.where((b > 0) & (kappa > 0) & (kappa < jnp.inf), x, jnp.nan)


def kumaraswamy(key: Array, shape: Shape, dtype: Any, a: Array, b: Array) -> Array:
    # 1 - X**a is U**(1 / b). (PyMC subtracts that from 1, so its X is 0 too often.)
    e = standard_exponential(key, shape, dtype)
    x = jnp.exp(jnp.log(-jnp.expm1(-e / b)) / a)
    return jnp.where((a > 0) & (b > 0), x, jnp.nan)


def shifted_wald(
    key: Array, shape: Shape, dtype: Any, mu: Array, lam: Array, alpha: Array
) -> Array:
    return alpha + wald(key, shape, dtype, mu, lam)


def skew_normal(
    key: Array, shape: Shape, dtype: Any, mu: Array, sigma: Array, alpha: Array
) -> Array:
    # Azzalini's representation: a half-normal and a normal, weighted alpha to 1.
    folded, free = jax.random.normal(key, (2, *shape), dtype)
    # Not divided by the root, because XLA rounds a division differently under vmap.
    z = (alpha * jnp.abs(folded) + free) * (1 / jnp.hypot(1, alpha))
    return mu + non_negative(sigma) * z


def rice(key: Array, shape: Shape, dtype: Any, b: Array, sigma: Array) -> Array:
    # The length of a normal vector in the plane whose mean has length b.
    x, y = jax.random.normal(key, (2, *shape), dtype)
    return non_negative(sigma) * jnp.hypot(non_negative(b) + x, y)


def interpolated(
    key: Array, shape: Shape, dtype: Any, x: Array, pdf: Array, cdf: Array
) -> Array:
    """Invert the distribution function, which is a parabola between two points.

    In a cell of width h, with densities f and g at its ends, the probability of the
    first part v of the width is q = h (f v + (g - f) v**2 / 2). Hence
    v = 2 q / (h f + sqrt((h f)**2 + 2 h (g - f) q)).

    A draw has derivatives with respect to all three parameters. Together they are those
    of the distribution if ``pdf`` and ``cdf`` depend on ``x`` as in PyMC.
    """

    def invert(u: Array, x: Array, pdf: Array, cdf: Array) -> Array:
        i = jnp.searchsorted(cdf, u, side="right") - 1
        i = jnp.clip(i, 0, x.shape[0] - 2)
        width, q = x[i + 1] - x[i], u - cdf[i]
        left, right = width * pdf[i], width * pdf[i + 1]
        square = left * left + 2 * (right - left) * q
        # Otherwise q = 0 at a point of density zero, or a rounding error.
        inside = square > 0
        root = jnp.where(inside, jnp.sqrt(jnp.where(inside, square, 1)), 0)
        divisor = left + root
        part = 2 * q / jnp.where(divisor > 0, divisor, 1)
        return x[i] + width * jnp.clip(part, 0, 1)

    u = open_uniform(key, shape, dtype)
    return jnp.vectorize(invert, signature="(),(n),(n),(n)->()")(u, x, pdf, cdf)
