"""Hierarchies: eight schools in both parameterisations, and varying slopes."""

import numpy as np
import pymc as pm

from models.entry import Entry

SCHOOLS = list("ABCDEFGH")
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools_centred() -> pm.Model:
    with pm.Model(coords={"school": SCHOOLS}) as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        theta = pm.Normal("theta", mu, tau, dims="school")
        pm.Normal("effect", theta, ERRORS, observed=EFFECTS, dims="school")
    return model


def eight_schools() -> pm.Model:
    with pm.Model(coords={"school": SCHOOLS}) as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        z = pm.Normal("z", dims="school")
        theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        pm.Normal("effect", theta, ERRORS, observed=EFFECTS, dims="school")
    return model


def varying_slopes() -> pm.Model:
    """Intercepts and slopes of six groups, correlated."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(6), 5)
    x = rng.normal(size=group.size)
    spread = rng.multivariate_normal([1.0, -0.5], [[0.5, 0.2], [0.2, 0.3]], size=6)
    y = spread[group, 0] + spread[group, 1] * x + rng.normal(0, 0.4, group.size)
    coords = {"effect": ["intercept", "slope"], "group": list("uvwxyz")}
    with pm.Model(coords=coords) as model:
        chol, _corr, _sds = pm.LKJCholeskyCov(
            "chol", n=2, eta=2.0, sd_dist=pm.Exponential.dist(1.0, size=2)
        )
        mean = pm.Normal("mean", 0, [1.0, 0.5], dims="effect")
        z = pm.Normal("z", dims=("group", "effect"))
        effects = pm.Deterministic(
            "effects", mean + z @ chol.T, dims=("group", "effect")
        )
        sigma = pm.HalfNormal("sigma", 1)
        pm.Normal("y", effects[group, 0] + effects[group, 1] * x, sigma, observed=y)
    return model


MODELS = {
    "eight_schools_centred": Entry(eight_schools_centred),
    "eight_schools": Entry(eight_schools),
    "varying_slopes": Entry(varying_slopes),
}
