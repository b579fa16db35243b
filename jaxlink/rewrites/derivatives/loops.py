"""What a loop may leave to the graph around it.

PyTensor moves what a step computes of its sequences alone out of the loop, where it is
computed for all steps at once. If the step then chooses, as ``where(state > 0,
sqrt(x_t), x_t)`` does, the choice stays inside and the function whose slope it cuts off
stands outside, out of the reach of a mask. So such a loop keeps what it computes.
"""

from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan

from jaxlink.ops.gradients import MaskedGradient
from jaxlink.rewrites.derivatives.shields import shield
from jaxlink.rewrites.inner_graphs import all_nodes

__all__ = ["loops_need_masks"]


def loops_need_masks(fgraph: FunctionGraph) -> bool:
    """Whether a loop, of ``fgraph`` or of a graph inside it, has steps that `shield`
    puts a mask into."""
    return any(
        isinstance(node.op, Scan) and _needs_masks(node.op.fgraph.unfreeze())
        for node in all_nodes(fgraph)
    )


def _needs_masks(step: FunctionGraph) -> bool:
    return any(isinstance(n.op, MaskedGradient) for n in shield(step).apply_nodes)
