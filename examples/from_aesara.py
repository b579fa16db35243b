"""An old model in Aesara, and a whole workflow that starts from it.

The model is a sparse logistic regression with a horseshoe prior, built with Aesara and
AePPL in `examples/aesara/horseshoe.py`. Its graphs were exported there, in an
environment that jaxlink cannot share, and are read here: one of draws from the prior,
one of the joint log density. They become three JAX functions: the prior, the density,
and predictions, which are the prior's graph cut at the coefficients. Each takes one key
first, if it draws, and no dictionary, and returns no updated key. So `jax.vmap` and
BlackJAX take them as they are.

    uv run examples/from_aesara.py
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, GREY, ORANGE, parse, print_summary, print_table, save
from own_sampler import nuts

import jaxlink

jax.config.update("jax_enable_x64", True)

GRAPHS = Path(__file__).parent / "aesara"
# What the data are simulated with: most coefficients are zero.
TRUE_BETA = np.array([0, 2.5, 0, 0, -2, 0, 0, 0])
ROWS = 200

Position = dict[str, jax.Array]


def compile_workflow() -> tuple[Callable, Callable, Callable]:
    """The prior, the log density, and predictions."""
    inputs, drawn = jaxlink.from_aesara(GRAPHS / "prior.aesara")
    prior = jaxlink.function(inputs, drawn, name="prior")
    predict = jaxlink.function([*inputs, drawn["beta"]], drawn["Y"], name="predict")
    inputs, logp = jaxlink.from_aesara(GRAPHS / "density.aesara")
    return prior, jaxlink.function(inputs, logp, name="log_density"), predict


def print_by_hand(density: Callable, prior: Callable) -> None:
    """The density and its gradient where they can be computed by hand."""
    X, one = jnp.ones((3, 2)), jnp.ones(2)
    values = X, 1.0, one, one, jnp.ones(3, int)
    slope = jax.grad(density)(*values)
    draws = jax.vmap(prior, (0, None))(jax.random.split(jax.random.key(0), 100), X)
    rows = [
        ("log density", f"{density(*values):.8f}"),
        ("each entry of its gradient", f"{slope[0, 0]:.8f}"),
        ("shape of 100 draws of Y", str(draws["Y"].shape)),
    ]
    print_table("At ones everywhere", ["", "value"], rows)


def posterior_of(density: Callable, X: jax.Array, Y: jax.Array) -> Callable:
    """The log density of a position, with the scales in logarithms.

    The density of log(tau) is that of tau, times the derivative of exp, which is tau.
    """

    def log_posterior(position: Position) -> jax.Array:
        log_tau, log_lambda = position["log_tau"], position["log_lambda"]
        tau, scales = jnp.exp(log_tau), jnp.exp(log_lambda)
        # beta is tau * lambda * z, so that no dimension is much wider than others.
        beta = position["z"] * tau * scales
        jacobian = log_tau + log_lambda.sum() + (log_tau + log_lambda).sum()
        return density(X, tau, scales, beta, Y) + jacobian

    return log_posterior


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    prior, density, predict = compile_workflow()
    print_by_hand(density, prior)

    of_data, of_prior, of_chains, of_predictions = jax.random.split(
        jax.random.key(options.seed), 4
    )
    of_x, of_y = jax.random.split(of_data)
    X = jax.random.normal(of_x, (ROWS, len(TRUE_BETA)))
    Y = predict(of_y, X, jnp.asarray(TRUE_BETA))

    log_posterior = posterior_of(density, X, Y)

    def chain(key: jax.Array) -> Position:
        first, rest = jax.random.split(key)
        size = len(TRUE_BETA)
        start = {"log_tau": -1.0, "log_lambda": jnp.zeros(size), "z": jnp.zeros(size)}
        noise = jax.random.uniform(first, (), minval=-0.5, maxval=0.5)
        start = jax.tree.map(lambda x: x + noise, start)
        return nuts(rest, log_posterior, start, options.tune, options.draws)

    drawn = jaxlink.run_chains(chain, of_chains, options.chains)
    tau, scales = jnp.exp(drawn["log_tau"]), jnp.exp(drawn["log_lambda"])
    beta = drawn["z"] * tau[..., None] * scales
    idata = az.from_dict(
        {"posterior": {"tau": np.asarray(tau), "beta": np.asarray(beta)}},
    )
    print_summary("Posterior of the horseshoe regression", idata, ["tau", "beta"])

    keys = jax.random.split(of_prior, 2000)
    before = jax.vmap(prior, (0, None))(keys, X)["Y"].mean(0)
    flat = beta.reshape(-1, len(TRUE_BETA))
    keys = jax.random.split(of_predictions, len(flat))
    after = jax.vmap(predict, (0, None, 0))(keys, X, flat).mean(0)

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    low, middle, high = np.quantile(flat, [0.055, 0.5, 0.945], axis=0)
    places = np.arange(len(TRUE_BETA))
    axes[0].vlines(places, low, high, color=BLUE, lw=3, label="89 % interval")
    axes[0].plot(places, middle, "o", color=BLUE)
    axes[0].plot(places, TRUE_BETA, "x", color="black", ms=8, label="true")
    axes[0].set(xlabel="coefficient", ylabel="beta")
    axes[0].set_title("Most coefficients are pulled to zero")
    axes[0].legend()
    score = np.asarray(X @ TRUE_BETA)
    axes[1].plot(score, before, ".", color=GREY, label="prior")
    axes[1].plot(score, after, ".", color=ORANGE, label="posterior")
    axes[1].plot(score, Y, "|", color="black", label="observed")
    axes[1].set(xlabel="X times the true beta", ylabel="probability of a one")
    axes[1].set_title("Predictions, before and after the data")
    axes[1].legend(loc=(0.68, 0.6))
    save(figure, options, "from_aesara")


if __name__ == "__main__":
    main()
