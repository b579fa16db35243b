"""Samplers of PyTensor's discrete scalar distributions.

Parameters come in one floating dtype, counts included. Draws are exact in that dtype:
where JAX's own sampler is not (Poisson works in float32, and with threefry keys only),
there is one here.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor.random.basic as ptr
from jax import Array
from jax.scipy.special import gammaln, xlog1py

from jaxlink.dispatch.random.gamma import beta, standard_gamma
from jaxlink.dispatch.random.primitives import rejection
from jaxlink.dispatch.random.rows import sampler
from jaxlink.static import canonical

Shape = tuple[int, ...]


def gumbel_mode(dtype: Any) -> str:
    """How many random bits a choice takes: 23 leave out what is rarer than 1e-7."""
    return "high" if np.finfo(dtype).bits <= 32 else "low"


@sampler(ptr.BernoulliRV)
def bernoulli(key: Array, shape: Shape, dtype: Any, p: Array) -> Array:
    del dtype
    return jax.random.bernoulli(key, p, shape, mode=gumbel_mode(p.dtype))


@sampler(ptr.CategoricalRV)
def categorical(key: Array, shape: Shape, dtype: Any, p: Array) -> Array:
    # A category of probability zero has the logit -inf, which no noise can lift.
    del dtype
    mode = gumbel_mode(p.dtype)
    return jax.random.categorical(key, jnp.log(p), shape=shape, mode=mode)


@sampler(ptr.BinomialRV)
def binomial(key: Array, shape: Shape, dtype: Any, n: Array, p: Array) -> Array:
    del dtype
    return jax.random.binomial(key, n, p, shape, p.dtype)


@sampler(ptr.BetaBinomialRV)
def beta_binomial(
    key: Array, shape: Shape, dtype: Any, n: Array, a: Array, b: Array
) -> Array:
    beta_key, binomial_key = jax.random.split(key)
    p = beta(beta_key, shape, a.dtype, a, b)
    return binomial(binomial_key, shape, dtype, n, p)


@sampler(ptr.GeometricRV)
def geometric(key: Array, shape: Shape, dtype: Any, p: Array) -> Array:
    del dtype
    return jax.random.geometric(key, p, shape)


@sampler(ptr.NegBinomialRV)
def negative_binomial(
    key: Array, shape: Shape, dtype: Any, n: Array, p: Array
) -> Array:
    # A Poisson draw whose rate is gamma distributed; n need not be a whole number.
    gamma_key, poisson_key = jax.random.split(key)
    rate = standard_gamma(gamma_key, shape, n.dtype, n) * (1 - p) / p
    return poisson(poisson_key, shape, dtype, rate)


@sampler(ptr.PoissonRV)
def poisson(key: Array, shape: Shape, dtype: Any, rate: Array) -> Array:
    del dtype
    rate = jnp.broadcast_to(rate, shape)
    rare = rate < 10
    invalid = ~((rate >= 0) & (rate < jnp.inf))
    few = _count_arrivals(key, jnp.where(rare & ~invalid, rate, 0))
    many = _poisson_rejection(key, jnp.where(rare | invalid, 10, rate))
    return jnp.where(invalid, -1, jnp.where(rare, few, many))


def _count_arrivals(key: Array, rate: Array) -> Array:
    """How many exponential waiting times fit into ``rate``."""

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, time, count = state
        key, subkey = jax.random.split(key)
        time = time + jax.random.exponential(subkey, rate.shape, rate.dtype)
        return key, time, count + jnp.where(time < rate, 1, 0)

    state = (key, jnp.zeros_like(rate), jnp.zeros_like(rate))
    return jax.lax.while_loop(lambda s: jnp.any(s[1] < rate), step, state)[2]


def _poisson_rejection(key: Array, rate: Array) -> Array:
    """Transformed rejection for rates of 10 and more, PTRS of Hörmann (1993),
    doi:10.1016/0167-6687(93)90997-4, with a log probability that does not cancel."""
    b = 0.931 + 2.53 * jnp.sqrt(rate)
    a = -0.059 + 0.02483 * b
    log_inverse_alpha = jnp.log(1.1239 + 1.1328 / (b - 3.4))
    squeeze = 0.9277 - 3.6224 / (b - 2)

    def propose(key: Array) -> tuple[Array, Array]:
        u, v = jax.random.uniform(key, (2, *rate.shape), rate.dtype)
        u = u - 0.5
        us = 0.5 - jnp.abs(u)
        k = jnp.floor((2 * a / us + b) * u + rate + 0.43)
        outside = (k < 0) | ((us < 0.013) & (v > us))
        log_ratio = jnp.log(v) + log_inverse_alpha - jnp.log(a / (us * us) + b)
        inside = ~outside & (log_ratio <= poisson_logpmf(jnp.maximum(k, 0), rate))
        return k, ((us >= 0.07) & (v <= squeeze)) | inside

    return rejection(key, propose, jnp.zeros_like(rate))


def poisson_logpmf(k: Array, rate: Array) -> Array:
    """The log probability of ``k`` in Loader's saddle-point form.

    k log(rate) - rate - log(k!) is a difference of numbers far larger than itself. For
    k >= 10 it is -rate ((1 + d) log(1 + d) - d) - log(2 pi k) / 2 - s(k) with
    d = (k - rate) / rate and s(k) the tail of Stirling's series. C. Loader, Fast and
    Accurate Computation of Binomial Probabilities (2000).
    """
    few = k < 10
    direct = jnp.where(few, k * jnp.log(rate) - rate - gammaln(k + 1), 0)
    k = jnp.maximum(k, 10)
    d = (k - rate) / rate
    tail = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / k**2) / k**2) / k**2) / k
    saddle = -rate * (xlog1py(1 + d, d) - d) - jnp.log(2 * math.pi * k) / 2 - tail
    return jnp.where(few, direct, saddle)


@sampler(ptr.HyperGeometricRV)
def hypergeometric(
    key: Array, shape: Shape, dtype: Any, good: Array, bad: Array, taken: Array
) -> Array:
    """An urn from which one ball at a time is taken, all urns of the batch at once.

    The number of good balls and that of balls taken can change places, and each of
    them can be replaced by its complement, which leaves the fewest balls to take.
    """
    del dtype
    good, bad, taken = (jnp.broadcast_to(x, shape) for x in (good, bad, taken))
    total = good + bad
    few, many = jnp.minimum(good, taken), jnp.maximum(good, taken)
    complement = 2 * many > total
    many = jnp.where(complement, total - many, many)
    steps, marked = jnp.minimum(few, many), jnp.maximum(few, many)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, key, hits = state
        key, subkey = jax.random.split(key)
        u = jax.random.uniform(subkey, shape, total.dtype)
        hit = (i < steps) & (u * (total - i) < marked - hits)
        return i + 1, key, hits + jnp.where(hit, 1, 0)

    last = jnp.max(steps, initial=0)
    start = (jnp.zeros((), total.dtype), key, jnp.zeros_like(total))
    hits = jax.lax.while_loop(lambda s: s[0] < last, step, start)[2]
    return jnp.where(complement, few - hits, hits)


@sampler(ptr.IntegersRV, cast=False)
def integers(key: Array, shape: Shape, dtype: Any, low: Array, high: Array) -> Array:
    if dtype == np.bool_:
        dtype = canonical(np.int64)
    return jax.random.randint(key, shape, low, high, dtype)


@sampler("pymc.distributions.discrete.DiscreteUniformRV", cast=False)
def discrete_uniform(
    key: Array, shape: Shape, dtype: Any, lower: Array, upper: Array
) -> Array:
    del dtype
    integer = canonical(np.int64)
    low, high = jnp.asarray(lower, integer), jnp.asarray(upper, integer)
    return jax.random.randint(key, shape, low, high + 1, integer)
