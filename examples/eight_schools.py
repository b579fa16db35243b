"""Eight schools: how much does coaching raise a test score?

Each of eight schools coached its pupils for a test, and measured the effect with a
known standard error (Rubin, 1981). A hierarchical model lets the schools learn from one
another. In its centred form the posterior is a funnel, and draws diverge in the neck.
With standardised effects (non-centred), the same posterior is easy to sample from.

    uv run examples/eight_schools.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREY, ORANGE, parse, print_summary, save
from xarray import DataTree

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

SCHOOLS = list("ABCDEFGH")
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])  # points
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def build_model(is_centred: bool) -> pm.Model:
    with pm.Model(coords={"school": SCHOOLS}) as model:
        mu = pm.Normal("mu", 0, 10)
        tau = pm.HalfCauchy("tau", 5)
        if is_centred:
            theta = pm.Normal("theta", mu, tau, dims="school")
        else:
            z = pm.Normal("z", 0, 1, dims="school")
            theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        pm.Normal("effect", theta, ERRORS, observed=EFFECTS, dims="school")
    return model


def draw_funnel(ax: plt.Axes, idata: DataTree, name: str) -> None:
    theta = idata["posterior"]["theta"].sel(school="A").values.ravel()
    tau = idata["posterior"]["tau"].values.ravel()
    diverged = idata["sample_stats"]["diverging"].values.ravel()
    ax.plot(theta, tau, ".", ms=2, color=BLUE, alpha=0.4)
    ax.plot(
        theta[diverged], tau[diverged], "o", ms=4, color=ORANGE, mec="white", mew=0.4
    )
    ax.set_yscale("log")
    ax.set_title(f"{name}: {diverged.sum()} draws diverge")
    ax.set_xlabel("effect in school A (points)")


def draw_schools(ax: plt.Axes, idata: DataTree) -> None:
    rows = np.arange(8)[::-1]
    theta = idata["posterior"]["theta"]
    low, middle, high = theta.quantile([0.055, 0.5, 0.945], ("chain", "draw")).values
    error = 1.6 * ERRORS  # 89 % of a normal distribution
    ax.hlines(rows + 0.15, EFFECTS - error, EFFECTS + error, color=GREY, lw=1.5)
    ax.plot(EFFECTS, rows + 0.15, "o", color=GREY, label="each school alone")
    ax.hlines(rows - 0.15, low, high, color=BLUE, lw=2.5)
    ax.plot(middle, rows - 0.15, "o", color=BLUE, label="learning from all schools")
    ax.axvline(0, color="black", lw=0.8, zorder=0)
    ax.set_yticks(rows, SCHOOLS)
    ax.set_ylabel("school")
    ax.set_ylim(-0.6, 8.9)
    ax.set_xlabel("effect (points), 89 % interval")
    ax.set_title("The schools hardly differ")
    ax.legend(loc="upper right")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.5), width_ratios=[1, 1, 1.2])
    axes[1].sharex(axes[0])
    axes[1].sharey(axes[0])
    for ax, name in zip(axes, ("centred", "non-centred"), strict=False):
        with build_model(name == "centred"):
            idata = jp.sample(
                options.draws,
                tune=options.tune,
                chains=options.chains,
                random_seed=options.seed,
            )
        print_summary(f"Eight schools, {name}", idata, ["mu", "tau"])
        draw_funnel(ax, idata, name.capitalize())
    axes[0].set_ylabel("spread of the schools' effects, tau (points)")
    draw_schools(axes[2], idata)
    save(figure, options, "eight_schools")


if __name__ == "__main__":
    main()
