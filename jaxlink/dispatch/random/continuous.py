"""Samplers of PyTensor's continuous scalar distributions.

Most are a standard draw on which the parameters act, so their gradients are exact
reparameterised ones. Those that are made of gamma draws stand in `gamma`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array

from jaxlink.dispatch.random.primitives import open_uniform, rejection
from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]

# The draw is loc + scale * standard.
LOCATION_SCALE: dict[type, Callable[..., Array]] = {
    ptr.NormalRV: jax.random.normal,
    ptr.CauchyRV: jax.random.cauchy,
    ptr.GumbelRV: jax.random.gumbel,
    ptr.LaplaceRV: jax.random.laplace,
    ptr.LogisticRV: jax.random.logistic,
}

# The draw is loc + scale * |standard|.
HALF_LOCATION_SCALE: dict[type, Callable[..., Array]] = {
    ptr.HalfNormalRV: jax.random.normal,
    ptr.HalfCauchyRV: jax.random.cauchy,
}


def _location_scale(
    standard: Callable[..., Array], fold: Callable[[Array], Array] = lambda x: x
) -> Callable[..., Array]:
    def draw(key: Array, shape: Shape, dtype: Any, loc: Array, scale: Array) -> Array:
        return loc + scale * fold(standard(key, shape, dtype))

    return draw


for _rv, _standard in LOCATION_SCALE.items():
    sampler(_rv)(_location_scale(_standard))
for _rv, _standard in HALF_LOCATION_SCALE.items():
    sampler(_rv)(_location_scale(_standard, jnp.abs))


@sampler(ptr.UniformRV)
def uniform(key: Array, shape: Shape, dtype: Any, low: Array, high: Array) -> Array:
    return jax.random.uniform(key, shape, dtype, low, high)


@sampler(ptr.LogNormalRV)
def lognormal(key: Array, shape: Shape, dtype: Any, mean: Array, sigma: Array) -> Array:
    return jnp.exp(mean + sigma * jax.random.normal(key, shape, dtype))


@sampler(ptr.ExponentialRV)
def exponential(key: Array, shape: Shape, dtype: Any, scale: Array) -> Array:
    return scale * jax.random.exponential(key, shape, dtype)


@sampler(ptr.WeibullRV)
def weibull(key: Array, shape: Shape, dtype: Any, k: Array) -> Array:
    # PyTensor's has no scale: P(X > x) = exp(-x**k).
    return jax.random.exponential(key, shape, dtype) ** (1 / k)


@sampler(ptr.ParetoRV)
def pareto(key: Array, shape: Shape, dtype: Any, b: Array, scale: Array) -> Array:
    return scale * jax.random.pareto(key, b, shape, dtype)


@sampler(ptr.TruncExponentialRV)
def truncexpon(
    key: Array, shape: Shape, dtype: Any, b: Array, loc: Array, scale: Array
) -> Array:
    # Inverts F(x) = expm1(-x) / expm1(-b) on [0, b].
    u = jax.random.uniform(key, shape, dtype)
    return loc - scale * jnp.log1p(u * jnp.expm1(-b))


@sampler(ptr.TriangularRV)
def triangular(
    key: Array, shape: Shape, dtype: Any, left: Array, mode: Array, right: Array
) -> Array:
    # Inverts the quadratic on the side of the mode where u falls. The root is taken
    # once, of a positive number, so that its gradient is finite for a mode at an end.
    u = open_uniform(key, shape, dtype)
    width = right - left
    peak = (mode - left) / width
    rising = u < peak
    root = width * jnp.sqrt(jnp.where(rising, u * peak, (1 - u) * (1 - peak)))
    return jnp.where(rising, left + root, right - root)


@sampler(ptr.WaldRV)
def wald(key: Array, shape: Shape, dtype: Any, mean: Array, scale: Array) -> Array:
    """Michael, Schucany and Haas (1976), doi:10.2307/2683801.

    The smaller root of their quadratic is mean * ratio with ratio = 1 + a - sqrt(a**2
    + 2 a), a = mean z**2 / (2 scale); written as a reciprocal it does not cancel.
    """
    normal_key, uniform_key = jax.random.split(key)
    z = jax.random.normal(normal_key, shape, dtype)
    a = mean * z * z / (2 * scale)
    # sqrt(a**2 + 2 a) with the square root of z**2 taken out: finite gradient at 0.
    root = jnp.abs(z) * jnp.sqrt(mean / (2 * scale) * (a + 2))
    ratio = 1 / (1 + a + root)
    smaller = jax.random.uniform(uniform_key, shape, dtype) * (1 + ratio) <= 1
    return mean * jnp.where(smaller, ratio, 1 / ratio)


@sampler(ptr.VonMisesRV)
def von_mises(key: Array, shape: Shape, dtype: Any, mu: Array, kappa: Array) -> Array:
    kappa = jnp.broadcast_to(kappa, shape)
    angle = _standard_von_mises(key, jax.lax.stop_gradient(kappa))
    angle = mu + _with_kappa_gradient(angle, kappa)
    return jnp.mod(angle + np.pi, 2 * np.pi) - np.pi


def _standard_von_mises(key: Array, kappa: Array) -> Array:
    """Rejection from a wrapped Cauchy, Best and Fisher (1979), doi:10.2307/2346732.

    The envelope 1 / (r - cos x) is tightest for kappa r**2 - r = kappa. With
    m = kappa (r - 1) = (1 + 1 / (h + 2 kappa)) / 2, h = sqrt(1 + 4 kappa**2), nothing
    cancels for any kappa >= 0. A wrapped Cauchy draw is 2 arctan(w tan(v / 2)) for a
    uniform angle v and w**2 = (r - 1) / (r + 1); it is kept with probability
    c exp(1 - c), c = kappa (r - cos x).
    """
    m = (1 + 1 / (jnp.hypot(1, 2 * kappa) + 2 * kappa)) / 2
    w = jnp.sqrt(m / (m + 2 * kappa))

    def propose(key: Array) -> tuple[Array, Array]:
        half, keep = jax.random.uniform(key, (2, *kappa.shape), kappa.dtype)
        t = w * jnp.tan(np.pi * (half - 0.5))
        c = m + 2 * kappa * t * t / (1 + t * t)
        return 2 * jnp.arctan(t), keep <= c * jnp.exp(1 - c)

    valid = (kappa >= 0) & jnp.isfinite(4 * kappa)
    return rejection(key, propose, jnp.where(valid, jnp.zeros_like(kappa), jnp.nan))


@jax.custom_jvp
def _with_kappa_gradient(angle: Array, kappa: Array) -> Array:
    """``angle``, as a draw that keeps its quantile when kappa moves.

    Then d angle / d kappa = - (dF / d kappa) / f, which is the integral of
    exp(kappa (cos t - cos angle)) (A - cos t) from 0 to the angle, A = I1 / I0. The
    integrand is smooth and at most a few standard deviations wide.
    """
    del kappa
    return angle


@_with_kappa_gradient.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    angle, kappa = primals
    angle_dot, kappa_dot = tangents
    nodes, weights = np.polynomial.legendre.leggauss(48)
    t = angle[..., None] * jnp.asarray((nodes + 1) / 2, angle.dtype)
    k = kappa[..., None]
    # cos t - cos angle without cancellation, for angles as narrow as a large kappa's.
    a = angle[..., None]
    rise = 2 * jnp.sin((a + t) / 2) * jnp.sin((a - t) / 2)
    mean = jax.scipy.special.i1e(k) / jax.scipy.special.i0e(k)
    # A - cos t likewise, with 1 - cos t = 2 sin(t / 2)**2.
    integrand = jnp.exp(k * rise) * (mean - 1 + 2 * jnp.sin(t / 2) ** 2)
    slope = angle / 2 * (integrand @ jnp.asarray(weights, angle.dtype))
    return angle, angle_dot + slope * kappa_dot
