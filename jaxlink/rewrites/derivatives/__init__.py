"""Graphs whose derivative JAX gets right: the last step before linking.

`decide_once` sees to it that what chose a value also chooses its cotangent, and
`shield` that a cotangent of zero stays zero. Neither changes a value, and a graph in
which nothing is chosen stays as it is.
"""

from typing import Any

from pytensor.graph.fg import FrozenFunctionGraph

from jaxlink.rewrites.derivatives.decisions import decide_once
from jaxlink.rewrites.derivatives.shields import shield

__all__ = ["settle_derivatives"]


def settle_derivatives(fgraph: Any) -> Any:
    """``fgraph`` made ready for differentiation; itself if nothing is to be done."""
    if isinstance(fgraph, FrozenFunctionGraph):
        changed = shield(decide_once(fgraph.unfreeze()))
        return changed
    return shield(decide_once(fgraph))
