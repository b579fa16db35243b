"""PyMC's random variables that are observed in minibatches."""

from typing import Any

from pymc.variational.minibatch_rv import MinibatchRandomVariable

from jaxlink.dispatch.registry import Function, rule


@rule(MinibatchRandomVariable)
def minibatch_random_variable(op: Any, node: Any) -> Function:
    # The size of the full data only affects the density.
    return lambda draws, *total_size: draws
