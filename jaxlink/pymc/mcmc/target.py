"""The density that NUTS samples from, and whether it can."""

import pymc as pm
from pymc.exceptions import SamplingError

from jaxlink.pymc.mcmc.kernels import Shapes
from jaxlink.pymc.model.density import logdensity
from jaxlink.pymc.model.differentiability import (
    check_gradient,
    variables_without_gradient,
)
from jaxlink.pymc.model.function import ModelFunction

__all__ = ["check_variables", "target_density"]


def check_variables(model: pm.Model) -> None:
    """Raise unless NUTS can move all free variables."""
    if not model.free_RVs:
        raise SamplingError(
            "the model has no free variables, so there is nothing to sample."
        )
    if any(found := variables_without_gradient(model)):
        raise ValueError(
            f"NUTS needs gradients, so it cannot move {found}. {found.advice}"
        )


def target_density(
    model: pm.Model, shapes: Shapes, host_callback: bool
) -> ModelFunction:
    """The log density of a position.

    Raises:
        SamplingError, ValueError: NUTS cannot sample from it.
    """
    if not any(entry.size for entry in shapes.values()):
        raise SamplingError("all free variables of the model are empty.")
    density = logdensity(model, host_callback=host_callback)
    if density.takes_key:
        raise ValueError(
            "the log density is random, because of pm.Minibatch, so NUTS cannot sample "
            "from it. Use jaxlink.pymc.fit, or all of the data."
        )
    check_gradient(density, shapes)
    return density
