"""Gaussian process: when did British coal mines become safer?

The model describes the disasters per year, 1851-1961 (Jarrett, 1979). The logarithm of
their rate is a Gaussian process, in a Hilbert space approximation (HSGP). The years are
data of the model, so `with_data` makes a function that predicts later years instead.
There the process returns to its mean and its band widens to that of the prior.

    uv run examples/gaussian_process.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREY, ORANGE, band, parse, print_summary, save
from xarray import DataArray

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

YEARS = np.arange(1851.0, 1962.0)
LATER = np.arange(1961.0, 1986.0)
# One digit per year.
DIGITS = "454014340633402633545314415534252234213221111300101100310322"
DIGITS += "011101010002100011023311211112420014000100000100101"
DISASTERS = np.array([int(digit) for digit in DIGITS])


def build_model() -> pm.Model:
    with pm.Model(coords={"year": YEARS, "axis": ["time"]}) as model:
        years = pm.Data("years", YEARS[:, None], dims=("year", "axis"))
        length = pm.InverseGamma("length", mu=30, sigma=15)  # years
        amplitude = pm.HalfNormal("amplitude", 1)
        covariance = amplitude**2 * pm.gp.cov.Matern52(1, ls=length)
        # The box extends 150 years to both sides of the middle, 1906.
        gp = pm.gp.HSGP(m=[45], L=[150.0], cov_func=covariance)
        mean = pm.Normal("mean", 0, 1)
        f = gp.prior("f", X=years, dims="year")
        rate = pm.Deterministic("rate", pm.math.exp(mean + f), dims="year")
        pm.Poisson("disasters", rate, observed=DISASTERS, dims="year")
    return model


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model() as model:
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    print_summary("Coal mining disasters", idata, ["mean", "length", "amplitude"])

    # A function of one key and one draw; vmap applies it to all draws of all chains.
    predict = jp.posterior_predictive(model, ["rate"])
    later = predict.with_data(years=LATER[:, None], coords={"year": LATER})
    posterior = idata["posterior"]
    draws = {name: posterior[name].values for name in predict.names}
    keys = jax.random.split(jax.random.key(options.seed), posterior["mean"].shape)
    rates = jax.jit(jax.vmap(jax.vmap(later)))(keys, draws)["rate"]

    figure, ax = plt.subplots(figsize=(9, 4.5))
    ax.plot(YEARS, DISASTERS, "o", ms=4, color=GREY, label="disasters in a year")
    band(ax, YEARS, posterior["rate"], BLUE, "rate, 1851-1961")
    dims = ("chain", "draw", "year")
    band(ax, LATER, DataArray(rates, dims=dims), ORANGE, "rate, later")
    then, now = (posterior["rate"].sel(year=year) for year in (1870, 1930))
    low, high = (then / now).quantile([0.055, 0.945]).values
    ax.set_title(
        f"In 1870 disasters were {low:.0f} to {high:.0f} times as frequent as in 1930"
    )
    ax.set_xlabel("year")
    ax.set_ylabel("disasters per year")
    ax.legend()
    save(figure, options, "gaussian_process")


if __name__ == "__main__":
    main()
