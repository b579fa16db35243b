"""Stochastic volatility: how calm or nervous was the market on each day?

The script simulates 250 daily returns whose volatility changes from day to day, so the
truth is known. In the model, the log volatility is a random walk with one variable per
day. The figure compares NUTS's estimate with the true volatility.

    uv run examples/stochastic_volatility.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREY, band, parse, print_summary, save

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

DAYS = 250


def simulate() -> tuple[np.ndarray, np.ndarray]:
    """Daily returns in per cent, and their true volatility."""
    rng = np.random.default_rng(3)
    logs = np.zeros(DAYS)
    for day in range(1, DAYS):
        logs[day] = 0.98 * logs[day - 1] + rng.normal(0, 0.15)
    return np.exp(logs) * rng.standard_t(10, DAYS), np.exp(logs)


def build_model(returns: np.ndarray) -> pm.Model:
    with pm.Model(coords={"day": range(DAYS)}) as model:
        first = pm.Normal("first", 0, 1)
        step = pm.Exponential("step", 10)
        # Sample the walk's innovations: they are almost independent a posteriori.
        innovation = pm.Normal("innovation", 0, 1, dims="day")
        logs = first + step * pm.math.cumsum(innovation)
        volatility = pm.Deterministic("volatility", pm.math.exp(logs), dims="day")
        nu = pm.Gamma("nu", 2, 0.1)
        pm.StudentT("returns", nu, sigma=volatility, observed=returns, dims="day")
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv, draws=500, tune=500)
    returns, truth = simulate()
    with build_model(returns):
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    print_summary("Stochastic volatility", idata, ["step", "nu"])
    volatility = idata["posterior"]["volatility"]
    low, high = volatility.quantile([0.055, 0.945], ("chain", "draw")).values
    share = np.mean((low < truth) & (truth < high))

    figure, ax = plt.subplots(figsize=(9, 4.5))
    ax.bar(range(DAYS), np.abs(returns), color=GREY, alpha=0.6, label="|return|")
    band(ax, range(DAYS), volatility, BLUE, "volatility")
    ax.plot(truth, color="black", lw=1.2, ls="--", label="true volatility")
    ax.set_title(f"The band holds the true volatility on {share:.0%} of days")
    ax.set_xlabel("day")
    ax.set_ylabel("per cent")
    ax.set_xlim(0, DAYS)
    ax.set_ylim(0, 1.3 * high.max())
    ax.legend()
    save(figure, options, "stochastic_volatility")


if __name__ == "__main__":
    main()
