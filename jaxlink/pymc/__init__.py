"""PyMC models as plain JAX functions, and samplers on top of them."""

from jaxlink.pymc.density import log_likelihood, log_prior, logdensity
from jaxlink.pymc.functions import ModelFunction
from jaxlink.pymc.initial import initial_position
from jaxlink.pymc.predictive import posterior_predictive, prior
from jaxlink.pymc.transforms import Ravel, constrain, ravel, unconstrain

__all__ = [
    "ModelFunction",
    "Ravel",
    "constrain",
    "initial_position",
    "log_likelihood",
    "log_prior",
    "logdensity",
    "posterior_predictive",
    "prior",
    "ravel",
    "unconstrain",
]
