"""Lotka-Volterra: does a predator-prey cycle explain 20 years of furs?

The data are hare and lynx furs that the Hudson's Bay Company bought, 1900-1920 (Elton
and Nicholson, 1942). Hares multiply and are eaten; lynxes thrive on hares and die out
without them. The model solves the differential equation with Runge-Kutta steps of a
quarter of a year in a `pytensor.scan`. NUTS differentiates through the solver.

    uv run examples/lotka_volterra.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from common import BLUE, ORANGE, parse, print_summary, save

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

Variable = pt.TensorVariable

YEARS = np.arange(1900, 1921)
STEPS = 4  # per year
TIMES = np.arange(1900, 1920 + 1 / STEPS, 1 / STEPS)
HARES = np.array(  # thousands
    [
        *(30.0, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22.0, 25.4, 27.1),
        *(40.3, 57.0, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7),
    ]
)
LYNXES = np.array(
    [
        *(4.0, 6.1, 9.8, 35.2, 59.4, 41.7, 19.0, 13.0, 8.3, 9.1, 7.4),
        *(8.0, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6),
    ]
)


def slope(logs: Variable, rates: Variable) -> Variable:
    """How fast the logarithms of hares and lynxes change, per year."""
    birth, hunting, death, feeding = rates[0], rates[1], rates[2], rates[3]
    hares, lynxes = pt.exp(logs[0]), pt.exp(logs[1])
    return pt.stack([birth - hunting * lynxes, feeding * hares - death])


def step(logs: Variable, rates: Variable) -> Variable:
    """A fourth-order Runge-Kutta step."""
    h = 1 / STEPS
    a = slope(logs, rates)
    b = slope(logs + h / 2 * a, rates)
    c = slope(logs + h / 2 * b, rates)
    d = slope(logs + h * c, rates)
    return logs + h / 6 * (a + 2 * b + 2 * c + d)


def build_model() -> pm.Model:
    coords = {
        "rate": ["birth", "hunting", "death", "feeding"],
        "species": ["hare", "lynx"],
        "year": YEARS,
        "time": TIMES,
    }
    with pm.Model(coords=coords) as model:
        rates = pm.LogNormal(
            "rates", np.log([0.5, 0.025, 0.8, 0.025]), 0.4, dims="rate"
        )
        start = pm.LogNormal("start", np.log([30, 5]), 0.5, dims="species")
        logs = pytensor.scan(
            step,
            outputs_info=[pt.log(start)],
            non_sequences=[rates],
            n_steps=len(TIMES) - 1,
            return_updates=False,
        )
        logs = pt.concatenate([pt.log(start)[None], logs])
        pm.Deterministic("animals", pt.exp(logs), dims=("time", "species"))
        sigma = pm.LogNormal("sigma", -1, 0.5, dims="species")
        furs = np.column_stack([HARES, LYNXES])
        dims = ("year", "species")
        pm.LogNormal("furs", logs[::STEPS], sigma, observed=furs, dims=dims)
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv, draws=500, tune=500)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    print_summary("Hares and lynxes", idata, ["rates", "start", "sigma"])

    figure, ax = plt.subplots(figsize=(9, 4.5))
    animals = idata["posterior"]["animals"].stack(sample=("chain", "draw"))
    some = animals.isel(
        sample=np.linspace(0, animals.sizes["sample"] - 1, 80, dtype=int)
    )
    for name, furs, colour in (("hare", HARES, BLUE), ("lynx", LYNXES, ORANGE)):
        ax.plot(TIMES, some.sel(species=name), color=colour, alpha=0.12, lw=1)
        ax.plot(YEARS, furs, "o", color=colour, mec="white", label=f"{name} furs")
    ax.plot([], [], color="black", lw=1, label="80 posterior draws")
    ax.set_title("One cycle of ten years explains hares and lynxes")
    ax.set_xticks(range(1900, 1921, 4))
    ax.set_xlabel("year")
    ax.set_ylabel("furs (thousands)")
    ax.legend(loc="upper right")
    save(figure, options, "lotka_volterra")


if __name__ == "__main__":
    main()
