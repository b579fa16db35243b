"""PyMC models as plain JAX functions, and samplers on top of them.

The functions of a model (`logdensity`, `prior`, ...) are plain JAX functions of dicts
by name; those that PyMC has too (`sample`, `sample_posterior_predictive`, ...) take its
arguments and return the ``DataTree`` that it returns.
"""

from jaxlink.pymc.approximation import Approximation
from jaxlink.pymc.density import log_likelihood, log_prior, logdensity
from jaxlink.pymc.forward import sample_posterior_predictive, sample_prior_predictive
from jaxlink.pymc.functions import ModelFunction
from jaxlink.pymc.initial import initial_position
from jaxlink.pymc.mcmc import sample
from jaxlink.pymc.optimum import find_MAP
from jaxlink.pymc.pointwise import (
    compute_deterministics,
    compute_log_likelihood,
    compute_log_prior,
)
from jaxlink.pymc.predictive import posterior_predictive, prior
from jaxlink.pymc.transforms import Ravel, constrain, ravel, unconstrain
from jaxlink.pymc.variational import fit

__all__ = [
    "Approximation",
    "ModelFunction",
    "Ravel",
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
    "sample",
    "sample_posterior_predictive",
    "sample_prior_predictive",
    "unconstrain",
]
