"""Graphs whose derivative JAX gets right: the last step before linking.

`decide_once` sees to it that what chose a value also chooses its cotangent, and
`shield` that a cotangent of zero stays zero. Neither changes a value, and a graph in
which nothing is chosen stays as it is.
"""

from pytensor.graph.fg import FunctionGraph

from jaxlink.rewrites.derivatives.decisions import decide_once
from jaxlink.rewrites.derivatives.shields import shield

__all__ = ["settle_derivatives"]


def settle_derivatives(fgraph: FunctionGraph) -> None:
    """Make ``fgraph`` ready for differentiation."""
    settled = shield(decide_once(fgraph))
    for i, out in enumerate(settled.outputs):
        node, place = fgraph.get_output_client(i)
        fgraph.change_node_input(
            node, place, out, reason="settle_derivatives", import_missing=True
        )
