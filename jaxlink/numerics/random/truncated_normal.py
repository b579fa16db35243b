"""The truncated normal distribution, by its quantile function."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erfc, ndtri

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.standard import (
    FAR,
    both_sides,
    far_hazard_excess,
    tail_uniform,
    truncated_exponential,
)


def truncated_normal(
    key: Array,
    shape: Shape,
    dtype: Any,
    mu: Array,
    sigma: Array,
    lower: Array,
    upper: Array,
) -> Array:
    # JAX has no normal quantile function in half precision.
    dtype = np.promote_types(dtype, np.float32)
    mu, sigma, lower, upper = (p.astype(dtype) for p in (mu, sigma, lower, upper))
    above, tail = tail_uniform(key, shape, dtype)
    draw = _truncated_normal(above, tail, mu, sigma, lower, upper)
    valid = (sigma >= 0) & jnp.isfinite(mu) & jnp.isfinite(sigma)
    valid &= (lower <= upper) & (lower < jnp.inf) & (upper > -jnp.inf)
    return jnp.where(valid, draw, jnp.nan)


@jax.custom_jvp
def _truncated_normal(
    above: Array, tail: Array, mu: Array, sigma: Array, lower: Array, upper: Array
) -> Array:
    """The quantile at a `tail_uniform`.

    In units of sigma from mu, the interval goes from ``near`` to ``far``. The density
    is greater at ``near``; if that is the upper end, everything is mirrored. There are
    three methods: for the body of the normal, for its tail, and for an interval over
    which the density hardly changes.
    """
    scale = _not_zero(sigma)
    low, high = (lower - mu) / scale, (upper - mu) / scale
    mirror = low + high < 0
    near, far = jnp.where(mirror, -high, low), jnp.where(mirror, -low, high)
    # So that squares stay finite.
    most = math.sqrt(np.finfo(tail.dtype).max) / 4
    near = jnp.clip(near, -most, most)
    above = above ^ mirror
    inward = jnp.where(mirror, -scale, scale)

    in_body = mu + inward * _body_quantile(above, tail, near, far)
    end = jnp.where(mirror, upper, lower)
    in_tail = end + inward * _tail_quantile(above, tail, jnp.maximum(near, FAR), far)
    span = jnp.where(mirror, lower - upper, upper - lower)
    width = jnp.abs(span) / scale
    narrow = width * (1 + jnp.abs(near) + width) < 0.2
    in_narrow = end + span * _narrow_quantile(above, tail, near, width)

    draw = jnp.where(narrow, in_narrow, jnp.where(near > FAR, in_tail, in_body))
    return jnp.clip(jnp.where(sigma == 0, mu, draw), lower, upper)


def _not_zero(sigma: Array) -> Array:
    return jnp.where(sigma == 0, np.finfo(sigma.dtype).tiny, sigma)


def _body_quantile(above: Array, tail: Array, near: Array, far: Array) -> Array:
    """Invert the probability on the side of the draw that has less of it."""
    outside = erfc(jnp.abs(near) * math.sqrt(0.5)) / 2
    beyond = erfc(far * math.sqrt(0.5)) / 2
    below = jnp.where(near > 0, 1 - outside, outside)
    mass = jnp.where(near > 0, outside - beyond, 1 - beyond - below)
    part_below, part_above = both_sides(above, tail)
    left, right = below + part_below * mass, beyond + part_above * mass
    z = ndtri(jnp.minimum(left, right))
    return jnp.where(left < right, z, -z)


def _tail_quantile(above: Array, tail: Array, near: Array, far: Array) -> Array:
    """The distance of the quantile from ``near`` >= FAR.

    A fraction exp(-drop(t)) of the tail beyond near is beyond near + t, with drop(t) =
    near t + t**2 / 2 + log(hazard(near + t) / hazard(near)). drop is convex, so
    Newton's steps descend to the solution from a start that is too large.
    """
    hazard = near + far_hazard_excess(near)

    def drop(t: Array) -> tuple[Array, Array]:
        there = near + t + far_hazard_excess(near + t)
        return near * t + t * t / 2 + jnp.log(there / hazard), there

    wanted = truncated_exponential(above, tail, drop(far - near)[0])

    def newton(i: Any, t: Array) -> Array:
        del i
        value, slope = drop(t)
        return t - (value - wanted) / slope

    start = 2 * wanted / (near + jnp.sqrt(near * near + 2 * wanted))
    return jax.lax.fori_loop(0, 4, newton, start)


def _narrow_quantile(above: Array, tail: Array, near: Array, width: Array) -> Array:
    """The quantile as a fraction of the width, with its probability by quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(4)

    def density(part: Array) -> Array:
        t = width * part
        return jnp.exp(-t * (near + t / 2))

    def probability(part: Array) -> Array:
        heights = [
            float(w) / 2 * density(part * float((x + 1) / 2))
            for x, w in zip(nodes, weights, strict=True)
        ]
        return part * sum(heights[1:], heights[0])

    u, _ = both_sides(above, tail)
    wanted = u * probability(jnp.ones_like(u))

    def newton(i: Any, part: Array) -> Array:
        del i
        return part - (probability(part) - wanted) / density(part)

    return jnp.clip(jax.lax.fori_loop(0, 3, newton, u), 0, 1)


@_truncated_normal.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """At a fixed rank u, phi(z) dz = (1 - u) phi(low) d low + u phi(high) d high."""
    above, tail, mu, sigma, lower, upper = primals
    mu_dot, sigma_dot, lower_dot, upper_dot = tangents[2:]
    x = _truncated_normal(*primals)
    scale = _not_zero(sigma)
    z = (x - mu) / scale

    def weight(rank: Array, bound: Array) -> tuple[Array, Array]:
        finite = jnp.isfinite(bound)
        bound = jnp.where(finite, bound, x)
        end = (bound - mu) / scale
        density = jnp.exp((x - bound) / scale * (z + end) / 2)
        return jnp.where(finite, rank * density, 0), end

    part_below, part_above = both_sides(above, tail)
    w_low, low = weight(part_above, lower)
    w_high, high = weight(part_below, upper)
    of_sigma = jnp.where(sigma == 0, jnp.nan, z - w_low * low - w_high * high)
    slope = (1 - w_low - w_high) * mu_dot + of_sigma * sigma_dot
    return x, slope + w_low * lower_dot + w_high * upper_dot
