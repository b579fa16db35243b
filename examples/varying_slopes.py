"""Varying slopes: do girls with larger jaws also grow faster?

A distance in the jaws of eleven girls was measured at four ages (Potthoff and Roy,
1964). Each girl has her own line. The sizes and slopes of the lines come from a
bivariate normal distribution whose correlation has an LKJ prior, so the girls learn
from one another. The figure shows the lines, and how they shrink towards each other.

    uv run examples/varying_slopes.py
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

AGES = np.array([8.0, 10.0, 12.0, 14.0])
# From the pituitary to the pterygomaxillary fissure, in mm; each row is a girl.
DISTANCES = np.array(
    [
        [21.0, 20.0, 21.5, 23.0],
        [21.0, 21.5, 24.0, 25.5],
        [20.5, 24.0, 24.5, 26.0],
        [23.5, 24.5, 25.0, 26.5],
        [21.5, 23.0, 22.5, 23.5],
        [20.0, 21.0, 21.0, 22.5],
        [21.5, 22.5, 23.0, 25.0],
        [23.0, 23.0, 23.5, 24.0],
        [20.0, 21.0, 22.0, 21.5],
        [16.5, 19.0, 19.0, 19.5],
        [24.5, 25.0, 28.0, 28.0],
    ]
)


def build_model() -> pm.Model:
    coords = {"girl": range(1, 12), "age": AGES, "line": ["size", "growth"]}
    with pm.Model(coords=coords) as model:
        spread = pm.HalfNormal.dist([3.0, 0.5])
        chol, correlation, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=spread)
        pm.Deterministic("correlation", correlation[0, 1])
        mean = pm.Normal("mean", [22, 0.5], [5, 0.5], dims="line")
        z = pm.Normal("z", 0, 1, dims=("girl", "line"))
        line = pm.Deterministic("lines", mean + z @ chol.T, dims=("girl", "line"))
        expected = line[:, :1] + line[:, 1:] * (AGES - 11)
        sigma = pm.HalfNormal("sigma", 1)
        dims = ("girl", "age")
        pm.Normal("distance", expected, sigma, observed=DISTANCES, dims=dims)
    return model


def draw_lines(ax: plt.Axes, lines: np.ndarray) -> None:
    rank = lines[:, 0].argsort().argsort()
    colours = plt.get_cmap("viridis")(rank / len(rank))
    for (size, growth), distances, colour in zip(
        lines, DISTANCES, colours, strict=True
    ):
        ax.plot(AGES, distances, "o", color=colour, ms=4)
        ax.plot(AGES, size + growth * (AGES - 11), color=colour, lw=1.5)
    ax.set_xticks(AGES)
    ax.set_xlabel("age (years)")
    ax.set_ylabel("distance in the jaw (mm)")
    ax.set_title("Each girl has her own line")


def draw_shrinkage(ax: plt.Axes, idata: DataTree, lines: np.ndarray) -> None:
    growth, size = np.polyfit(AGES - 11, DISTANCES.T, 1)
    for alone, together in zip(zip(size, growth, strict=True), lines, strict=True):
        arrow = {"arrowstyle": "->", "color": GREY}
        ax.annotate("", together, alone, arrowprops=arrow)
    ax.plot(size, growth, "o", color=ORANGE, label="least squares, each girl alone")
    ax.plot(*lines.T, "o", color=BLUE, label="posterior mean, girls together")
    low, high = idata["posterior"]["correlation"].quantile([0.055, 0.945]).values
    ax.set_xlabel("distance at age 11 (mm)")
    ax.set_ylabel("growth (mm per year)")
    ax.set_title(f"The correlation is between {low:.1f} and {high:.1f} (89 %)")
    ax.legend(loc="upper left")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
            target_accept=0.9,
        )
    names = ["mean", "chol_stds", "correlation", "sigma"]
    print_summary("Lines of eleven girls", idata, names)
    lines = idata["posterior"]["lines"].mean(("chain", "draw")).values
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5))
    draw_lines(axes[0], lines)
    draw_shrinkage(axes[1], idata, lines)
    save(figure, options, "varying_slopes")


if __name__ == "__main__":
    main()
