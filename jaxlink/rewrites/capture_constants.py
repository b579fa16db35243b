"""Constant arrays become inputs of the graph.

A large constant slows XLA's compilation down, and forces a recompilation when it
changes. An argument does neither. Small constants stay while the graph is rewritten,
because rewrites read them. Then arrays that are only computed with, such as observed
values, and those that index, such as the groups of observations, become inputs too, so
that graphs that differ in nothing else share a program.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scalar.basic import Pow, ScalarInnerGraphOp
from pytensor.scan.op import Scan
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import Dot
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor
from pytensor.tensor.variable import TensorConstant

from jaxlink.dispatch.indexing.dynamic_slices import first_index
from jaxlink.ops.known_range import KnownRange
from jaxlink.ops.loop import Loop

__all__ = ["capture_arrays", "capture_constants", "is_large", "take_values"]

# In elements. Scalars, shapes and small tables are better folded into the program.
LARGE = 1024


def is_large(shape: Sequence[int | None]) -> bool:
    """Whether a constant of this shape slows XLA's compilation down."""
    return math.prod(n or 0 for n in shape) > LARGE


def capture_constants(fgraph: FunctionGraph) -> None:
    """Add an input for each large constant: a shared variable with its value."""
    for constant in _constants(fgraph):
        if is_large(constant.data.shape):
            _capture(fgraph, constant)


def capture_arrays(fgraph: FunctionGraph) -> None:
    """Add an input for each constant array that is only computed or indexed with. Large
    ones, which another rewrite may have made, come before small ones."""
    constants = _constants(fgraph)
    for constant in sorted(constants, key=lambda one: not is_large(one.data.shape)):
        if isinstance(constant.data, np.ndarray) and all(
            _indexes(node.op, i, constant)
            or (_computes_with(node.op, constant.dtype) and not _is_literal(constant))
            for node, i in fgraph.clients[constant]
        ):
            _capture(fgraph, constant)


def _constants(fgraph: FunctionGraph) -> list[TensorConstant]:
    used = [var for node in fgraph.toposort() for var in node.inputs] + fgraph.outputs
    return [var for var in dict.fromkeys(used) if isinstance(var, TensorConstant)]


def _is_literal(constant: TensorConstant) -> bool:
    """Whether an array repeats one number, which is a scalar in the program. Booleans
    are comparisons of data, which come out the same by chance."""
    array = constant.data
    if array.size < 2 or array.dtype.kind == "b":
        return array.size < 2
    return array.tobytes() == array.flat[0].tobytes() * array.size


def _computes_with(op: Any, dtype: str) -> bool:
    """Whether an Op only computes with a constant of this dtype. Rules may read the
    value of an exponent, and of integers that count or index."""
    if isinstance(op, Elemwise):
        return not isinstance(op.scalar_op, Pow | ScalarInnerGraphOp)
    is_number = dtype.startswith(("float", "complex"))
    return is_number and isinstance(op, Dot | Blockwise | Scan | Loop)


def _indexes(op: Any, operand: int, constant: TensorConstant) -> bool:
    """Whether a constant is an array of indices of an Op that reads or writes by it."""
    if not isinstance(op, AdvancedSubtensor | AdvancedIncSubtensor):
        return False
    place = operand - first_index(op)
    is_index = constant.dtype.startswith(("int", "uint")) and constant.data.size > 1
    return is_index and place in op.idx_list


def _capture(fgraph: FunctionGraph, constant: TensorConstant) -> None:
    new: Variable = TensorSharedVariable(
        constant.type, constant.data, strict=True, name=constant.name
    )
    fgraph.add_input(new)
    if any(_indexes(node.op, i, constant) for node, i in fgraph.clients[constant]):
        low, high = int(constant.data.min()), int(constant.data.max())
        new = KnownRange(low, high)(new)
    fgraph.replace(constant, new, reason="capture_constants")


def take_values(fgraph: FunctionGraph, first: int) -> list[Any]:
    """Take the values out of the captured constants, which are the inputs from
    ``first`` on. They become plain inputs, so the graph itself holds no data.

    Returns:
        Their values.
    """
    captured = fgraph.inputs[first:]
    for var in captured:
        plain = var.type(name=var.name)
        fgraph.add_input(plain)
        fgraph.replace(var, plain, reason="take_values")
        fgraph.remove_input(first)
    return [var.get_value(borrow=True) for var in captured]
