"""Models made of parts: potentials, submodels, deterministics, own distributions."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from models.entry import Entry

Y = np.array([0.3, -1.2, 0.8, 2.1, 0.4, 1.0, -0.3, 1.7])


def potential() -> pm.Model:
    """A smoothing prior and a constraint that no distribution states."""
    with pm.Model() as model:
        f = pm.Flat("f", shape=8)
        scale = pm.HalfFlat("scale")
        pm.Potential("smooth", -0.5 * ((f[2:] - 2 * f[1:-1] + f[:-2]) / 0.5) ** 2)
        pm.Potential("scale_prior", -scale)
        pm.Potential("bounded", pm.math.switch(pt.abs(f).max() < 10, 0.0, -np.inf))
        pm.Normal("y", f, scale, observed=Y)
    return model


def nested() -> pm.Model:
    """Two named submodels, a chain of deterministics and a distribution of our own."""

    def folded(loc, scale, size):
        return pt.exp(pm.Normal.dist(loc, scale, size=size)) + 0.5

    with pm.Model(coords={"unit": range(8)}) as model:
        level = pm.Normal("level", 0, 1)
        with pm.Model(name="first"):
            a = pm.Normal("a", level, 1)
            scale = pm.HalfNormal("scale", 1)
            with pm.Model(name="inner"):
                b = pm.Deterministic("b", a + scale)
        with pm.Model(name="second"):
            a2 = pm.Normal("a", b, 0.5)
            twice = pm.Deterministic("twice", 2 * a2)
        once = pm.Deterministic("once", twice / 2)
        rate = pm.CustomDist("rate", once / 4, 0.3, dist=folded, dims="unit")
        pm.Normal("beta[0]", once, rate, observed=Y, dims="unit")
    return model


def own_density() -> pm.Model:
    """A distribution that is given by its density alone."""

    def logp(value, loc, scale):
        return -pt.log(2 * scale) - pt.abs(value - loc) / scale

    with pm.Model() as model:
        loc = pm.Normal("loc", 0, 1)
        scale = pm.Exponential("scale", 1)
        weight = pm.Truncated("weight", pm.Normal.dist(0.5, 1), lower=0, upper=2)
        pm.CustomDist("y", loc, scale * weight, logp=logp, observed=Y)
    return model


MODELS = {
    "potential": Entry(potential, no_prior="Flat has no draws"),
    "nested": Entry(nested),
    "own_density": Entry(
        own_density,
        no_prior="a CustomDist without dist= or random=",
        no_predictive="a CustomDist without dist= or random=",
    ),
}
