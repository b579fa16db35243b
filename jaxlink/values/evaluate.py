"""Evaluate a node with PyTensor's own code, where all operands are known."""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import jax
import numpy as np
import pytensor.scalar as ps
from pytensor.graph.basic import AbstractApply
from pytensor.tensor.basic import Join, MakeVector, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.subtensor import Subtensor

from jaxlink.errors import ArgumentError
from jaxlink.values.symbolic_sizes import as_sizes
from jaxlink.values.types import kind_of


def evaluate(node: AbstractApply, operands: Sequence[Any]) -> list[Any]:
    """The outputs of ``node``, computed by its ``Op.perform``.

    Raises:
        ArgumentError: the Op computed values that its declared dtype cannot hold.
    """
    cells: list[list[Any]] = [[None] for _ in node.outputs]
    values = [
        np.asarray(value, var.type.dtype) if kind_of(var.type) == "array" else value
        for var, value in zip(node.inputs, operands, strict=True)
    ]
    node.op.prepare_node(node, None, None, "py")
    with np.errstate(all="ignore"):  # as in JAX: 1 / 0 is inf, without a warning
        node.op.perform(node, values, cells)
    return [
        _as_declared(node, i, cell) if kind_of(var.type) == "array" else cell
        for i, (var, (cell,)) in enumerate(zip(node.outputs, cells, strict=True))
    ]


def _as_declared(node: AbstractApply, i: int, cell: Any) -> np.ndarray:
    """An output in its variable's dtype; floats are rounded to it."""
    array, dtype = np.asarray(cell), np.dtype(node.outputs[i].type.dtype)
    if array.dtype == dtype:
        return array
    real = array.real if array.dtype.kind == "c" and dtype.kind != "c" else array
    with np.errstate(all="ignore"):
        cast = real.astype(dtype)
    loses = real is not array and bool(np.any(array.imag))
    if loses or (dtype.kind in "iub" and not np.array_equal(cast, real)):
        raise ArgumentError(
            f"`{node.op}` computed its output {i} as {array.dtype}, but declares it as "
            f"{dtype}, which cannot hold these values. Its `make_node` must declare "
            "the dtype that `perform` returns."
        )
    return cast


_SCALAR: dict[type, Callable[..., Any]] = {
    ps.Add: lambda *xs: reduce(operator.add, xs),
    ps.Mul: lambda *xs: reduce(operator.mul, xs),
    ps.Sub: operator.sub,
    ps.IntDiv: operator.floordiv,
    ps.Mod: operator.mod,
    ps.ScalarMaximum: lambda *xs: reduce(jax.core.max_dim, xs),
    ps.ScalarMinimum: lambda *xs: reduce(jax.core.min_dim, xs),
    ps.Identity: lambda x: x,
    ps.Cast: lambda x: x,
}


def compute_sizes(node: AbstractApply, operands: Sequence[Any]) -> list[Any] | None:
    """The outputs of a node on symbolic sizes, or ``None`` if they are not sizes."""
    op = node.op
    if any(out.type.dtype not in ("int64", "int32") for out in node.outputs):
        return None
    if isinstance(op, Elemwise):
        fn = _SCALAR.get(type(op.scalar_op))
        if fn is None:
            return None
        arrays = [np.asarray(x, object) for x in operands]
        return [as_sizes(np.frompyfunc(fn, len(arrays), 1)(*arrays))]
    if isinstance(op, CAReduce) and type(op.scalar_op) in (ps.Add, ps.Mul):
        combine = np.add if isinstance(op.scalar_op, ps.Add) else np.multiply
        return [as_sizes(combine.reduce(operands[0], axis=op.axis))]
    if isinstance(op, ScalarFromTensor | TensorFromScalar):
        return [as_sizes(operands[0])]
    if isinstance(op, MakeVector):
        return [as_sizes([np.asarray(x, object).item() for x in operands])]
    if isinstance(op, DimShuffle | Join | Subtensor):
        cells: list[list[Any]] = [[None]]
        op.perform(node, list(operands), cells)
        return [as_sizes(cells[0][0])]
    return None
