"""Missing data: does cholesterol rise with weight, if many numbers are missing?

In a health survey of 25 patients (Schafer, 1997), the body mass index is missing for 9
patients and the cholesterol for 10, with both missing for 7. PyMC makes the masked
elements of an array variables of the model. NUTS samples them together with the slopes.
So no patient is dropped, and missing numbers stay uncertain.

    uv run examples/missing_data.py
"""

import warnings
from collections.abc import Sequence

import jax
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from common import BLUE, GREEN, ORANGE, parse, print_summary, save
from xarray import Dataset

from jaxlink import pymc as jp

jax.config.update("jax_enable_x64", True)

NAN = np.nan
AGES = {"20-39": GREEN, "40-59": BLUE, "60-99": ORANGE}
AGE = np.array(
    [1, 2, 1, 3, 1, 3, 1, 1, 2, 2, 1, 2, 3, 2, 1, 1, 3, 2, 1, 3, 1, 1, 1, 3, 2]
)
BMI = np.array(
    [
        *(NAN, 22.7, NAN, NAN, 20.4, NAN, 22.5, 30.1, 22.0, NAN, NAN, NAN, 21.7),
        *(28.7, 29.6, NAN, 27.2, 26.3, 35.3, 25.5, NAN, 33.2, 27.5, 24.9, 27.4),
    ]
)  # kg/m^2
CHOLESTEROL = np.array(
    [
        *(NAN, 187, 187, NAN, 113, 184, 118, 187, 238, NAN, NAN, NAN, 206),
        *(204, NAN, NAN, 284, 199, 218, NAN, NAN, 229, 131, NAN, 186),
    ]
)  # mg/dL


def build_model() -> pm.Model:
    age = AGE - 2.0  # 20-39, 40-59 and 60 or more years
    coords = {"patient": range(25)}
    with pm.Model(coords=coords) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", pm.exceptions.ImputationWarning)
        # The body mass index.
        centre = pm.Normal("centre", 27, 5)
        change = pm.Normal("change", 0, 3)
        spread = pm.HalfNormal("spread", 6)
        observed = np.ma.masked_invalid(BMI)
        expected = centre + change * age
        bmi = pm.Normal("bmi", expected, spread, observed=observed, dims="patient")
        # The cholesterol.
        level = pm.Normal("level", 200, 40)
        slope_age = pm.Normal("slope_age", 0, 40)
        slope_bmi = pm.Normal("slope_bmi", 0, 10)
        noise = pm.HalfNormal("noise", 40)
        observed = np.ma.masked_invalid(CHOLESTEROL)
        expected = level + slope_age * age + slope_bmi * (bmi - 27)
        pm.Normal("cholesterol", expected, noise, observed=observed, dims="patient")
    return model


def draw_patients(ax: plt.Axes, posterior: Dataset, age: int, colour: str) -> None:
    """Draw the patients of an age group, with bars along imputed values."""
    is_imputed = np.isnan(BMI + CHOLESTEROL)[age == AGE]
    low, x, high = (
        posterior["bmi"].quantile([0.25, 0.5, 0.75], ("chain", "draw")).values
    )
    bars_x = np.array([x - low, high - x])
    low, y, high = (
        posterior["cholesterol"].quantile([0.25, 0.5, 0.75], ("chain", "draw")).values
    )
    bars_y = np.array([y - low, high - y])
    ax.errorbar(x, y, bars_y, bars_x, "none", ecolor=colour, lw=1, alpha=0.7)
    ax.plot(x[~is_imputed], y[~is_imputed], "o", color=colour)
    ax.plot(x[is_imputed], y[is_imputed], "o", color=colour, mfc="white")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(__doc__, argv)
    with build_model():
        idata = jp.sample(
            options.draws,
            tune=options.tune,
            chains=options.chains,
            random_seed=options.seed,
        )
    names = ["level", "slope_age", "slope_bmi", "noise"]
    print_summary("Cholesterol (mg/dL)", idata, names)

    posterior = idata["posterior"].to_dataset()
    figure, ax = plt.subplots(figsize=(8.5, 4.5))
    level, by_age, by_bmi = (posterior[name].mean().item() for name in names[:3])
    for age, (years, colour) in enumerate(AGES.items(), 1):
        draw_patients(ax, posterior.isel(patient=age == AGE), age, colour)
        x = np.array([20.0, 35.0])
        y = level + by_age * (age - 2) + by_bmi * (x - 27)
        ax.plot(x, y, color=colour, lw=1, ls="--", label=f"{years} years")
    ax.plot([], [], "o", color="black", label="both known")
    ax.errorbar(
        [], [], [], [], "o", mfc="white", color="black", label="imputed (50 % bars)"
    )
    low, high = posterior["slope_bmi"].quantile([0.055, 0.945]).values
    ax.set_title(
        f"At the same age, {low:.0f} to {high:.0f} mg/dL more for each kg/m$^2$"
    )
    ax.set_xlabel("body mass index (kg/m$^2$)")
    ax.set_ylabel("cholesterol (mg/dL)")
    ax.legend(ncols=2, loc="lower right")
    save(figure, options, "missing_data")


if __name__ == "__main__":
    main()
