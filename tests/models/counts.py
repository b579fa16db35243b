"""Counts and categories."""

import numpy as np
import pymc as pm

from models.entry import Entry

# Disasters in British coal mines a year, 1851-1961.
DISASTERS = np.array(
    [
        *(4, 5, 4, 0, 1, 4, 3, 4, 0, 6, 3, 3, 4, 0, 2, 6, 3, 3, 5, 4, 5, 3, 1, 4, 4),
        *(1, 5, 5, 3, 4, 2, 5, 2, 2, 3, 4, 2, 1, 3, 2, 2, 1, 1, 1, 1, 3, 0, 0, 1, 0),
        *(1, 1, 0, 0, 3, 1, 0, 3, 2, 2, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 2, 1, 0, 0),
        *(0, 1, 1, 0, 2, 3, 3, 1, 1, 2, 1, 1, 1, 1, 2, 4, 2, 0, 0, 1, 4, 0, 0, 0, 1),
        *(0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1),
    ]
)
RNG_SEED = 4
X = np.linspace(-1, 1, 24)


def ordinal() -> pm.Model:
    """Ordered logits: grades 0-3 rise with x."""
    noise = np.random.default_rng(RNG_SEED).logistic(size=24)
    grade = np.digitize(2 * X + noise, [-1.5, 0.0, 1.5])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 2)
        cutpoints = pm.Normal(
            "cutpoints",
            [-2.0, 0.0, 2.0],
            # Draws of the prior are not ordered, and must be by themselves.
            0.25,
            transform=pm.distributions.transforms.ordered,
            initval=[-2.0, 0.0, 2.0],
        )
        pm.OrderedLogistic("grade", slope * X, cutpoints, observed=grade)
    return model


def ordinal_probit() -> pm.Model:
    noise = np.random.default_rng(RNG_SEED).normal(size=24)
    grade = np.digitize(X + noise, [-0.7, 0.7])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1)
        first = pm.Normal("first", 0, 1)
        gap = pm.Gamma("gap", 3, 2)
        cutpoints = pm.math.stack([first - gap, first])
        # PyMC adds a Deterministic of the probabilities.
        pm.OrderedProbit("grade", slope * X, cutpoints, observed=grade)
    return model


def zero_inflated() -> pm.Model:
    """Two families with one regression."""
    rng = np.random.default_rng(RNG_SEED)
    fish = rng.poisson(np.exp(0.5 + X)) * rng.binomial(1, 0.7, 24)
    with pm.Model(coords={"trip": range(24)}) as model:
        intercept = pm.Normal("intercept", 0, 1)
        slope = pm.Normal("slope", 0, 1)
        psi = pm.Beta("psi", 2, 2)
        alpha = pm.Gamma("alpha", 3, 1)
        mu = pm.Deterministic("mu", pm.math.exp(intercept + slope * X), dims="trip")
        pm.ZeroInflatedPoisson("poisson", psi, mu, observed=fish, dims="trip")
        pm.ZeroInflatedNegativeBinomial(
            "negative_binomial", psi, mu, alpha, observed=fish
        )
    return model


def hurdle() -> pm.Model:
    rng = np.random.default_rng(RNG_SEED)
    rain = rng.gamma(2, 1, 20) * rng.binomial(1, 0.6, 20)
    days = rng.poisson(2, 20)
    with pm.Model() as model:
        psi = pm.Beta("psi", 2, 2)
        mu = pm.LogNormal("mu", 0.5, 0.5)
        alpha = pm.Gamma("alpha", 3, 1)
        pm.HurdleGamma("rain", psi, alpha, 1 / mu, observed=rain)
        pm.HurdleNegativeBinomial("storms", psi, mu, alpha, observed=days)
    return model


def coal_mining() -> pm.Model:
    """A change point among the years: a discrete parameter."""
    year = np.arange(1851, 1962)
    with pm.Model(coords={"year": year}) as model:
        switch = pm.DiscreteUniform("switch", 1851, 1961)
        early = pm.Exponential("early", 1.0)
        late = pm.Exponential("late", 1.0)
        rate = pm.Deterministic("rate", pm.math.switch(year <= switch, early, late))
        pm.Poisson("disasters", rate, observed=DISASTERS, dims="year")
    return model


def elections() -> pm.Model:
    """Multinomial counts of Dirichlet shares that differ by district."""
    votes = np.array([[30, 12, 8], [22, 20, 8], [40, 5, 5], [10, 25, 15]])
    coords = {"party": ["red", "green", "blue"], "district": list("nesw")}
    with pm.Model(coords=coords) as model:
        share = pm.Dirichlet("share", np.ones(3), dims="party")
        spread = pm.Gamma("spread", 4, 0.2)
        local = pm.Dirichlet("local", share * spread, dims=("district", "party"))
        pm.Multinomial("votes", 50, local, observed=votes, dims=("district", "party"))
        pm.DirichletMultinomial("polls", 20, share * spread, observed=[9, 6, 5])
        pm.Categorical("winners", share, observed=[0, 0, 0, 1])
    return model


MODELS = {
    "ordinal": Entry(ordinal),
    "ordinal_probit": Entry(ordinal_probit),
    "zero_inflated": Entry(zero_inflated),
    "hurdle": Entry(hurdle),
    "coal_mining": Entry(coal_mining),
    "elections": Entry(elections),
}
