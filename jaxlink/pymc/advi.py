"""Automatic differentiation variational inference: the family, its ELBO, the steps.

The posterior of a flat unconstrained vector z is approximated by a normal distribution
q, whose scale is diagonal (mean field) or a Cholesky factor (full rank). With
z = mean + scale e and e standard normal, the ELBO is E[log p(z) - log q(z)], and its
gradient is taken through z only: the part through the parameters of q within log q has
expectation zero, and without it the noise of the gradient vanishes as q approaches the
posterior.

Kucukelbir, Tran, Ranganath, Gelman, Blei (2017). Automatic Differentiation Variational
Inference. JMLR 18(14).
Roeder, Wu, Duvenaud (2017). Sticking the Landing. NeurIPS 30.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.linalg import solve_triangular

__all__ = ["Parameters", "State", "advance", "log_q", "noise", "place", "sigma_to_rho"]

LogDensity = Callable[[jax.Array, jax.Array], jax.Array]


class Parameters(NamedTuple):
    """What is optimized. The standard deviations (mean field: ``rho`` of shape (d,)) or
    the diagonal of the Cholesky factor (full rank: (d, d)) are softplus(rho)."""

    mean: jax.Array
    rho: jax.Array

    @property
    def scale(self) -> jax.Array:
        """Standard deviations, or the lower Cholesky factor of the covariance."""
        if self.rho.ndim == 1:
            return jax.nn.softplus(self.rho)
        diagonal = jax.nn.softplus(jnp.diagonal(self.rho))
        return jnp.tril(self.rho, -1) + jnp.diag(diagonal)


def sigma_to_rho(sigma: jax.Array) -> jax.Array:
    """The inverse of softplus."""
    return sigma + jnp.log(-jnp.expm1(-sigma))


def noise(key: jax.Array, samples: int, mean: jax.Array) -> jax.Array:
    """Standard normal draws, one a row."""
    return jax.random.normal(key, (samples, *mean.shape), mean.dtype)


def place(mean: jax.Array, scale: jax.Array, e: jax.Array) -> jax.Array:
    """Draws of q from standard normal ones; (..., d) to (..., d)."""
    return mean + (e * scale if scale.ndim == 1 else e @ scale.T)


def log_q(mean: jax.Array, scale: jax.Array, z: jax.Array) -> jax.Array:
    """The log density of q at each row of ``z``."""
    if scale.ndim == 1:
        e, diagonal = (z - mean) / scale, scale
    else:
        e = solve_triangular(scale, (z - mean).T, lower=True).T
        diagonal = jnp.diagonal(scale)
    constant = jnp.sum(jnp.log(diagonal)) + mean.size * (0.5 * math.log(2 * math.pi))
    return -0.5 * jnp.sum(e**2, axis=-1) - constant


def negative_elbo(
    parameters: Parameters, log_p: LogDensity, samples: int, key: jax.Array
) -> jax.Array:
    """An estimate by ``samples`` draws of q, all with the same minibatch."""
    of_noise, of_batch = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    mean, scale = parameters.mean, parameters.scale
    z = place(mean, scale, noise(of_noise, samples, mean))
    if samples == 1:
        log_joint = log_p(of_batch, z[0])[None]
    else:
        log_joint = jax.vmap(log_p, (None, 0))(of_batch, z)
    held = jax.lax.stop_gradient((mean, scale))
    return jnp.mean(log_q(*held, z) - log_joint)


class State(NamedTuple):
    """Where the optimization stands: the parameters, the optimizer's own state, the
    number of steps done, and whether the next step gives NaN."""

    parameters: Parameters
    optimizer: Any
    step: jax.Array
    failed: jax.Array


@partial(jax.jit, static_argnames=("optimizer", "samples", "capacity"))
def advance(
    log_p: Any,
    state: State,
    key: jax.Array,
    steps: jax.Array,
    *,
    optimizer: optax.GradientTransformation,
    samples: int,
    capacity: int,
) -> tuple[State, jax.Array]:
    """Make up to ``steps`` steps, and stop before one that gives NaN.

    One program serves any number of steps, so where a run pauses changes no bit of it.

    Returns:
        The new state, and the losses of the steps in the first places of a vector of
        length ``capacity``.
    """

    first = state.step

    def unfinished(carry: tuple[State, jax.Array]) -> jax.Array:
        state, _ = carry
        return (state.step < first + steps) & ~state.failed

    def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, losses = carry
        loss, gradient = jax.value_and_grad(negative_elbo)(
            state.parameters, log_p, samples, jax.random.fold_in(key, state.step)
        )
        with jax.numpy_dtype_promotion("standard"):  # Optax needs it
            updates, optimizer_state = optimizer.update(
                gradient, state.optimizer, state.parameters
            )
            parameters = optax.apply_updates(state.parameters, updates)
        sound = ~jnp.isnan(loss)
        for leaf in parameters:
            sound &= jnp.isfinite(leaf).all()
        new = State(parameters, optimizer_state, state.step + 1, state.failed)
        old = state._replace(failed=~sound)
        chosen = jax.tree.map(partial(jnp.where, sound), new, old)
        return chosen, losses.at[state.step - first].set(loss)

    losses = jnp.zeros(capacity, state.parameters.mean.dtype)
    return jax.lax.while_loop(unfinished, step, (state, losses))
