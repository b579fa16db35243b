"""Times that are known in part: censored, as a distribution and as a potential."""

import numpy as np
import pymc as pm

from models.entry import Entry

# Weeks of remission of leukaemia, and whether the relapse was seen; 6-MP, then placebo.
WEEKS = np.array(
    [
        *(6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35),
        *(1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23),
    ],
    dtype=float,
)
SEEN = np.array(
    [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, *[1] * 21]
).astype(bool)
TREATED = np.repeat([1.0, 0.0], 21)


def censored() -> pm.Model:
    with pm.Model() as model:
        shape = pm.Gamma("shape", 4, 4)
        intercept = pm.Normal("intercept", 2, 1)
        effect = pm.Normal("effect", 0, 1)
        scale = pm.math.exp(intercept + effect * TREATED)
        pm.Censored(
            "weeks",
            pm.Weibull.dist(shape, scale),
            lower=None,
            upper=np.where(SEEN, np.inf, WEEKS),
            observed=WEEKS,
        )
    return model


def by_potential() -> pm.Model:
    """The same density, the censored part of it a potential."""
    with pm.Model() as model:
        shape = pm.Gamma("shape", 4, 4)
        intercept = pm.Normal("intercept", 2, 1)
        effect = pm.Normal("effect", 0, 1)
        scale = pm.math.exp(intercept + effect * TREATED)
        pm.Weibull("relapses", shape, scale[SEEN], observed=WEEKS[SEEN])
        pm.Potential("survival", -((WEEKS[~SEEN] / scale[~SEEN]) ** shape))
    return model


MODELS = {"censored": Entry(censored), "survival_potential": Entry(by_potential)}
