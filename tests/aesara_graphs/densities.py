"""Log densities that AePPL makes."""

import aesara.tensor as at
import numpy as np
from aeppl import joint_logprob
from aesara.tensor.random.utils import RandomStream

from aesara_graphs import POSITIVE, graph


@graph
def horseshoe():
    """A logistic regression with a horseshoe prior."""
    rng, X = RandomStream(0), at.matrix("X")
    tau = rng.halfcauchy(0, 1, name="tau")
    scale = rng.halfcauchy(0, 1, size=X.shape[1], name="lambda")
    beta = rng.normal(0, scale * tau, size=X.shape[1], name="beta")
    Y = rng.bernoulli(at.sigmoid(-(X @ beta)), name="Y")
    logp, values = joint_logprob(tau, scale, beta, Y)
    ones = [1.0, np.ones(2), np.ones(2), np.ones(3, "int64")]
    return list(zip([X, *values], [np.ones((3, 2)), *ones])), logp


@graph
def density_of_many():
    """A density with one term for each of several distributions."""
    rng = RandomStream(1)
    made = [
        rng.gamma(2.0, 3.0, size=5, name="gamma"),
        rng.beta(2.0, 3.0, size=5, name="beta"),
        rng.invgamma(2.0, 3.0, size=5, name="invgamma"),
        rng.exponential(3.0, size=5, name="exponential"),
        rng.poisson(3.0, size=5, name="poisson"),
        rng.t(3.0, 0.5, 2.0, size=5, name="t"),
        rng.weibull(1.7, size=5, name="weibull"),
    ]
    logp, values = joint_logprob(*made)
    unit = np.linspace(0.1, 0.9, 5)
    counts = np.arange(5)
    points = [POSITIVE, unit, POSITIVE, POSITIVE, counts, POSITIVE, POSITIVE]
    return list(zip(values, points)), logp
