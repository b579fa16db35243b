"""Automatic differentiation variational inference: the family, its ELBO, the steps.

The posterior of a flat unconstrained vector z is approximated by a normal distribution
q, whose scale S is diagonal (mean field) or a Cholesky factor (full rank). With
z = mean + S e and e standard normal, the ELBO is E[log p(z) - log q(z)]. It and its
gradient are estimated from draws of e in pairs of opposite sign, which makes the
estimated mean of a normal posterior exact.

The part of the gradient that comes from the parameters within log q has expectation
zero. The mean field leaves it out, so the noise vanishes as q approaches the posterior.
With a Cholesky factor this would put the factor's inverse into the gradient, which can
blow up in many dimensions, so the full rank keeps it.

BlackJAX's own fits draw no pairs. After 10,000 steps their means of a normal posterior
are off by 0.05 to 0.7 standard deviations, where these are exact. See
`benchmarks/variational.py`.

Kucukelbir, Tran, Ranganath, Gelman, Blei (2017). Automatic Differentiation Variational
Inference. JMLR 18(14).
Roeder, Wu, Duvenaud (2017). Sticking the Landing. NeurIPS 30.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from optax import GradientTransformation

__all__ = [
    "LogDensity",
    "Parameters",
    "State",
    "advance",
    "negative_elbo",
    "shift_and_scale",
    "step_draws",
]

# (key, vector) -> scalar
LogDensity = Callable[[jax.Array, jax.Array], jax.Array]


class Parameters(NamedTuple):
    """The parameters that are optimized.

    The standard deviations of a mean field are softplus(rho), with rho of shape (d,).
    The Cholesky factor of a full rank is diag(s) T, where s is the softplus of the
    diagonal of rho, of shape (d, d), and T has a unit diagonal and the entries of rho
    below it. So they have no units, and one step length suits all of them.
    """

    mean: jax.Array
    rho: jax.Array

    @classmethod
    def at(cls, mean: jax.Array, sigma: jax.Array, is_full: bool) -> "Parameters":
        """An uncorrelated normal distribution; ``mean`` and ``sigma`` of shape (d,)."""
        rho = sigma + jnp.log(-jnp.expm1(-sigma))
        return cls(mean, jnp.diag(rho) if is_full else rho)

    @property
    def scale(self) -> jax.Array:
        """Standard deviations, or the lower Cholesky factor of the covariance."""
        if self.rho.ndim == 1:
            return jax.nn.softplus(self.rho)
        below = jnp.tril(self.rho, -1) + jnp.eye(self.mean.size, dtype=self.rho.dtype)
        return jax.nn.softplus(jnp.diagonal(self.rho))[:, None] * below


def shift_and_scale(mean: jax.Array, scale: jax.Array, e: jax.Array) -> jax.Array:
    """Draws of q from standard normal ones; both of shape (..., d)."""
    return mean + (e * scale if scale.ndim == 1 else e @ scale.T)


def step_draws(
    parameters: Parameters, samples: int, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The draws of a step: the key of its minibatch, e, and z; (samples, d) each."""
    mean = parameters.mean
    of_noise, of_batch = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    half = jax.random.normal(of_noise, (-(-samples // 2), mean.size), mean.dtype)
    e = jnp.concatenate([half, -half])[:samples]
    return of_batch, e, shift_and_scale(mean, parameters.scale, e)


def negative_elbo(
    parameters: Parameters, log_p: LogDensity, samples: int, key: jax.Array
) -> jax.Array:
    """An estimate from draws of q, which share one minibatch."""
    of_batch, e, z = step_draws(parameters, samples, key)
    if samples == 1:  # a density under vmap may cost more: it takes both branches
        log_joint = log_p(of_batch, z[0])[None]
    else:
        log_joint = jax.vmap(log_p, (None, 0))(of_batch, z)
    scale = parameters.scale
    if scale.ndim == 1:
        mean, scale = jax.lax.stop_gradient((parameters.mean, scale))
        e = (z - mean) / scale
    diagonal = scale if scale.ndim == 1 else jnp.diagonal(scale)
    log_q = -0.5 * jnp.sum(e**2 + math.log(2 * math.pi), axis=1)
    log_q -= jnp.sum(jnp.log(diagonal))
    return jnp.mean(log_q - log_joint.astype(log_q.dtype))


class State(NamedTuple):
    """The state of the optimization: the parameters, the optimizer's own state, the
    number of steps made, and whether the next step gave NaN."""

    parameters: Parameters
    optimizer: Any
    step: jax.Array
    failed: jax.Array


def advance(
    log_p: Any,
    state: State,
    key: jax.Array,
    steps: jax.Array,
    *,
    optimizer: "GradientTransformation",
    samples: int,
    capacity: int,
) -> tuple[State, jax.Array]:
    """Make up to ``steps`` steps, and stop before one that gives NaN.

    One program serves any number of steps, so pauses do not change a bit of the result.
    Step *i* uses the key ``fold_in(key, i)``.

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
            parameters = jax.tree.map(jnp.add, state.parameters, updates)
        sound = ~jnp.isnan(loss)
        for leaf in parameters:
            sound &= jnp.isfinite(leaf).all()
        new = State(parameters, optimizer_state, state.step + 1, state.failed)
        old = state._replace(failed=~sound)
        chosen = jax.tree.map(partial(jnp.where, sound), new, old)
        return chosen, losses.at[state.step - first].set(loss)

    losses = jnp.zeros(capacity, state.parameters.mean.dtype)
    return jax.lax.while_loop(unfinished, step, (state, losses))
