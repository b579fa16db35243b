"""Indexing and sorting."""

from collections.abc import Iterator
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.type import Type
from pytensor.tensor.sort import ArgSortOp, SortOp
from pytensor.tensor.type_other import MakeSlice, NoneTypeT, SliceType

from jaxlink.aesara.conversions.tensor import constant_of
from jaxlink.aesara.parts import Conversion, Node, Rows, same

__all__ = ["ROWS", "advanced_index"]


def _basic_indices(node: Node, operands: list[Any]) -> tuple[Any, ...]:
    """The indices of `Subtensor`: a type in ``idx_list`` stands for an operand."""
    left = iter(operands)
    return tuple(_basic_index(entry, left) for entry in node.op["idx_list"])


def _basic_index(entry: Any, operands: Iterator[Any]) -> Any:
    if isinstance(entry, slice):
        bounds = (entry.start, entry.stop, entry.step)
        return slice(*[_basic_index(bound, operands) for bound in bounds])
    return next(operands) if isinstance(entry, Type) else entry


def advanced_index(variable: Any) -> Any:
    if isinstance(variable.type, NoneTypeT):
        return None
    if isinstance(variable.type, SliceType):
        if isinstance(variable, Constant):
            return variable.data
        return slice(*map(advanced_index, variable.owner.inputs))
    return variable


def _write(node: Node, x: Any, y: Any, index: tuple[Any, ...]) -> Variable:
    # Without indices, Aesara writes the whole of x.
    target = x[index] if index else x[...]
    if node.op["set_instead_of_inc"]:
        return pt.set_subtensor(target, y)
    return pt.inc_subtensor(target, y, ignore_duplicates=_ignore_duplicates(node))


def _ignore_duplicates(node: Node) -> bool:
    return bool(node.op.props.get("ignore_duplicates", False))


def _subtensor(node: Node) -> Variable:
    x, *operands = node.inputs
    return x[_basic_indices(node, operands)]


def _inc_subtensor(node: Node) -> Variable:
    x, y, *operands = node.inputs
    return _write(node, x, y, _basic_indices(node, operands))


def _advanced_subtensor(node: Node) -> Variable:
    x, *operands = node.inputs
    return x[tuple(map(advanced_index, operands))]


def _advanced_inc_subtensor(node: Node) -> Variable:
    x, y, *operands = node.inputs
    return _write(node, x, y, tuple(map(advanced_index, operands)))


def _sort(op_class: type) -> Conversion:
    def convert(node: Node) -> Any:
        axis = constant_of(node, 1, "axis")
        x = node.inputs[0]
        x, axis = (x.ravel(), 0) if axis is None else (x, int(axis) % x.type.ndim)
        return op_class(kind=node.op["kind"], axis=axis).make_node(x).outputs

    return convert


def _top_k(node: Node) -> list[Variable]:
    """The k largest, in falling order, or for a negative k the smallest."""
    x = node.inputs[0]
    k = int(constant_of(node, 1, "number k"))
    axis = node.op["axis"] % x.type.ndim
    last = slice(None, -k) if k < 0 else slice(None, -k - 1, -1)
    chosen = (*[slice(None)] * axis, last)
    outputs = []
    if node.op["return_values"]:
        outputs.append(pt.sort(x, axis=axis)[chosen])
    if node.op["return_indices"]:
        indices = pt.argsort(x, axis=axis)[chosen]
        outputs.append(pt.cast(indices, node.op["idx_dtype"]))
    return outputs


ROWS: Rows = {
    "tensor.Subtensor": _subtensor,
    "tensor.IncSubtensor": _inc_subtensor,
    "tensor.AdvancedSubtensor": _advanced_subtensor,
    "tensor.AdvancedSubtensor1": _advanced_subtensor,
    "tensor.AdvancedIncSubtensor": _advanced_inc_subtensor,
    "tensor.AdvancedIncSubtensor1": _advanced_inc_subtensor,
    "tensor.MakeSlice": same(MakeSlice),
    "tensor.SortOp": _sort(SortOp),
    "tensor.ArgSortOp": _sort(ArgSortOp),
    "tensor.TopKOp": _top_k,
}
