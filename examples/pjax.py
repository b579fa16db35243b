"""Programs without keys: a state-space simulator in plain JAX, seeded and conditioned.

The program says how the flow of a river is drawn: a level that walks, and noise around
it. It takes no key. `jaxlink.seed` turns it into a function of a key, `jax.vmap` runs
it many times, and `jaxlink.pjax.condition` gives it data. The log density of what is
left goes to BlackJAX's NUTS.

    uv run examples/pjax.py
"""

from collections.abc import Sequence
from typing import Any

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, band, parse, print_summary, print_table, save
from state_space import FLOW, YEARS
from xarray import DataArray

import jaxlink
from jaxlink import pjax

jax.config.update("jax_enable_x64", True)


def simulate(n_years: int) -> jax.Array:
    """The flow of ``n_years``, in 10^8 m^3."""
    step = pjax.halfnormal(0.0, 40.0, name="step")
    noise = pjax.halfnormal(0.0, 200.0, name="noise")

    def year(level: Any, _: Any) -> Any:
        level = pjax.normal(level, step, name="level")
        return level, pjax.normal(level, noise, name="flow")

    first = pjax.normal(1000.0, 300.0, name="first")
    return jax.lax.scan(year, first, length=n_years)[1]


def posterior_density(flow: jax.Array) -> Any:
    """The log density of the program's draws given the flow, by the logarithms of the
    scales and standardized innovations of the level."""
    density = pjax.log_density(pjax.condition(simulate, {"flow": flow}))

    def unconstrained(position: dict[str, jax.Array]) -> jax.Array:
        return density(draws_at(position), len(flow)) + log_jacobian(position)

    return unconstrained


def draws_at(position: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The draws of the program at an unconstrained position."""
    step, noise = jnp.exp(position["log_step"]), jnp.exp(position["log_noise"])
    first = 1000 + 300 * position["first"]
    level = first + jnp.cumsum(step * position["innovation"])
    return {"step": step, "noise": noise, "first": first, "level": level}


def log_jacobian(position: dict[str, jax.Array]) -> jax.Array:
    n_years = position["innovation"].size
    return (n_years + 1) * position["log_step"] + position["log_noise"]


def nuts(key: jax.Array, density: Any, n_years: int, options: Any) -> Any:
    """Chains of BlackJAX's NUTS, one for each key."""
    start = {
        "log_step": jnp.log(20.0),
        "log_noise": jnp.log(100.0),
        "first": jnp.zeros(()),
        "innovation": jnp.zeros(n_years),
    }

    def chain(key: jax.Array) -> Any:
        tune_key, draw_key = jax.random.split(key)
        warmup = blackjax.window_adaptation(
            blackjax.nuts, density, target_acceptance_rate=0.95
        )
        (state, parameters), _ = warmup.run(tune_key, start, num_steps=options.tune)
        kernel = blackjax.nuts(density, **parameters)

        def step(state: Any, key: jax.Array) -> Any:
            state, info = kernel.step(key, state)
            return state, (state.position, info.is_divergent)

        return jax.lax.scan(step, state, jax.random.split(draw_key, options.draws))[1]

    return jax.jit(jax.vmap(chain))(jax.random.split(key, options.chains))


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    n_years, flow = len(YEARS), jnp.asarray(FLOW, float)
    print_table(
        "The draws of the program",
        ["name", "sampler", "shape"],
        [(d.name, d.sampler, str(d.shape)) for d in pjax.draws(simulate)(n_years)],
    )

    prior_key, chain_key, future_key = jax.random.split(jax.random.key(options.seed), 3)
    # Many runs: the program is a function of a key, so vmap maps it over keys.
    run = jaxlink.seed(lambda: simulate(n_years))
    prior = jax.jit(jax.vmap(run))(jax.random.split(prior_key, options.draws))

    # Given data: what is left of the program has a density.
    positions, diverges = nuts(chain_key, posterior_density(flow), n_years, options)
    draws = jax.vmap(jax.vmap(draws_at))(positions)
    groups = {"posterior": draws, "sample_stats": {"diverging": diverges}}
    idata = az.from_dict(jax.device_get(groups))
    print_summary("The posterior", idata, ["step", "noise", "first"])

    # Replaced draws: the same program, with the levels and noises of the posterior.
    def again(key: jax.Array, draw: dict[str, jax.Array]) -> jax.Array:
        program = pjax.replace(lambda: simulate(n_years), draw)
        return jaxlink.seed(program)(key)

    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), draws)
    keys = jax.random.split(future_key, len(flat["step"]))
    replicated = jax.jit(jax.vmap(again))(keys, flat)

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for ax, runs, title in (
        (axes[0], prior, "Prior: the program as it stands"),
        (axes[1], replicated, "Posterior: conditioned on the flow"),
    ):
        bands = DataArray(np.asarray(runs)[None], dims=("chain", "draw", "year"))
        band(ax, YEARS, bands, BLUE, "flow")
        ax.plot(YEARS, FLOW, "o", color="black", ms=3, label="seen")
        ax.set_title(title)
        ax.set_xlabel("year")
    axes[0].set_ylim(-500, 2500)
    axes[0].set_ylabel("flow of the Nile (10^8 m^3 a year)")
    axes[1].legend()
    save(figure, options, "pjax")


if __name__ == "__main__":
    main()
