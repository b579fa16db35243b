"""The gradients that sparse Ops are made with survive until JAX differentiates.

PyTensor takes ``DenseFromSparse(structured=True)`` and ``(structured=False)`` for the
same Op, and likewise ``sp_sum`` with either ``sparse_grad``: it merges them once it has
taken its gradients. JAX differentiates afterwards, so one kind of each is replaced
by an Op that compares unlike the other.
"""

import sys
from typing import Any

from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import node_rewriter

__all__ = ["distinguish_structured"]


@node_rewriter(None)
def distinguish_structured(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """A regular DenseFromSparse, a structured SpSum -> Ops of their own; declines what
    is neither."""
    del fgraph
    if "pytensor.sparse" not in sys.modules:
        return None
    # Importing these imports PyTensor's package, so only where it is used already, and
    # ours imports JAX's, so only where one of its Ops is met.
    from pytensor.sparse.basic import DenseFromSparse
    from pytensor.sparse.math import SpSum

    op = node.op
    if type(op) is DenseFromSparse and not op.sparse_grad:
        from jaxlink.ops.sparse import RegularDenseFromSparse

        return [RegularDenseFromSparse(structured=False)(*node.inputs)]
    if type(op) is SpSum and op.structured:
        from jaxlink.ops.sparse import StructuredSum

        return [StructuredSum(op.axis, sparse_grad=True)(*node.inputs)]
    return None
