"""Which loops must keep their computations inside.

PyTensor moves computations that depend only on sequences out of a loop, to do them for
all steps at once. In ``where(state > 0, sqrt(x_t), x_t)``, that moves ``sqrt`` outside
but leaves the choice inside, so no mask can reach the slope of ``sqrt``. Such a loop
keeps its computations.
"""

from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan

from jaxlink.ops.gradients import MaskedGradient
from jaxlink.rewrites.derivatives.shields import shield
from jaxlink.rewrites.inner_graphs import all_nodes

__all__ = ["loops_need_masks"]


def loops_need_masks(fgraph: FunctionGraph) -> bool:
    """Whether `shield` puts a mask into a step of a loop, in ``fgraph`` or one of its
    inner graphs."""
    return any(
        isinstance(node.op, Scan) and _needs_masks(node.op.fgraph.unfreeze())
        for node in all_nodes(fgraph)
    )


def _needs_masks(step: FunctionGraph) -> bool:
    return any(isinstance(n.op, MaskedGradient) for n in shield(step).apply_nodes)
