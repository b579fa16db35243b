"""Models of `pymc_extras`, which is imported when one is built: it takes seconds."""

import importlib
import warnings
from typing import Any

import pandas as pd
import pymc as pm

from models.data import FEATURES, PROGRESS
from models.entry import Entry
from models.timeseries import NILE


def import_extras(module: str) -> Any:
    """A module of pymc_extras, whose own deprecated calls are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(f"pymc_extras.{module}")


def r2d2() -> pm.Model:
    """Shrinkage by a prior on R2."""
    extras = import_extras("distributions")
    features = FEATURES - FEATURES.mean(0)
    with pm.Model(coords={"feature": ["bmi", "pressure"]}) as model:
        sigma, slopes = extras.R2D2M2CP(
            "slopes",
            PROGRESS.std(),
            features.std(0),
            dims="feature",
            r2=0.4,
            r2_std=0.2,
            positive_probs=[0.8, 0.5],
            positive_probs_std=[0.2, 0.1],
            variables_importance=[4.0, 2.0],
        )
        intercept = pm.Normal("intercept", PROGRESS.mean(), 1)
        pm.Normal("y", intercept + features @ slopes, sigma, observed=PROGRESS)
    return model


def statespace() -> pm.Model:
    """A local level, marginalised by the Kalman filter."""
    structural = import_extras("statespace").structural
    level = structural.LevelTrend(order=1, innovations_order=1)
    noise = structural.MeasurementError()
    series = (level + noise).build(verbose=False)
    with pm.Model(coords=series.coords) as model:
        pm.Normal(
            "initial_level_trend", 10, 2, dims=series.param_dims["initial_level_trend"]
        )
        pm.HalfNormal(
            "sigma_level_trend", 0.5, dims=series.param_dims["sigma_level_trend"]
        )
        pm.HalfNormal("sigma_MeasurementError", 2)
        pm.Deterministic("P0", pm.math.eye(1) * 4, dims=series.param_dims["P0"])
        year = pd.date_range("1871", periods=20, freq="YS")
        series.build_statespace_graph(pd.DataFrame({"volume": NILE / 100}, year))
    return model


MODELS = {"r2d2": Entry(r2d2), "statespace": Entry(statespace)}
