"""Prepare a graph so that JAX's derivatives are right.

`decide_once` makes the decision that chose a value also choose its cotangent. `shield`
keeps a zero cotangent zero. Neither changes a value, and a graph that makes no choice
stays unchanged.
"""

from pytensor.graph.fg import FunctionGraph

from jaxlink.rewrites.derivatives.decisions import decide_once
from jaxlink.rewrites.derivatives.shields import shield

__all__ = ["settle_derivatives"]


def settle_derivatives(fgraph: FunctionGraph) -> None:
    """Prepare ``fgraph``, in place, for differentiation by JAX."""
    settled = shield(decide_once(fgraph))
    for i, out in enumerate(settled.outputs):
        node, place = fgraph.get_output_client(i)
        fgraph.change_node_input(
            node, place, out, reason="settle_derivatives", import_missing=True
        )
