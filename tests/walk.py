"""A sampler for tests of what surrounds samplers: it compiles in no time."""

import jax
import jax.numpy as jnp

from jaxlink.pymc.mcmc.kernels import Kernel
from jaxlink.pymc.mcmc.sample import sample

SCALE = 0.01


def walk(tune, target_accept, options):
    """A kernel that adds noise, and diverges at every fifth step."""
    del tune, target_accept, options

    def init(log_density, start, key):
        del log_density, key
        return dict(start.position)

    def step(log_density, state, key, t):
        for number, name in enumerate(sorted(state)):
            own, shape = jax.random.fold_in(key, number), state[name].shape
            state = state | {name: state[name] + SCALE * jax.random.normal(own, shape)}
        number = jnp.asarray(t, int)
        stats = {
            "diverging": number % 5 == 0,
            "step_size": jnp.asarray(SCALE),
            "acceptance_rate": jnp.asarray(1.0),
            "energy": jnp.asarray(0.0),
            "lp": log_density(state),
            "tree_depth": number,
            "n_steps": number,
            "reached_max_treedepth": number < 0,
        }
        return state, state, stats

    return Kernel(init, step, by_name=True)


# A quiet run.
SETTINGS = {
    "tune": 10,
    "chains": 2,
    "random_seed": 1,
    "progressbar": False,
    "compute_convergence_checks": False,
}


def walked(draws=20, **kwargs):
    """A quiet run of the walk."""
    return sample(draws, **(SETTINGS | kwargs))
