"""Mixtures whose means are ordered, so that their labels cannot switch."""

import numpy as np
import pymc as pm
from sklearn.datasets import load_iris

from models.entry import Entry

# Petal lengths in cm: setosa's stand apart, the two other species' overlap.
PETALS = load_iris().data[::4, 2]
ORDERED = pm.distributions.transforms.ordered


def normals() -> pm.Model:
    with pm.Model(coords={"component": range(3)}) as model:
        w = pm.Dirichlet("w", np.full(3, 2.0), dims="component")
        mu = pm.Normal(
            "mu",
            [1.5, 4.0, 6.0],
            1,
            transform=ORDERED,
            initval=[1.0, 4.0, 6.0],
            dims="component",
        )
        # Arrays: what it takes as Python numbers, PyMC puts into 32 bits if it fits.
        sigma = pm.Gamma("sigma", np.full(3, 4.0), np.full(3, 10.0), dims="component")
        pm.NormalMixture("petal", w, mu, sigma, observed=PETALS)
    return model


def of_a_list() -> pm.Model:
    """Components of two families."""
    with pm.Model() as model:
        w = pm.Beta("w", 2, 2)
        rate = pm.Gamma("rate", 2, 1)
        mean = pm.Normal("mean", 5, 1)
        parts = [pm.Exponential.dist(rate), pm.StudentT.dist(5, mu=mean, sigma=0.7)]
        pm.Mixture("petal", pm.math.stack([w, 1 - w]), parts, observed=PETALS[::2])
    return model


MODELS = {
    "ordered_mixture": Entry(normals),
    "mixture_of_families": Entry(of_a_list),
}
