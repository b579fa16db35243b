"""Tools for samplers: tails in full precision, open intervals, and rejection."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erfcx

from jaxlink.numerics.loops import while_loop
from jaxlink.numerics.random import Shape

Propose = Callable[[Array], tuple[Array, Array]]

# Beyond this point, the tail of a normal has its own expansion.
FAR = 6


def open_uniform(key: Array, shape: Shape, dtype: Any) -> Array:
    """Uniform draws that are neither 0 nor 1, where quantile functions may have poles.

    JAX's uniform draws are multiples of the machine epsilon, including 0. These draws
    lie halfway between them.
    """
    half_step = np.finfo(dtype).eps / np.asarray(2, dtype)
    return jax.random.uniform(key, shape, dtype) + half_step


def tail_uniform(key: Array, shape: Shape, dtype: Any) -> tuple[Array, Array]:
    """Uniform draws, as the half they fall into and the distance from its outer end.

    No random bit is lost, and the tail has its own exponent. So a quantile function is
    as fine in both tails as the bits allow: 2**-33 in 32 bits, while JAX's uniform
    draws are multiples of 2**-23.

    Returns:
        ``(upper, tail)`` with 0 < tail <= 1/2: the draw is ``1 - tail`` where ``upper``
        and ``tail`` elsewhere.
    """
    bits = np.finfo(dtype).bits
    drawn = jax.random.bits(key, shape, f"uint{bits}")
    half = np.array(1 << (bits - 1), drawn.dtype)
    rest = (drawn & (half - np.ones_like(half))).astype(dtype)
    return drawn >= half, (rest + 0.5) * 0.5**bits


def both_sides(upper: Array, tail: Array) -> tuple[Array, Array]:
    """The probabilities below and above a `tail_uniform` draw."""
    return jnp.where(upper, 1 - tail, tail), jnp.where(upper, tail, 1 - tail)


def standard_exponential(key: Array, shape: Shape, dtype: Any) -> Array:
    """Positive exponential draws that are fine in both tails."""
    upper, tail = tail_uniform(key, shape, dtype)
    return jnp.where(upper, -jnp.log(tail), -jnp.log1p(-tail))


def truncated_exponential(upper: Array, tail: Array, bound: Array) -> Array:
    """The quantile of an exponential distribution truncated at ``bound``.

    Inverts F(x) = expm1(-x) / expm1(-bound) at a `tail_uniform`. If the bound is far,
    the upper tail of F is measured from its own end.
    """
    far = upper & (bound > 1)
    from_above = jnp.exp(-bound) - tail * jnp.expm1(-bound)
    u = jnp.where(far, 0, jnp.where(upper, 1 - tail, tail))
    from_below = -jnp.log1p(u * jnp.expm1(-bound))
    return jnp.minimum(jnp.where(far, -jnp.log(from_above), from_below), bound)


def non_negative(x: Array) -> Array:
    """``x``, or nan where it is negative. Like NumPy, it rejects -0 too."""
    return jnp.where(jnp.signbit(x), jnp.nan, x)


def positive(x: Array) -> Array:
    """``x``, or nan where it is not positive."""
    return jnp.where(x > 0, x, jnp.nan)


def hazard_excess(x: Array) -> Array:
    """The hazard of a normal, phi(x) / Phi(-x), minus x, for x >= 0."""
    far = x > FAR
    near = jnp.where(far, 0, x)
    hazard = math.sqrt(2 / math.pi) / erfcx(near * math.sqrt(0.5))
    excess = far_hazard_excess(jnp.where(far, x, FAR))
    return jnp.where(far, excess, hazard - near)


def far_hazard_excess(x: Array) -> Array:
    """`hazard_excess` for x >= FAR, by Laplace's continued fraction 1 / (x + 2 / (x + 3
    / (x + ...))), DLMF 7.9.3, which does not cancel."""
    fraction = jnp.zeros_like(x)
    for k in range(20 if x.dtype == np.float64 else 8, 0, -1):
        fraction = k / (x + fraction)
    return fraction


def rejection(key: Array, propose: Propose, start: Array) -> Array:
    """Draws from ``propose(key) -> (draw, accepted)``, repeated until all are accepted.

    Where ``start`` is nan, the draw is nan and no proposal is needed.
    """

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, draw, done = state
        key, subkey = jax.random.split(key)
        proposal, accepted = propose(subkey)
        return key, jnp.where(done, draw, proposal), done | accepted

    state = (key, start, jnp.isnan(start))
    return while_loop(lambda s: ~jnp.all(s[2]), step, state)[1]
