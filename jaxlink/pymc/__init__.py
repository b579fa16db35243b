"""PyMC models as plain JAX functions, and samplers on top of them.

A model's functions (`logdensity`, `prior`, ...) are plain JAX functions of dicts by
name. Functions that share a name with PyMC's, such as `sample` and `find_MAP`, take the
same arguments and return the same ``DataTree``.
"""

# ruff: noqa: E402
from jaxlink.optional import load

load("pymc", "jaxlink.pymc")

from jaxlink.pymc.batched.runner import RunOptions
from jaxlink.pymc.map.find_map import find_MAP
from jaxlink.pymc.mcmc.sample import sample
from jaxlink.pymc.model.density import log_likelihood, log_prior, logdensity
from jaxlink.pymc.model.function import ModelFunction
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.predictive import posterior_predictive, prior
from jaxlink.pymc.model.transforms import Ravel, constrain, ravel, unconstrain
from jaxlink.pymc.predict.compute import (
    compute_deterministics,
    compute_log_likelihood,
    compute_log_prior,
)
from jaxlink.pymc.predict.forward import (
    sample_posterior_predictive,
    sample_prior_predictive,
)
from jaxlink.pymc.predict.to_datatree import to_datatree
from jaxlink.pymc.replay.replay import Replay, replay
from jaxlink.pymc.shared.context import one_call
from jaxlink.pymc.vi.approximation import Approximation
from jaxlink.pymc.vi.fit import fit

# Each of these compiles several functions in one call by the user.
sample = one_call(sample)
fit = one_call(fit)
find_MAP = one_call(find_MAP)  # noqa: N816
sample_prior_predictive = one_call(sample_prior_predictive)
sample_posterior_predictive = one_call(sample_posterior_predictive)
compute_deterministics = one_call(compute_deterministics)
compute_log_likelihood = one_call(compute_log_likelihood)
compute_log_prior = one_call(compute_log_prior)
ravel = one_call(ravel)
to_datatree = one_call(to_datatree)
replay = one_call(replay)

__all__ = [
    "Approximation",
    "ModelFunction",
    "Ravel",
    "Replay",
    "RunOptions",
    "compute_deterministics",
    "compute_log_likelihood",
    "compute_log_prior",
    "constrain",
    "find_MAP",
    "fit",
    "initial_position",
    "log_likelihood",
    "log_prior",
    "logdensity",
    "posterior_predictive",
    "prior",
    "ravel",
    "replay",
    "sample",
    "sample_posterior_predictive",
    "sample_prior_predictive",
    "to_datatree",
    "unconstrain",
]
