"""Models of distributions, transforms, processes and state spaces of pymc_extras."""

import warnings

import numpy as np
import pandas as pd
import pymc as pm
from models.entry import Entry
from models.extras import import_extras

ROWS = 25
SEED = 31


def numbers() -> dict[str, np.ndarray]:
    """A predictor, and data of each kind."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=ROWS)
    group = rng.integers(0, 2, ROWS)
    return {
        "x": x,
        "count": rng.poisson(np.exp(1 + 0.3 * x)),
        "difference": rng.poisson(4, ROWS) - rng.poisson(3, ROWS),
        "positive": rng.gamma(3, 0.5, ROWS),
        "maximum": rng.gumbel(1, 1, ROWS),
        "bimodal": np.where(group == 1, 2.5, -1.0) + rng.normal(0, 0.7, ROWS),
        "smooth": np.sin(np.linspace(0, 4, ROWS)) + rng.normal(0, 0.2, ROWS),
        "walk": rng.normal(0.1, 0.5, ROWS).cumsum(),
    }


def generalized_poisson() -> pm.Model:
    extras, data = import_extras("distributions"), numbers()
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1)
        dispersion = pm.Uniform("dispersion", -0.5, 0.9)
        rate = pm.math.exp(1 + slope * data["x"])
        extras.GeneralizedPoisson("y", rate, dispersion, observed=data["count"])
    return model


def generalized_extreme() -> pm.Model:
    extras, data = import_extras("distributions"), numbers()
    with pm.Model() as model:
        location = pm.Normal("location", 0, 2)
        scale = pm.HalfNormal("scale", 2)
        shape = pm.Normal("shape", 0, 0.1)
        extras.GenExtreme("y", location, scale, shape, observed=data["maximum"])
    return model


def skellam() -> pm.Model:
    extras, data = import_extras("distributions"), numbers()
    with pm.Model() as model:
        rates = pm.Gamma("rates", 2, 1, shape=2)
        extras.Skellam("y", *rates, observed=data["difference"])
    return model


def chi_and_maxwell() -> pm.Model:
    extras, data = import_extras("distributions"), numbers()
    with pm.Model() as model:
        degrees = pm.Gamma("degrees", 4, 2)
        scale = extras.Maxwell("scale", 1.0, transform=pm.distributions.transforms.log)
        extras.Chi("chi", degrees, observed=data["positive"])
        extras.Maxwell("maxwell", scale, observed=data["positive"])
    return model


def beta_negative_binomial() -> pm.Model:
    extras, data = import_extras("distributions"), numbers()
    with pm.Model() as model:
        alpha, beta, r = (pm.Gamma(name, 3, 1) for name in ("alpha", "beta", "r"))
        extras.BetaNegativeBinomial("y", alpha + 1, beta, r, observed=data["count"])
    return model


def shrinkage() -> pm.Model:
    """R2D2M2CP, not centred, with probabilities that slopes are positive."""
    extras, data = import_extras("distributions"), numbers()
    X = np.column_stack([data["x"], data["x"] ** 2, data["smooth"]])
    with pm.Model(coords={"feature": ["x", "x2", "s"]}) as model:
        noise, slopes = extras.R2D2M2CP(
            "slopes",
            data["walk"].std(),
            X.std(0),
            dims="feature",
            r2=0.5,
            r2_std=0.2,
            centered=False,
        )
        pm.Normal("y", X @ slopes, noise, observed=data["walk"])
    return model


def partial_order() -> pm.Model:
    """A transform that orders some elements below others."""
    extras, data = import_extras("distributions.transforms"), numbers()
    order = extras.PartialOrder(
        np.array([[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    )
    with pm.Model() as model:
        levels = pm.Normal(
            "levels", 0, 2, shape=4, transform=order, initval=order.initvals()
        )
        pm.Normal("y", levels[np.arange(ROWS) % 4], 0.7, observed=data["bimodal"])
    return model


def markov_chain() -> pm.Model:
    """An observed chain of states, whose transitions are not known."""
    extras = import_extras("distributions")
    states = np.random.default_rng(SEED).integers(0, 3, ROWS)
    with pm.Model() as model:
        moves = pm.Dirichlet("moves", np.ones(3), size=3)
        first = pm.Categorical.dist(np.full(3, 1 / 3))
        extras.DiscreteMarkovChain("states", P=moves, init_dist=first, observed=states)
    return model


def interpolated_spline() -> pm.Model:
    """A curve between knots, by a sparse basis."""
    extras, data = import_extras("utils.spline"), numbers()
    with pm.Model() as model:
        knots = pm.Normal("knots", 0, 1, shape=7)
        curve = extras.bspline_interpolation(knots, n=ROWS, degree=3)
        noise = pm.HalfNormal("noise", 0.5)
        pm.Normal("y", curve, noise, observed=data["smooth"])
    return model


def projected_process() -> pm.Model:
    """A Gaussian process at inducing points, of which some are among the data."""
    extras, data = import_extras("gp"), numbers()
    time = np.linspace(0, 4, ROWS)[:, None]
    with pm.Model() as model:
        length = pm.InverseGamma("length", 5, 5)
        kernel = pm.gp.cov.Matern52(1, ls=length)
        process = extras.ProjectedProcess(cov_func=kernel)
        curve = process.prior("curve", X=time, X_inducing=time[::4], jitter=1e-3)
        noise = pm.HalfNormal("noise", 0.5)
        pm.Normal("y", curve, noise, observed=data["smooth"])
    return model


def karhunen_loeve() -> pm.Model:
    """A Gaussian process of the largest eigenvectors of its covariance."""
    extras, data = import_extras("gp"), numbers()
    time = np.linspace(0, 4, ROWS)[:, None]
    with pm.Model() as model:
        length = pm.InverseGamma("length", 5, 5)
        kernel = pm.gp.cov.ExpQuad(1, ls=length)
        process = extras.KarhunenLoeveExpansion(n_eigs=4, cov_func=kernel)
        curve = process.prior("curve", X=time)
        noise = pm.HalfNormal("noise", 0.5)
        pm.Normal("y", curve, noise, observed=data["smooth"])
    return model


# --- state spaces ---------------------------------------------------------------------


def series() -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=ROWS, freq="D")
    return pd.DataFrame({"y": numbers()["walk"]}, index=days)


def arma() -> pm.Model:
    """SARIMAX(1, 0, 1), stationary."""
    sarimax = import_extras("statespace").BayesianSARIMAX
    with warnings.catch_warnings():
        # It calls a function that PyTensor deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        space = sarimax(order=(1, 0, 1), stationary_initialization=True, verbose=False)
    with pm.Model(coords=space.coords) as model:
        pm.Beta("rho", 5, 2)
        pm.Deterministic("ar_params", model["rho"][None], dims="lag_ar")
        pm.Normal("ma_params", 0, 0.3, dims="lag_ma")
        pm.HalfNormal("sigma_state", 1)
        space.build_statespace_graph(series())
    return model


def smoothing() -> pm.Model:
    """ETS(A, A, N): Holt's linear trend."""
    space = import_extras("statespace").BayesianETS(
        order=("A", "A", "N"), endog_names=["y"], verbose=False
    )
    with pm.Model(coords=space.coords) as model:
        pm.Normal("initial_level", 0, 1)
        pm.Normal("initial_trend", 0, 0.3)
        pm.Beta("alpha", 2, 2)
        pm.Beta("beta", 1, 3)
        pm.HalfNormal("sigma_state", 1)
        pm.Deterministic("P0", pm.math.eye(3) * 0.5, dims=space.param_dims["P0"])
        space.build_statespace_graph(series())
    return model


