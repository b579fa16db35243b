"""Sorting and searching."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from pytensor.tensor.basic import PermuteRowElements
from pytensor.tensor.extra_ops import SearchsortedOp
from pytensor.tensor.sort import ArgSortOp, SortOp

from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.static import canonical


# The axis is an attribute of the Op. Before PyTensor 3.3.4 it was an operand.
@rule(SortOp, static=(1,))
def sort(op: SortOp, node: Any) -> Function:
    def run(x: Any, axis: Any = None) -> Any:
        return jnp.sort(x, axis=op.axis if axis is None else int(axis))

    return run


@rule(ArgSortOp, static=(1,))
def argsort(op: ArgSortOp, node: Any) -> Function:
    # Always stable: for other kinds of sort, NumPy does not define the order of ties.
    def run(x: Any, axis: Any = None) -> Any:
        order = jnp.argsort(x, axis=op.axis if axis is None else int(axis))
        return order.astype(canonical("int64"))

    return run


@rule(SearchsortedOp)
def searchsorted(op: SearchsortedOp, node: Any) -> Function:
    common = np.result_type(*(var.type.dtype for var in node.inputs[:2]))

    def run(x: Any, v: Any, sorter: Any = None) -> Any:
        x, v = (jnp.asarray(a, canonical(common)) for a in (x, v))
        x = x if sorter is None else x[sorter]
        return jnp.searchsorted(x, v, side=op.side).astype(canonical("int64"))

    return run


@rule(PermuteRowElements)
def permute_row_elements(op: PermuteRowElements, node: Any) -> Function:
    def run(x: Any, order: Any) -> Any:
        order = jnp.argsort(order, axis=-1) if op.inverse else order
        shape = jnp.broadcast_shapes(x.shape, order.shape)
        x, order = (jnp.broadcast_to(a, shape) for a in (x, order))
        return jnp.take_along_axis(x, order, axis=-1)

    return run
