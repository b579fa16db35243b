"""Samplers for discrete scalar distributions that need one random number per count.

A count is computed in the widest float (see `jaxlink.dispatch.random.rule`), so that
large counts are not rounded. A Bernoulli or categorical draw is a comparison, for which
the dtype of the probabilities is wide enough.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.counting import counts_of, fine_exponential, require, whole
from jaxlink.numerics.random.standard import standard_exponential
from jaxlink.values.static import canonical


def probabilities(p: Any) -> Array:
    """``p`` without a gradient, in its own float dtype, or at least float32."""
    p = jnp.asarray(p)
    if not jnp.issubdtype(p.dtype, jnp.floating) or p.dtype.itemsize < 4:
        p = p.astype(canonical(np.result_type(p.dtype, np.float32)))
    return jax.lax.stop_gradient(p)


def gumbel_mode(dtype: Any) -> str:
    """JAX's mode for Gumbel draws: 23 random bits would miss events rarer than 1e-7."""
    return "high" if np.finfo(dtype).bits <= 32 else "low"


def bernoulli(key: Array, shape: Shape, dtype: Any, p: Any) -> Array:
    p = probabilities(p)
    valid = require((p >= 0) & (p <= 1), "the p of `bernoulli` is not in [0, 1].")
    draw = jax.random.bernoulli(key, p, shape, mode=gumbel_mode(p.dtype))
    return jnp.where(valid, draw.astype(np.int32), -1).astype(dtype)


def categorical(key: Array, shape: Shape, dtype: Any, p: Any) -> Array:
    # A category of probability zero has the logit -inf, so it is never drawn. The sum
    # of the probabilities does not matter.
    p = probabilities(p)
    valid = require(
        (p >= 0).all(-1) & (p > 0).any(-1) & (p < jnp.inf).all(-1),
        "the probabilities of `categorical` are negative, infinite, nan or all zero.",
    )
    if p.dtype.itemsize < 8 and jax.config.jax_enable_x64:
        p = p.astype(np.float64)
    if p.dtype.itemsize < 8:
        # Running sums in 32 bits would lose categories rarer than 1e-7.
        mode = gumbel_mode(p.dtype)
        noise = jax.random.gumbel(key, (*shape, p.shape[-1]), p.dtype, mode=mode)
        draw = jnp.argmax(noise + jnp.log(p), axis=-1)
        u = jnp.exp(-jnp.exp(-noise[..., 0]))
    else:
        u = jax.random.uniform(key, shape, p.dtype)
        draw = _inverted(u, p)
    return _searched(u, p, valid, draw.astype(np.int32)).astype(dtype)


def _inverted(u: Array, p: Array) -> Array:
    """The first category whose running sum exceeds the fraction ``u`` of the total."""
    # Rounded sums need not ascend, and must not rise at a category that is never drawn.
    sums = jax.lax.cummax(jnp.where(p > 0, jnp.cumsum(p, axis=-1), 0), p.ndim - 1)
    total = sums[..., -1]
    level = jnp.minimum(u * total, jnp.nextafter(total, jnp.zeros_like(total)))
    if p.ndim == 1 and len(p) > 64:
        return jnp.searchsorted(sums, level, side="right")
    return jnp.sum(sums <= level[..., None], axis=-1)


def _searched(u: Array, p: Array, valid: Array, draw: Array) -> Array:
    """``draw``, or what PyTensor would draw where the probabilities are not valid.

    PyTensor looks up a uniform number in the running sums by bisection, even if they do
    not ascend. If it finds a category that does not exist, we return the last one. If
    all probabilities are valid, the loop makes no steps.
    """
    sums = jnp.cumsum(p, axis=-1)

    def at(place: Array) -> Array:
        if p.ndim == 1:
            return sums[place]
        places = jnp.broadcast_to(sums, (*u.shape, p.shape[-1]))
        return jnp.take_along_axis(places, place[..., None], -1, mode="clip")[..., 0]

    def step(ends: tuple[Array, Array]) -> tuple[Array, Array]:
        first, last = ends
        middle = first + (last - first) // 2
        searching, above = first < last, at(middle) < u
        return (
            jnp.where(searching & above, middle + 1, first),
            jnp.where(searching & ~above, middle, last),
        )

    first = jnp.where(valid, draw, 0)
    last = jnp.where(valid, draw, p.shape[-1])
    found = jax.lax.while_loop(
        lambda ends: jnp.any(ends[0] < ends[1]), step, (first, last)
    )[0]
    return jnp.minimum(found, p.shape[-1] - 1)


def geometric(key: Array, shape: Shape, dtype: Any, p: Array) -> Array:
    # P(X > k) = (1 - p)**k = P(E / rate > k) with rate = -log(1 - p).
    valid = require((p > 0) & (p <= 1), "the p of `geometric` is not in (0, 1].")
    failures = jnp.floor(fine_exponential(key, shape, p.dtype) / -jnp.log1p(-p))
    return counts_of(whole(failures, jnp.ones_like(failures)), valid, dtype)


def discrete_weibull(
    key: Array, shape: Shape, dtype: Any, q: Array, beta: Array
) -> Array:
    # P(X >= k) = q**(k**beta): X is the integer part of a Weibull variable. (PyMC's
    # draw is -1 at u = 0.)
    largest = np.iinfo(dtype).max // 2
    e = standard_exponential(key, shape, q.dtype)
    x = jnp.floor((e / -jnp.log(q)) ** (1 / beta))
    valid = (q > 0) & (q < 1) & (beta > 0)
    return jnp.where(valid, jnp.minimum(x, largest), -1)
