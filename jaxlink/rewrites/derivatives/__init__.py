"""Graphs whose derivative JAX gets right: the last step before linking.

`decide_once` sees to it that what chose a value also chooses its cotangent, and
`shield` that a cotangent of zero stays zero. Neither changes a value, and a graph in
which nothing is chosen stays as it is.
"""

from typing import Any

from pytensor.graph.fg import FrozenFunctionGraph

from jaxlink.rewrites.derivatives.decisions import decide_once
from jaxlink.rewrites.derivatives.shields import shield
from jaxlink.rewrites.logarithms import join_logarithms

__all__ = ["settle_derivatives"]


def settle_derivatives(fgraph: Any) -> Any:
    """``fgraph`` made ready for differentiation; itself if nothing is to be done."""
    if isinstance(fgraph, FrozenFunctionGraph):
        # A graph inside of an Op, which the rewrites of the outer graph left as it is.
        fgraph = fgraph.unfreeze()
        join_logarithms.rewrite(fgraph)
    return shield(decide_once(fgraph))
