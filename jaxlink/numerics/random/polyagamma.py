"""Draws from the Polya-Gamma distribution PG(h, z), for any h > 0 and z.

With c = |z| and s = sqrt((c**2 / 2 + t) / 2), its Laplace transform is
E exp(-t X) = (cosh(c / 2) / cosh(s))**h (Polson, Scott and Windle 2013,
doi:10.1080/01621459.2013.829001). Because cosh(s) = exp(s) (1 + exp(-2 s)) / 2, that is

    exp(h (c / 2 - s)) (1 + exp(-c))**h (1 + exp(-2 s))**-h.

The first factor is the transform of the inverse Gaussian distribution with mean
h / (2 c) and shape h**2 / 4. Two things follow.

1. The reciprocal of the other factors is the transform of a compound Poisson variable:
   its logarithm is h log(1 + exp(-2 s)) minus its value at t = 0. That is the transform
   of the measure h exp(-c**2 x / 2) / sqrt(2 pi x**3) sum_{k>=1} (-1)**(k+1) exp(-k**2
   / (2 x)), which is positive (a theta function) and has mass h log(1 + exp(-c)). So an
   inverse Gaussian variable is X plus an independent variable that is 0 with
   probability (1 + exp(-c))**-h, and

       f_X(x) <= (1 + exp(-c))**h f_IG(x).

2. Expanded, the last factor gives f_X(x) = (1 + exp(-c))**h f_IG(x) A(x), with

       A(x) = sum_n (-1)**n Gamma(n + h) (2 n + h) / (n! Gamma(h) h)
              exp(-((2 n + h)**2 - h**2) / (8 x)),

   because exp(-m s) is the transform of m / sqrt(8 pi x**3) exp(-m**2 / (8 x)), apart
   from the tilt exp(-c**2 x / 2) that all terms have.

So an inverse Gaussian draw, kept with probability A(x), is a draw of X. On average it
is kept with probability (1 + exp(-c))**-h.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlink.numerics.loops import while_loop
from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.gamma import standard_gamma
from jaxlink.numerics.random.standard import open_uniform

# The largest h that is drawn by rejection, with a piece for each unit of h.
MOST_PIECES = 16
# If h log(1 + exp(-c)) is less than this, we use the inverse Gaussian draw itself,
# which is wrong for at most this fraction of draws.
NEGLIGIBLE = 1e-12
# For h <= 1, a fraction of about exp(-pi**2 x / 2) of the pieces lies beyond x.
PIECES_END = 8.0
# The number of terms of A(x) for x up to PIECES_END. Later terms are below 1e-17.
TERMS = 26
# The number of gamma draws in the series for large h, and of summed remainder terms.
SERIES, REMAINDER = 16, 64


def polyagamma(key: Array, shape: Shape, dtype: Any, h: Array, z: Array) -> Array:
    """Rejection (see above) for h up to 16, and a sum of gamma draws for larger h.

    A draw with h > 1 is the sum of ceil(h) independent draws, so that at least half of
    the proposals are kept. The sum of gamma draws is not exact: its distribution
    function is off by at most 2e-8 (see `_by_series`).
    """
    h, c = jnp.broadcast_to(h, shape), jnp.broadcast_to(jnp.abs(z), shape)
    pieces_key, series_key = jax.random.split(key)
    valid = (h > 0) & (h < jnp.inf) & (c < jnp.inf)
    certain = (h > 1) & (h * jnp.log1p(jnp.exp(-c)) < NEGLIGIBLE)
    many = valid & ~certain & (h > MOST_PIECES)
    pieces = jnp.where(certain, 1, jnp.ceil(h))
    pieces = jnp.where(valid & ~many, pieces, 0)
    by_pieces = _by_rejection(
        pieces_key, h / jnp.maximum(pieces, 1), c, pieces, certain
    )
    by_series = jax.lax.cond(
        jnp.any(many),
        lambda: _by_series(series_key, jnp.where(many, h, jnp.nan), c),
        lambda: jnp.zeros_like(h),
    )
    draw = jnp.where(many, by_series, by_pieces)
    return jnp.where(valid, draw, jnp.nan)


def _by_rejection(
    key: Array, h: Array, c: Array, pieces: Array, certain: Array
) -> Array:
    """Sums of ``pieces`` independent PG(h, c) draws, for h <= 1.

    Where ``certain``, every proposal is kept, and h may be larger.
    """

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, total, left = state
        key, subkey, keep_key = jax.random.split(key, 3)
        x = _inverse_gaussian(subkey, h, c)
        keep = open_uniform(keep_key, h.shape, h.dtype)
        kept = certain | ((x < PIECES_END) & (keep < _acceptance(x, h)))
        kept &= left > 0
        return key, jnp.where(kept, total + x, total), jnp.where(kept, left - 1, left)

    state = (key, jnp.zeros_like(h), pieces)
    return while_loop(lambda s: jnp.any(s[2] > 0), step, state)[1]


def _inverse_gaussian(key: Array, h: Array, c: Array) -> Array:
    """Draws with mean h / (2 c) and shape h**2 / 4. For c = 0, they are Levy draws.

    Michael, Schucany and Haas (1976), doi:10.2307/2683801: the product of their two
    roots is the squared mean, and the smaller root is the mean times ``ratio``. As
    written here, neither root cancels, and c = 0 needs no special case: no draw there
    is nan, as 0 / 0 would be.
    """
    normal_key, uniform_key = jax.random.split(key)
    n = jax.random.normal(normal_key, h.shape, h.dtype)
    spread = h * c + n * n + jnp.abs(n) * jnp.sqrt(n * n + 2 * h * c)
    ratio = h * c / spread
    smaller = jax.random.uniform(uniform_key, h.shape, h.dtype) * (1 + ratio) <= 1
    return jnp.where(smaller, h * (h / spread) / 2, spread / c / c / 2)


def _acceptance(x: Array, h: Array) -> Array:
    """A(x). The ratio of successive terms needs no further exponentials."""
    once = jnp.exp(-(1 + h) / (2 * x))
    twice = jnp.exp(-1 / x)
    term = -(2 + h) * once
    total = 1 + term
    for n in range(1, TERMS):
        once = once * twice
        term = -term * once * ((n + h) * (2 * n + 2 + h) / ((n + 1) * (2 * n + h)))
        total += term
    return total


def _by_series(key: Array, h: Array, c: Array) -> Array:
    """X = sum_k w_k g_k with w_k = 1 / (2 pi**2 (k - 1/2)**2 + c**2 / 2), where g_k are
    independent gamma draws of shape h.

    After 16 terms, we replace the remainder with a gamma draw, scaled and shifted to
    the same mean, variance and third cumulant. For h > 16, and c below the point where
    inverse Gaussian draws take over, that moves the distribution function of X by less
    than 2e-8: by 1e-14 for c = 0, and by 1e-8 for c = 30 (from the transforms; it falls
    with h). A Kolmogorov-Smirnov test would need 1e15 draws to notice.
    """

    def weights(start: int, count: int) -> Array:
        k = jnp.arange(start, start + count, dtype=h.dtype) + 0.5
        k = k.reshape(-1, *[1] * h.ndim)
        return 1 / (2 * (np.pi * k) ** 2 + c * c / 2)

    first = weights(0, SERIES)
    rest = weights(SERIES, REMAINDER)
    # Integrals give the sums of later weights, which are about 1 / (2 pi**2 k**2).
    n = SERIES + REMAINDER
    second = (rest**2).sum(0) + 1 / (2 * np.pi**2) ** 2 / (3 * n**3)
    third = (rest**3).sum(0) + 1 / (2 * np.pi**2) ** 3 / (5 * n**5)
    scale = third / second
    alpha = h * second / scale**2
    near = c < 1e-4
    all_weights = jnp.where(
        near, 0.25 - c * c / 48, jnp.tanh(c / 2) / (2 * jnp.where(near, 1, c))
    )
    mean = h * (all_weights - first.sum(0))
    shapes = jnp.concatenate([jnp.broadcast_to(h, first.shape), alpha[None]])
    g = standard_gamma(key, shapes.shape, h.dtype, shapes)
    return (first * g[:-1]).sum(0) + (mean + scale * (g[-1] - alpha))
