"""Out of sample: how well can we predict diabetes progression for new patients?

A robust regression learns from 342 patients (Efron et al., 2004) and predicts 100 new
ones. The patients are `pm.Data` along a dimension of the model; `pm.set_data` replaces
them and their coordinates. Predictions are written to a Zarr store on disk as they are
drawn, and loaded from there on demand.

    uv run examples/out_of_sample.py
"""

from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREY, ORANGE, parse, print_summary, save
from sklearn.datasets import load_diabetes

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

DIABETES = load_diabetes()  # with standardised features
FEATURES = ["bmi", "bp", "s3", "s5", "sex"]
X = DIABETES.data[:, [DIABETES.feature_names.index(name) for name in FEATURES]]
X *= np.sqrt(len(X))  # unit variance
Y = DIABETES.target
SHUFFLED = np.random.default_rng(0).permutation(len(Y))
KNOWN, NEW = np.sort(SHUFFLED[:342]), np.sort(SHUFFLED[342:])


def build_model() -> pm.Model:
    with pm.Model(coords={"patient": KNOWN, "feature": FEATURES}) as model:
        x = pm.Data("x", X[KNOWN], dims=("patient", "feature"))
        intercept = pm.Normal("intercept", 150, 50)
        slopes = pm.Normal("slopes", 0, 30, dims="feature")
        sigma = pm.HalfNormal("sigma", 50)
        nu = pm.Gamma("nu", 2, 0.1)
        mu = intercept + x @ slopes
        pm.StudentT(
            "progress", nu, mu=mu, sigma=sigma, observed=Y[KNOWN], dims="patient"
        )
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
        pm.set_data({"x": X[NEW]}, coords={"patient": NEW})
        store = options.out / "out_of_sample.zarr"
        predicted = jp.sample_posterior_predictive(
            idata,
            predictions=True,
            random_seed=options.seed,
            store=store,
            store_mode="w",
        )
    print_summary("Progress of diabetes", idata, ["intercept", "slopes", "sigma", "nu"])
    print(f"The predictions are in {store}.")

    progress = predicted["predictions"]["progress"]
    order = progress.median(("chain", "draw")).argsort().values
    quantiles = progress.quantile([0.055, 0.5, 0.945], ("chain", "draw")).values
    low, middle, high = quantiles[:, order]
    actual = Y[NEW][order]
    inside = (low < actual) & (actual < high)

    figure, ax = plt.subplots(figsize=(10, 4.5))
    rank = np.arange(len(NEW))
    ax.vlines(rank, low, high, color=BLUE, alpha=0.4, label="89 % interval")
    ax.plot(rank, middle, "_", color=BLUE, label="median")
    ax.plot(rank[inside], actual[inside], "o", ms=4, color=GREY, label="inside")
    ax.plot(rank[~inside], actual[~inside], "o", ms=4, color=ORANGE, label="outside")
    ax.set_title(f"{inside.mean():.0%} of new patients are inside their 89 % interval")
    ax.set_xlabel("new patients, by predicted progress")
    ax.set_ylabel("progress of the disease after a year (score)")
    ax.legend(ncols=2, loc="upper left")
    save(figure, options, "out_of_sample")


if __name__ == "__main__":
    main()
