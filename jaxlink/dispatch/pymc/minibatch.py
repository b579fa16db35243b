"""Random variables of PyMC that are observed in minibatches."""

from collections.abc import Callable
from typing import Any

from pymc.variational.minibatch_rv import MinibatchRandomVariable

from jaxlink.dispatch.registry import rule


@rule(MinibatchRandomVariable)
def minibatch_random_variable(op: Any, node: Any) -> Callable[..., Any]:
    del op, node
    # The sizes of the whole data matter to the density alone.
    return lambda draws, *total_size: draws
