"""Unsigned slice bounds become signed.

PyTensor's ``local_useless_subtensor`` asserts that bounds are signed, so ``x[:n]``
fails if ``n`` is unsigned.
"""

from typing import Any

import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.tensor.basic import ScalarFromTensor, scalar_from_tensor
from pytensor.tensor.subtensor import IncSubtensor, Subtensor


@node_rewriter([Subtensor, IncSubtensor])
def signed_index(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """x[:n] -> x[:int64(n)]; declines if no index is both unsigned and variable."""
    del fgraph
    first = 2 if isinstance(node.op, IncSubtensor) else 1
    old = node.inputs[first:]
    new = [_signed(index) for index in old]
    if all(a is b for a, b in zip(old, new, strict=True)):
        return None
    return [node.op(*node.inputs[:first], *new)]


def _signed(index: Any) -> Any:
    if isinstance(index, Constant) or not index.type.dtype.startswith("uint"):
        return index
    if index.owner is not None and isinstance(index.owner.op, ScalarFromTensor):
        return scalar_from_tensor(pt.cast(index.owner.inputs[0], "int64"))
    return ps.cast(index, "int64")


signed_bounds = dfs_rewriter(signed_index)
