"""The gradient options of sparse Ops survive until JAX differentiates.

``DenseFromSparse(structured=True)`` and ``(structured=False)`` compare equal in
PyTensor, and so does ``sp_sum`` with either ``sparse_grad``. PyTensor merges equal Ops
after it has taken gradients, but JAX differentiates later. So one of each pair is
replaced by an Op that compares unequal to the other.
"""

import sys
from typing import Any

from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import node_rewriter

__all__ = ["distinguish_structured"]


@node_rewriter(None)
def distinguish_structured(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """A regular DenseFromSparse or a structured SpSum -> its own Op; declines any other
    Op."""
    del fgraph
    if "pytensor.sparse" not in sys.modules:
        return None
    # These imports load PyTensor's sparse package, so make them only if it is already
    # loaded. Our module loads JAX's, so import it only for an Op that needs it.
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
