"""Survival: how long does a drug delay relapse in leukaemia?

The data are the weeks of remission of 42 children (Freireich et al., 1963), half of
them on 6-MP. 12 children had not relapsed when the study ended, so their times are
censored. The model wraps a Weibull distribution in `pm.Censored`.

    uv run examples/survival.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, ORANGE, band, parse, print_summary, save
from scipy.stats import CensoredData, ecdf

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

GROUPS = ["placebo", "6-MP"]
WEEKS = np.array(
    [
        [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23],
        [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35],
    ]
)
RELAPSED = np.array(
    [[1] * 21, [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]]
).astype(bool)
GRID = np.linspace(0, 36, 73)


def build_model() -> pm.Model:
    coords = {"group": GROUPS, "child": range(21), "week": GRID}
    with pm.Model(coords=coords) as model:
        shape = pm.Gamma("shape", 4, 4)
        scale = pm.LogNormal("scale", 2.5, 1, dims="group")  # weeks
        relapse = pm.Weibull.dist(shape, scale[:, None])
        end = np.where(RELAPSED, np.inf, WEEKS)
        dims = ("group", "child")
        pm.Censored(
            "weeks",
            relapse,
            lower=None,
            upper=end,
            observed=WEEKS.astype(float),
            dims=dims,
        )
        median = scale * np.log(2) ** (1 / shape)
        pm.Deterministic("median", median, dims="group")
        healthy = pm.math.exp(-((GRID / scale[:, None]) ** shape))
        pm.Deterministic("healthy", healthy, dims=("group", "week"))
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    print_summary("Remission (weeks)", idata, ["shape", "scale", "median"])
    posterior = idata["posterior"]

    figure, ax = plt.subplots(figsize=(8, 4.5))
    for row, (group, colour) in enumerate(zip(GROUPS, (ORANGE, BLUE), strict=True)):
        seen = RELAPSED[row]
        times = CensoredData(WEEKS[row][seen], right=WEEKS[row][~seen])
        sf = ecdf(times).sf
        x, y = np.append(0, sf.quantiles), np.append(1, sf.probabilities)
        label = f"{group}: Kaplan-Meier"
        ax.step(x, y, where="post", color=colour, ls="--", label=label)
        curve = posterior["healthy"].sel(group=group)
        band(ax, GRID, curve, colour, f"{group}: Weibull")
        at = np.interp(WEEKS[row][~seen], GRID, curve.median(("chain", "draw")))
        ax.plot(WEEKS[row][~seen], at, "|", color=colour, ms=10, mew=1.5)
    gain = posterior["median"].sel(group="6-MP") / posterior["median"].sel(
        group="placebo"
    )
    low, high = gain.quantile([0.055, 0.945]).values
    ax.set_title(f"6-MP makes remission {low:.1f} to {high:.1f} times as long")
    ax.set_xlabel("weeks (| : last seen without a relapse)")
    ax.set_ylabel("share without a relapse")
    ax.set_xlim(0, 36)
    ax.set_ylim(0, 1.02)
    ax.legend()
    save(figure, options, "survival")


if __name__ == "__main__":
    main()
