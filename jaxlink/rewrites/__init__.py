"""Graph -> graph, before linking. `STEPS` is the pipeline: read it top to bottom."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan

from jaxlink.rewrites.capture_constants import (
    capture_arrays,
    capture_constants,
    take_values,
)
from jaxlink.rewrites.derivatives import settle_derivatives
from jaxlink.rewrites.differential_equations import lower_differential_equations
from jaxlink.rewrites.gradients import keep_gradients
from jaxlink.rewrites.inner_graphs import rewrite_inner_graphs
from jaxlink.rewrites.logarithms import join_complements, join_logarithms
from jaxlink.rewrites.masks import absorb_masks
from jaxlink.rewrites.pytensor_rewrites import pytensor_rewrites
from jaxlink.rewrites.random_key import count_draws
from jaxlink.rewrites.signed_bounds import signed_bounds
from jaxlink.rewrites.stacking import stack_isomorphic
from jaxlink.rewrites.trim_scans import mask_while_scans, trim_scans

__all__ = ["STEPS", "rewrite", "rewrite_inner"]


def pymc_distributions(fgraph: FunctionGraph) -> None:
    """Lower the symbolic distributions of PyMC whose graph is not enough for JAX."""
    if "pymc" in sys.modules:
        # PyMC is optional: a graph has its distributions only if PyMC is loaded.
        from jaxlink.rewrites.lower_distributions import lower_distributions

        lower_distributions(fgraph)


def rewrite_all_inner(fgraph: FunctionGraph) -> None:
    """Rewrite the inner graphs of the Ops in ``fgraph``."""

    def rewrite(op: Any, inner: FunctionGraph) -> None:
        rewrite_inner(inner, [inner.inputs[i] for i in _varying_inputs(op)])

    rewrite_inner_graphs(fgraph, rewrite, "rewrite_all_inner")


def _varying_inputs(op: Any) -> range:
    """The inner inputs that change between the steps of a loop."""
    core = getattr(op, "core_op", op)
    scan = getattr(core, "scan", core)
    if not isinstance(scan, Scan):
        return range(0)
    return range(scan.info.n_inner_inputs - scan.info.n_non_seqs)


def rewrite_inner(fgraph: FunctionGraph, varying: Iterable[Variable] = ()) -> None:
    """Rewrite an inner graph, which PyTensor has rewritten along with the outer graph,
    or a graph that a rule made. ``varying`` inputs cannot be static."""
    absorb_masks(fgraph, varying)
    join_logarithms.rewrite(fgraph)
    settle_derivatives(fgraph)
    rewrite_all_inner(fgraph)


# Each changes the graph in place.
STEPS: tuple[Callable[[FunctionGraph], Any], ...] = (
    pymc_distributions,
    lower_differential_equations,
    stack_isomorphic,
    keep_gradients.rewrite,
    signed_bounds.rewrite,
    join_complements.rewrite,  # so that PyTensor's rewrites stabilize the result
    pytensor_rewrites,
    join_logarithms.rewrite,
    mask_while_scans,  # so that reads of a Scan's steps are selections
    absorb_masks,
    trim_scans,
    count_draws,
    capture_constants,
    settle_derivatives,
    rewrite_all_inner,
    capture_arrays,
)


def rewrite(fgraph: FunctionGraph, stack: bool = True) -> list[Any]:
    """Rewrite ``fgraph`` in place for linking. Constant arrays become extra inputs
    at the end.

    Arguments:
        fgraph: the graph.
        stack: whether to stack isomorphic parts.

    Returns:
        The values of these constants.
    """
    n_inputs = len(fgraph.inputs)
    for step in STEPS:
        if stack or step is not stack_isomorphic:
            step(fgraph)
    return take_values(fgraph, n_inputs)