def structural() -> pm.Model:
    """A level, a season and errors of measurement."""
    parts = import_extras("statespace").structural
    space = (
        parts.LevelTrend(order=1, innovations_order=1)
        + parts.TimeSeasonality(season_length=4, innovations=False, name="season")
        + parts.MeasurementError()
    ).build(verbose=False)
    with pm.Model(coords=space.coords) as model:
        dims = space.param_dims
        states = len(space.coords["state"])
        pm.Deterministic("P0", pm.math.eye(states), dims=dims["P0"])
        pm.Normal("initial_level_trend", 0, 1, dims=dims["initial_level_trend"])
        pm.HalfNormal("sigma_level_trend", 0.5, dims=dims["sigma_level_trend"])
        pm.Normal("params_season", 0, 0.3, dims=dims["params_season"])
        pm.HalfNormal("sigma_MeasurementError", 0.5)
        space.build_statespace_graph(series())
    return model


MODELS = {
    f"extras_{build.__name__}": Entry(build)
    for build in (
        generalized_poisson,
        generalized_extreme,
        skellam,
        chi_and_maxwell,
        beta_negative_binomial,
        shrinkage,
        partial_order,
        markov_chain,
        interpolated_spline,
        projected_process,
        karhunen_loeve,
        arma,
        smoothing,
        structural,
    )
}
