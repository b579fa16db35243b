"""Your own sampler: how likely was damage to the Challenger's O-rings?

The data are 23 flights of the space shuttle, their temperatures, and whether an O-ring
was damaged (Dalal et al., 1989). The Challenger took off at 31 °F. The model's log
density is a JAX function of a dict, so it works with any code that takes one: a
hand-written Metropolis sampler, vmapped over 500 chains; BlackJAX's NUTS; and Optax,
which finds the mode for a normal approximation with `jax.hessian`.

    uv run examples/own_sampler.py
"""

from collections.abc import Callable, Sequence

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pymc as pm
from common import BLUE, GREEN, GREY, ORANGE, band, parse, print_table, save
from xarray import DataArray

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

DEGREES = np.array(  # F
    [
        *(66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78),
        *(67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58),
    ]
)
DAMAGED = np.array(
    [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
)
CHAINS = 500  # for Metropolis

Density = Callable[[jax.Array], jax.Array]  # takes a vector


def build_model() -> pm.Model:
    with pm.Model(coords={"flight": range(1, 24)}) as model:
        at_70 = pm.Normal("at_70", 0, 2)  # log odds
        slope = pm.Normal("slope", 0, 0.5)  # per degree
        logit = at_70 + slope * (DEGREES - 70)
        pm.Bernoulli("damaged", logit_p=logit, observed=DAMAGED, dims="flight")
    return model


def metropolis(
    key: jax.Array, density: Density, start: jax.Array, scale: jax.Array, steps: int
) -> jax.Array:
    """One chain of random-walk Metropolis with normal steps."""

    def step(state, key):
        x, log_p = state
        move, accept = jax.random.split(key)
        new = x + scale * jax.random.normal(move, x.shape)
        new_log_p = density(new)
        is_accepted = jnp.log(jax.random.uniform(accept)) < new_log_p - log_p
        x = jnp.where(is_accepted, new, x)
        return (x, jnp.where(is_accepted, new_log_p, log_p)), x

    keys = jax.random.split(key, steps)
    return jax.lax.scan(step, (start, density(start)), keys)[1]


def nuts(
    key: jax.Array,
    density: Callable,
    start: dict[str, jax.Array],
    tune: int,
    draws: int,
) -> dict[str, jax.Array]:
    """One chain of BlackJAX's NUTS, which takes a function of a dict directly."""
    tune_key, draw_key = jax.random.split(key)
    warmup = blackjax.window_adaptation(blackjax.nuts, density)
    (state, parameters), _ = warmup.run(tune_key, start, num_steps=tune)
    kernel = blackjax.nuts(density, **parameters)

    def step(state, key):
        state, _ = kernel.step(key, state)
        return state, state.position

    return jax.lax.scan(step, state, jax.random.split(draw_key, draws))[1]


def mode(density: Density, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Find the mode with Optax's Adam, and the covariance of a normal at the mode."""
    optimizer = optax.adam(0.05)

    def step(state, _):
        x, memory = state
        updates, memory = optimizer.update(-jax.grad(density)(x), memory)
        return (optax.apply_updates(x, updates), memory), None

    (x, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=2000)
    return x, jnp.linalg.inv(-jax.hessian(density)(x))


def draw_slopes(ax: plt.Axes, draws: dict[str, jax.Array]) -> None:
    bins = np.linspace(-0.8, 0.2, 31)
    for (name, vectors), colour in zip(
        draws.items(), (ORANGE, BLUE, GREEN), strict=True
    ):
        slopes = np.ravel(vectors[..., 1])
        ax.hist(
            slopes, bins, density=True, histtype="step", color=colour, lw=2, label=name
        )
    ax.set_xlabel("slope of the log odds (1/°F)")
    ax.set_ylabel("posterior density (°F)")
    ax.set_title("The samplers agree, the normal misses the skew")
    ax.legend(loc="upper left")


def draw_risk(ax: plt.Axes, draws: dict[str, jax.Array]) -> None:
    degrees = np.linspace(28, 84, 100)
    at_70, slope = (np.asarray(draws[name])[..., None] for name in ("at_70", "slope"))
    risk = jax.nn.sigmoid(at_70 + slope * (degrees - 70))
    band(ax, degrees, DataArray(risk, dims=("chain", "draw", "x")), BLUE, "probability")
    ax.plot(DEGREES, DAMAGED, "|", color="black", ms=10, label="flights")
    ax.axvline(31, color=GREY, ls="--", label="the Challenger's last launch")
    ax.set_xlabel("temperature (°F)")
    ax.set_ylabel("probability of a damaged O-ring")
    ax.set_title("At 31 °F damage was almost certain")
    ax.legend(loc=(0.12, 0.02))


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    model = build_model()
    density, flat = jp.logdensity(model), jp.ravel(model)
    start = jp.initial_position(model)(jax.random.key(options.seed))
    keys = jax.random.split(jax.random.key(options.seed), 3)

    def of_vector(x: jax.Array) -> jax.Array:
        return density(flat.unravel(x))

    top, covariance = jax.jit(lambda x: mode(of_vector, x))(flat.ravel(start))
    scale = 1.7 * jnp.sqrt(jnp.diag(covariance))
    walk = jax.vmap(lambda k: metropolis(k, of_vector, top, scale, options.tune))
    walked = jax.jit(walk)(jax.random.split(keys[0], CHAINS))[:, options.tune // 2 :]
    run = jax.vmap(lambda k: nuts(k, density, start, options.tune, options.draws))
    drawn = jax.jit(run)(jax.random.split(keys[1], options.chains))
    normal = jax.random.multivariate_normal(keys[2], top, covariance, (1, 4000))

    draws = {
        "Metropolis": walked,
        "NUTS (BlackJAX)": jax.vmap(jax.vmap(flat.ravel))(drawn),
        "normal (Optax)": normal,
    }
    rows = []
    for name, vectors in draws.items():
        mean, sd = vectors.mean((0, 1)), vectors.std((0, 1))
        worst = max(az.rhat(np.asarray(vectors[..., i])) for i in range(2))
        risk = jax.nn.sigmoid(vectors[..., 0] + vectors[..., 1] * (31 - 70)).mean()
        rhat = f"{worst:.3f}" if len(vectors) > 1 else ""
        rows.append((name, mean[0], sd[0], mean[1], sd[1], risk, rhat))
    columns = ["", "mean", "sd", "slope", "sd", "P(31 °F)", "R-hat"]
    print_table(
        "Log odds of damage at 70 °F, slope per °F, probability at 31 °F", columns, rows
    )

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5))
    draw_slopes(axes[0], draws)
    draw_risk(axes[1], drawn)
    save(figure, options, "own_sampler")


if __name__ == "__main__":
    main()
