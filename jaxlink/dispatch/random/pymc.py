"""Samplers of PyMC's own continuous scalar RandomVariables, named so that PyMC need
not be installed.

Symbolic distributions of PyMC need none: they are inlined into what they are made of.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import log_ndtr, ndtri

from jaxlink.dispatch.random.continuous import wald
from jaxlink.dispatch.random.gamma import beta, log_gamma
from jaxlink.dispatch.random.primitives import open_uniform
from jaxlink.dispatch.random.rows import sampler

Shape = tuple[int, ...]

_CONTINUOUS = "pymc.distributions.continuous."
_MULTIVARIATE = "pymc.distributions.multivariate."

_IMPROPER = "it is improper, so it has no draws; give it a proper prior"
_PYTHON = (
    "its draws come from a Python function over NumPy arrays. Give it as a graph "
    "instead (`dist=` of pm.CustomDist), or register a JAX sampler for its class"
)

# RandomVariables that cannot have a sampler, and why.
WITHOUT_SAMPLER = {
    _CONTINUOUS + "FlatRV": _IMPROPER,
    _CONTINUOUS + "HalfFlatRV": _IMPROPER,
    _MULTIVARIATE + "ICARRV": _IMPROPER,
    "pymc.distributions.custom.CustomDistRV": _PYTHON,
    "pymc.distributions.simulator.SimulatorRV": _PYTHON,
}


def reason_against(rv_type: type) -> str | None:
    """Why there can be no sampler for a class."""
    return WITHOUT_SAMPLER.get(f"{rv_type.__module__}.{rv_type.__qualname__}")


@sampler(_CONTINUOUS + "BetaClippedRV")
def beta_clipped(key: Array, shape: Shape, dtype: Any, a: Array, b: Array) -> Array:
    # The open unit interval: PyMC moves 0 and 1 to their neighbours inside. XLA flushes
    # the neighbour of 0 to 0, hence the smallest normal number.
    inside = np.finfo(dtype).tiny, np.nextafter(np.ones((), dtype), 0, dtype=dtype)
    return jnp.clip(beta(key, shape, dtype, a, b), *inside)


@sampler(_CONTINUOUS + "WaldRV")
def shifted_wald(
    key: Array, shape: Shape, dtype: Any, mu: Array, lam: Array, alpha: Array
) -> Array:
    return alpha + wald(key, shape, dtype, mu, lam)


@sampler(_CONTINUOUS + "SkewNormalRV")
def skew_normal(
    key: Array, shape: Shape, dtype: Any, mu: Array, sigma: Array, alpha: Array
) -> Array:
    # Azzalini's representation: a half-normal and a normal, weighted alpha to 1.
    folded, free = jax.random.normal(key, (2, *shape), dtype)
    z = (alpha * jnp.abs(folded) + free) / jnp.hypot(1, alpha)
    return mu + sigma * z


@sampler(_CONTINUOUS + "SkewStudentTRV")
def skew_student_t(
    key: Array, shape: Shape, dtype: Any, a: Array, b: Array, mu: Array, sigma: Array
) -> Array:
    """Jones and Faddy (2003), doi:10.1111/1467-9868.00378.

    sqrt(a + b) (2 p - 1) / (2 sqrt(p (1 - p))) for p ~ beta(a, b). With p / (1 - p) =
    exp(2 x), a ratio of two gamma draws, it is sqrt(a + b) sinh(x).
    """
    key_a, key_b = jax.random.split(key)
    log_a = log_gamma(key_a, shape, dtype, a)
    log_b = log_gamma(key_b, shape, dtype, b)
    return mu + sigma * jnp.sqrt(a + b) * jnp.sinh((log_a - log_b) / 2)


@sampler(_CONTINUOUS + "RiceRV")
def rice(key: Array, shape: Shape, dtype: Any, b: Array, sigma: Array) -> Array:
    # The length of a normal vector in the plane whose mean has length b.
    x, y = jax.random.normal(key, (2, *shape), dtype)
    return sigma * jnp.hypot(b + x, y)


@sampler(_CONTINUOUS + "MoyalRV")
def moyal(key: Array, shape: Shape, dtype: Any, mu: Array, sigma: Array) -> Array:
    # Minus the logarithm of a chi-square draw of one degree of freedom.
    half = jnp.asarray(0.5, dtype)
    log_chisquare = math.log(2) + log_gamma(key, shape, dtype, half)
    return mu - sigma * log_chisquare


@sampler(_CONTINUOUS + "InterpolatedRV")
def interpolated(
    key: Array, shape: Shape, dtype: Any, x: Array, pdf: Array, cdf: Array
) -> Array:
    """Inverts the distribution function, a parabola between any two points.

    With slope s of the density f in a cell, the part q of the probability that falls
    into the cell is f t + s t**2 / 2, so t = 2 q / (f + sqrt(f**2 + 2 s q)).
    """

    def invert(u: Array, x: Array, pdf: Array, cdf: Array) -> Array:
        i = jnp.searchsorted(cdf, u, side="right") - 1
        i = jnp.clip(i, 0, x.shape[0] - 2)
        slope = (pdf[i + 1] - pdf[i]) / (x[i + 1] - x[i])
        q = u - cdf[i]
        root = jnp.sqrt(jnp.maximum(pdf[i] ** 2 + 2 * slope * q, 0))
        return x[i] + 2 * q / (pdf[i] + root)

    u = open_uniform(key, shape, dtype)
    return jnp.vectorize(invert, signature="(),(n),(n),(n)->()")(u, x, pdf, cdf)


@sampler(_CONTINUOUS + "TruncatedNormalRV")
def truncated_normal(
    key: Array,
    shape: Shape,
    dtype: Any,
    mu: Array,
    sigma: Array,
    lower: Array,
    upper: Array,
) -> Array:
    """Inverts the distribution function, in logarithms.

    The interval is mirrored if more of it lies above the mean; then its probabilities
    are small numbers, not the complements of small numbers.
    """

    def standardized(bound: Array, infinite: float) -> Array:
        # inf / sigma has no derivative, so an infinite bound never gets there.
        finite = jnp.isfinite(bound)
        return jnp.where(finite, (jnp.where(finite, bound, mu) - mu) / sigma, infinite)

    low, high = standardized(lower, -1e6), standardized(upper, 1e6)
    mirror = low + high > 0
    low, high = jnp.where(mirror, -high, low), jnp.where(mirror, -low, high)
    log_high = log_ndtr(high)
    # The mass below the draw, relative to that below ``high``, is uniform from
    # exp(log_ndtr(low) - log_high) to 1.
    u = open_uniform(key, shape, dtype)
    below = jnp.log1p(u * jnp.expm1(log_ndtr(low) - log_high))
    z = jnp.clip(_log_ndtr_inverse(log_high + below), low, high)
    return jnp.clip(mu + sigma * jnp.where(mirror, -z, z), lower, upper)


@jax.custom_jvp
def _log_ndtr_inverse(log_p: Array) -> Array:
    """The normal quantile of a logarithm of a probability, of any size.

    Where exp(log_p) underflows, Newton steps from -sqrt(-2 log_p) along the concave
    log_ndtr, which converge from either side.
    """
    deep = math.log(np.finfo(log_p.dtype).tiny) + 1
    tail = jnp.minimum(log_p, deep)

    def newton(i: Any, z: Array) -> Array:
        del i
        log_cdf = log_ndtr(z)
        return z - (log_cdf - tail) * jnp.exp(log_cdf - _normal_logpdf(z))

    z = jax.lax.fori_loop(0, 4, newton, -jnp.sqrt(-2 * tail))
    return jnp.where(log_p > deep, ndtri(jnp.exp(log_p)), z)


@_log_ndtr_inverse.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    z = _log_ndtr_inverse(*primals)
    return z, tangents[0] * jnp.exp(primals[0] - _normal_logpdf(z))


def _normal_logpdf(z: Array) -> Array:
    return -z * z / 2 - math.log(2 * math.pi) / 2
