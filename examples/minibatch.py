"""Minibatches: is a fit to 200 rows at a time as good as NUTS on all 20,000?

This is a robust regression on simulated data. With `pm.Minibatch`, each step of
variational inference (ADVI) reads a random part of the data; NUTS reads all of them for
each gradient. The figure compares both posteriors with each other and with the truth.

    uv run examples/minibatch.py
"""

from collections.abc import Sequence
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREY, ORANGE, parse, print_summary, save
from xarray import DataTree

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

ROWS = 20_000
BATCH = 200
SLOPES = np.array([1.0, -0.5, 0.25, 0.0])
NAMES = ["a", "b", "c", "d"]


def simulate() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 4))
    return x, 2 + x @ SLOPES + rng.standard_t(4, ROWS)


def build_model(x: Any, y: Any) -> pm.Model:
    """The model, for a batch of rows or for all rows."""
    with pm.Model(coords={"feature": NAMES}) as model:
        intercept = pm.Normal("intercept", 0, 5)
        slopes = pm.Normal("slopes", 0, 1, dims="feature")
        sigma = pm.HalfNormal("sigma", 2)
        mu = intercept + x @ slopes
        pm.StudentT("y", 4, mu=mu, sigma=sigma, observed=y, total_size=ROWS)
    return model


def draw_losses(ax: plt.Axes, losses: np.ndarray) -> None:
    steps = np.arange(1, len(losses) + 1)
    ax.plot(steps, losses / ROWS, color=GREY, lw=0.5, label="each minibatch")
    end = losses[-len(losses) // 10 :].mean() / ROWS
    ax.axhline(end, color=BLUE, lw=2, label="mean of the last tenth")
    ax.set_xscale("log")
    ax.set_xlabel("step of ADVI")
    ax.set_ylabel("negative ELBO per row (nats)")
    ax.set_title(f"ADVI sees {BATCH} of {ROWS:,} rows at a time")
    ax.legend()


def draw_slopes(ax: plt.Axes, results: dict[str, DataTree]) -> None:
    rows = np.arange(len(NAMES))[::-1]
    for shift, colour, (name, idata) in zip(
        (0.12, -0.12), (BLUE, ORANGE), results.items(), strict=True
    ):
        errors = idata["posterior"]["slopes"] - SLOPES
        low, middle, high = errors.quantile(
            [0.055, 0.5, 0.945], ("chain", "draw")
        ).values
        ax.hlines(rows + shift, low, high, color=colour, lw=2.5)
        ax.plot(middle, rows + shift, "o", color=colour, label=name)
    ax.axvline(0, color="black", lw=0.8, zorder=0)
    ax.set_yticks(rows, NAMES)
    ax.set_ylabel("slope of the feature")
    ax.set_xlabel("estimate minus truth, 89 % interval")
    ax.set_title("ADVI almost agrees with NUTS on all rows")
    ax.legend()


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv, draws=500, tune=500)
    x, y = simulate()
    with build_model(*pm.Minibatch(x, y, batch_size=BATCH)):
        steps = 20 * (options.tune + options.draws)
        approximation = jp.fit(steps, random_seed=options.seed)
        advi = approximation.sample(1000, random_seed=options.seed)
    with build_model(x, y):
        nuts = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    names = ["intercept", "slopes", "sigma"]
    print_summary("ADVI, minibatches", advi, names)
    print_summary("NUTS, all rows", nuts, names)

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    draw_losses(axes[0], approximation.hist)
    draw_slopes(axes[1], {"NUTS, all rows": nuts, "ADVI, minibatches": advi})
    save(figure, options, "minibatch")


if __name__ == "__main__":
    main()
