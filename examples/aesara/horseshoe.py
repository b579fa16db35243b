"""A horseshoe regression in Aesara and AePPL: what an old project may hold.

It needs an environment of its own, of Python 3.11 at most. With the exporter beside it,

    cp ../../jaxlink/aesara_export.py .
    python aesara_export.py horseshoe.py:prior prior.aesara
    python aesara_export.py horseshoe.py:density density.aesara

writes the two files that are here, and `from_aesara.py` reads.
"""

import aesara.tensor as at
from aeppl import joint_logprob
from aesara.tensor.random.utils import RandomStream


def build():
    """The variables of the model, by name."""
    srng = RandomStream(0)
    X = at.matrix("X")
    size = X.shape[1]
    tau = srng.halfcauchy(0, 1, name="tau")
    lmbda = srng.halfcauchy(0, 1, size=size, name="lambda")
    beta = srng.normal(0, lmbda * tau, size=size, name="beta")
    Y = srng.bernoulli(at.sigmoid(-at.dot(X, beta)), name="Y")
    return {"X": X, "tau": tau, "lambda": lmbda, "beta": beta, "Y": Y}


def prior():
    """Draws of all variables."""
    variables = build()
    X = variables.pop("X")
    return [X], variables


def density():
    """The joint log density of X and the values of all variables."""
    variables = build()
    X = variables.pop("X")
    values = {var: var.clone(name=name) for name, var in variables.items()}
    logp, _ = joint_logprob(realized=values)
    return [X, *values.values()], logp
