"""What samplers share: open intervals, and rejection."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Shape = tuple[int, ...]


def open_uniform(key: Array, shape: Shape, dtype: Any) -> Array:
    """Uniform draws that are neither 0 nor 1, where quantile functions may have poles:
    JAX's are multiples of the machine epsilon from 0 on, these lie in between."""
    half_step = np.finfo(dtype).eps / np.asarray(2, dtype)
    return jax.random.uniform(key, shape, dtype) + half_step


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
    return jax.lax.while_loop(lambda s: ~jnp.all(s[2]), step, state)[1]
