"""Data with holes, in minibatches, and that change after inference."""

import warnings
from collections.abc import Sequence

import numpy as np
import pymc as pm
from sklearn.datasets import load_diabetes

from models.entry import Entry

_PATIENTS = load_diabetes(scaled=False)
# Body mass index and blood pressure of 20 patients, and how the disease progressed.
FEATURES = (_PATIENTS.data[:20, 2:4] - [26, 95]) / [4.4, 14]
PROGRESS = (_PATIENTS.target[:20] - 150) / 77
NEW_FEATURES = np.array([[0.5, -1.0], [0.0, 0.0], [1.5, 2.0]])
BATCH = 5


def missing() -> pm.Model:
    """A regressor, the outcome and a count, each with values that nobody wrote down."""
    bmi = np.ma.masked_array(FEATURES[:, 0], np.arange(20) % 6 == 2)
    progress = np.ma.masked_array(PROGRESS, np.arange(20) % 7 == 3)
    visits = np.ma.masked_array(np.arange(8) % 4, np.arange(8) == 5)
    with pm.Model() as model:
        centre = pm.Normal("centre", 0, 1)
        slope = pm.Normal("slope", 0, 1)
        sigma = pm.HalfNormal("sigma", 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pm.exceptions.ImputationWarning)
            bmi = pm.Normal("bmi", centre, 1, observed=bmi)
            pm.Normal("progress", slope * bmi, sigma, observed=progress)
            pm.Poisson("visits", pm.math.exp(centre), observed=visits)
    return model


def minibatch() -> pm.Model:
    """Five of the patients at a time."""
    features, progress = pm.Minibatch(FEATURES, PROGRESS, batch_size=BATCH)
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 1, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        pm.Normal(
            "progress", features @ slopes, sigma, observed=progress, total_size=20
        )
    return model


def of_rows(rows: Sequence[int]) -> pm.Model:
    """What `minibatch` is when these patients are drawn."""
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 1, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        mean = FEATURES[rows] @ slopes
        pm.Normal("progress", mean, sigma, observed=PROGRESS[rows], total_size=20)
    return model


def regression() -> pm.Model:
    """Patients come and go: the length of a dim changes."""
    coords = {"patient": range(20), "feature": ["bmi", "pressure"]}
    with pm.Model(coords=coords) as model:
        features = pm.Data("features", FEATURES, dims=("patient", "feature"))
        progress = pm.Data("progress", PROGRESS, dims="patient")
        intercept = pm.Normal("intercept", 0, 1)
        slopes = pm.Normal("slopes", 0, 1, dims="feature")
        sigma = pm.HalfNormal("sigma", 1)
        mu = pm.Deterministic("mu", intercept + features @ slopes, dims="patient")
        pm.StudentT("y", 4, mu=mu, sigma=sigma, observed=progress, dims="patient")
    return model


def new_patients(model: pm.Model) -> dict[str, list[str]]:
    with model:
        pm.set_data(
            {"features": NEW_FEATURES, "progress": np.zeros(3)},
            coords={"patient": ["new 1", "new 2", "new 3"]},
        )
    return {"var_names": ["mu", "y"]}


def groups() -> pm.Model:
    """An intercept for each clinic; other clinics are predicted."""
    clinic = np.arange(20) % 3
    with pm.Model(coords={"clinic": list("abc"), "patient": range(20)}) as model:
        which = pm.Data("which", clinic, dims="patient")
        spread = pm.HalfNormal("spread", 1)
        level = pm.Normal("level", 0, spread, dims="clinic")
        pm.Normal("y", level[which], 0.8, observed=PROGRESS, dims="patient")
    return model


def new_clinics(model: pm.Model) -> dict[str, list[str]]:
    with model:
        model.set_dim("clinic", 5, coord_values=list("defgh"))
        pm.set_data({"which": [0, 3, 4, 4]}, coords={"patient": range(4)})
    return {"sample_vars": ["level", "y"]}


MODELS = {
    "missing": Entry(missing),
    "minibatch": Entry(minibatch),
    "out_of_sample": Entry(regression, new_patients),
    "new_groups": Entry(groups, new_clinics),
}
