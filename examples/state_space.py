"""State space: did the Nile lose water, or does it only fluctuate?

The model describes the flow of the Nile at Aswan, 1871-1930 (Cobb, 1978), as a
random-walk level plus noise. A `pytensor.scan` computes the level. NUTS samples all
levels jointly, given all years: these are the smoothed states. ArviZ plots them with
their 50 % and 89 % intervals.

    uv run examples/state_space.py
"""

from collections.abc import Sequence

import arviz as az
import jax
import numpy as np
import pymc as pm
import pytensor
from common import parse, print_summary, save

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

YEARS = np.arange(1871, 1931)
FLOW = np.array(  # 10^8 m^3 per year
    [
        *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935),
        *(1110, 994, 1020, 960, 1180, 799, 958, 1140, 1100, 1210, 1150, 1250),
        *(1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916),
        *(692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832),
        *(764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759),
    ]
)


def build_model() -> pm.Model:
    with pm.Model(coords={"year": YEARS}) as model:
        pm.Data("years", YEARS, dims="year")  # for the figure
        step = pm.HalfNormal("step", 40)
        noise = pm.HalfNormal("noise", 200)
        first = pm.Normal("first", 1000, 300)
        innovation = pm.Normal("innovation", 0, 1, dims="year")
        level = pytensor.scan(
            lambda z, last, step: last + step * z,
            sequences=[innovation],
            outputs_info=[first],
            non_sequences=[step],
            return_updates=False,
        )
        level = pm.Deterministic("level", level, dims="year")
        pm.Normal("flow", level, noise, observed=FLOW, dims="year")
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
            target_accept=0.97,
        )
    print_summary(
        "The Nile's flow (10^8 m^3 per year)", idata, ["step", "noise", "first"]
    )
    level = idata["posterior"]["level"]
    before, after = (
        level.sel(year=slice(*years)).mean("year")
        for years in ((1871, 1895), (1905, 1930))
    )
    low, high = (1 - after / before).quantile([0.055, 0.945]).values

    plot = az.plot_lm(
        idata,
        x="years",
        y="level",
        y_obs="flow",
        group="posterior",
        ci_prob=(0.5, 0.89),
        smooth=False,
        figure_kwargs={"figsize": (9, 4.5)},
    )
    figure = plot.viz["figure"].item()
    ax = figure.axes[0]
    ax.set_title(f"Around 1899 the Nile lost {low:.0%} to {high:.0%} of its flow")
    ax.set_xlabel("year")
    ax.set_ylabel("flow at Aswan, and its level\n($10^8$ m$^3$ per year)")
    save(figure, options, "state_space")


if __name__ == "__main__":
    main()
