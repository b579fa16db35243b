"""What samplers share: tails in full precision, open intervals, and rejection."""

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

# From here on a normal's tail is taken by an expansion of its own.
FAR = 6


def open_uniform(key: Array, shape: Shape, dtype: Any) -> Array:
    """Uniform draws that are neither 0 nor 1, where quantile functions may have poles:
    JAX's are multiples of the machine epsilon from 0 on, these lie in between."""
    half_step = np.finfo(dtype).eps / np.asarray(2, dtype)
    return jax.random.uniform(key, shape, dtype) + half_step


def tail_uniform(key: Array, shape: Shape, dtype: Any) -> tuple[Array, Array]:
    """Uniform draws as the half that they fall into and the distance from its end.

    ``(upper, tail)``: the draw is ``1 - tail`` if ``upper``, else ``tail``, and 0 <
    tail <= 1/2. No random bit is lost and the tail has its own exponent, so a quantile
    function of it is as fine in both of its tails as bits allow: 2**-33 in 32 bits,
    where JAX's uniform draws are multiples of 2**-23, and where the smallest of them
    stand for all that is below.
    """
    bits = np.finfo(dtype).bits
    drawn = jax.random.bits(key, shape, f"uint{bits}")
    half = np.array(1 << (bits - 1), drawn.dtype)
    rest = (drawn & (half - np.ones_like(half))).astype(dtype)
    return drawn >= half, (rest + 0.5) * 0.5**bits


def standard_exponential(key: Array, shape: Shape, dtype: Any) -> Array:
    """Exponential draws that are fine in both tails, and positive."""
    upper, tail = tail_uniform(key, shape, dtype)
    return jnp.where(upper, -jnp.log(tail), -jnp.log1p(-tail))


def truncated_exponential(upper: Array, tail: Array, bound: Array) -> Array:
    """The quantile at a `tail_uniform` of the exponential distribution below ``bound``.

    Inverts F(x) = expm1(-x) / expm1(-bound). If the bound is far, the upper tail of F
    is measured from its own end.
    """
    far = upper & (bound > 1)
    from_above = jnp.exp(-bound) - tail * jnp.expm1(-bound)
    u = jnp.where(far, 0, jnp.where(upper, 1 - tail, tail))
    from_below = -jnp.log1p(u * jnp.expm1(-bound))
    return jnp.minimum(jnp.where(far, -jnp.log(from_above), from_below), bound)


def non_negative(x: Array) -> Array:
    """``x``, or nan where it is negative. NumPy refuses -0 too."""
    return jnp.where(jnp.signbit(x), jnp.nan, x)


def positive(x: Array) -> Array:
    """``x``, or nan where it is not positive."""
    return jnp.where(x > 0, x, jnp.nan)


def hazard_excess(x: Array) -> Array:
    """What the hazard phi(x) / Phi(-x) of a normal exceeds x by, for x >= 0."""
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


def rejection(
    key: Array, propose: Callable[[Array], tuple[Array, Array]], start: Array
) -> Array:
    """Draws of ``propose(key) -> (draw, accepted)``, repeated until all are accepted.

    Where ``start`` is nan the draw is nan, and nothing is tried.
    """

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, draw, done = state
        key, subkey = jax.random.split(key)
        proposal, accepted = propose(subkey)
        return key, jnp.where(done, draw, proposal), done | accepted

    state = (key, start, jnp.isnan(start))
    return while_loop(lambda s: ~jnp.all(s[2]), step, state)[1]
