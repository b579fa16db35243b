"""Named dimensions: does nitrogen raise the yield of all oat varieties alike?

In this field trial (Yates, 1935) each of six blocks has plots of three varieties, and
each plot has four parts with different amounts of nitrogen. With `pymc.dims`, variables
have named dimensions and align by name, so you need no `[:, None]` to say which axis is
which.

    uv run examples/dims.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pymc.dims as pmd
from common import BLUE, GREY, band, parse, print_summary, save
from pytensor.xtensor import as_xtensor

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

VARIETIES = ["Victory", "Golden Rain", "Marvellous"]
NITROGEN = np.array([0.0, 0.2, 0.4, 0.6])  # cwt per acre
# In quarters of a pound, on parts of 1/80 acre; each line is a block.
YIELDS = np.array(
    [
        [[111, 130, 157, 174], [117, 114, 161, 141], [105, 140, 118, 156]],
        [[61, 91, 97, 100], [70, 108, 126, 149], [96, 124, 121, 144]],
        [[68, 64, 112, 86], [60, 102, 89, 96], [89, 129, 132, 124]],
        [[74, 89, 81, 122], [64, 103, 132, 133], [70, 89, 104, 117]],
        [[62, 90, 100, 116], [80, 82, 94, 126], [63, 70, 109, 99]],
        [[53, 74, 118, 113], [89, 82, 86, 104], [97, 99, 119, 121]],
    ]
)
YIELDS = YIELDS * 80 / 4 / 112  # cwt per acre


def build_model() -> pm.Model:
    coords = {"block": range(1, 7), "variety": VARIETIES, "amount": NITROGEN}
    with pm.Model(coords=coords) as model:
        nitrogen = pmd.Data("nitrogen", NITROGEN, dims="amount")
        level = pmd.Normal("level", 15, 5)
        variety = pmd.ZeroSumNormal("variety_effect", sigma=3, core_dims="variety")
        slope = pmd.Normal("slope", 10, 10)
        difference = pmd.ZeroSumNormal("slope_difference", sigma=5, core_dims="variety")
        block_spread = pmd.HalfNormal("block_spread", 3)
        plot_spread = pmd.HalfNormal("plot_spread", 3)
        block = block_spread * pmd.Normal("block_effect", dims="block")
        plot = plot_spread * pmd.Normal("plot_effect", dims=("block", "variety"))
        noise = pmd.HalfNormal("noise", 3)
        expected = level + variety + (slope + difference) * nitrogen
        pmd.Deterministic("expected", expected)
        yields = as_xtensor(YIELDS, dims=("block", "variety", "amount"))
        pmd.Normal("yield", expected + block + plot, noise, observed=yields)
    return model


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
    names = ["slope", "slope_difference", "block_spread", "plot_spread", "noise"]
    print_summary("Oats (cwt per acre)", idata, names)
    posterior = idata["posterior"]

    figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True)
    for ax, variety, yields in zip(axes, VARIETIES, YIELDS.swapaxes(0, 1), strict=True):
        ax.plot(NITROGEN, yields.T, color=GREY, lw=0.8, marker="o", ms=3)
        band(ax, NITROGEN, posterior["expected"].sel(variety=variety), BLUE, "mean")
        ax.set_title(variety)
        ax.set_xlabel("nitrogen (cwt per acre)")
        ax.set_xticks(NITROGEN)
    ax.plot([], [], color=GREY, lw=0.8, marker="o", ms=3, label="a plot of the trial")
    axes[0].set_ylabel("yield (cwt per acre)")
    ax.legend(loc="lower right")
    low, high = posterior["slope"].quantile([0.055, 0.945]).values
    figure.suptitle(
        f"A cwt of nitrogen yields {low:.0f} to {high:.0f} cwt of oats, in any variety"
    )
    save(figure, options, "dims")


if __name__ == "__main__":
    main()
