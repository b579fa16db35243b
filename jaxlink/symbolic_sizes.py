"""Sizes that are symbols, as under ``jax.export`` with ``symbolic_shape("n")``.

Such a size is known before the call, but has no number: it is a Python object of JAX's
in an array of objects, and counts as static. What PyTensor computes from sizes alone is
computed on these objects; what is no size, such as a mean's divisor, is a JAX array.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax.export import is_symbolic_dim
from pytensor.graph.basic import AbstractApply
from pytensor.tensor.basic import (
    Join,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.subtensor import Subtensor

__all__ = ["as_length", "as_sizes", "compute", "is_symbolic", "to_values"]

_SCALAR: dict[type, Callable[..., Any]] = {
    ps.Add: lambda *xs: sum(xs[1:], xs[0]),
    ps.Mul: lambda *xs: np.multiply.reduce(np.array(xs, object)),
    ps.Sub: lambda x, y: x - y,
    ps.IntDiv: lambda x, y: x // y,
    ps.Mod: lambda x, y: x % y,
    ps.Identity: lambda x: x,
}


def as_sizes(lengths: Any) -> np.ndarray:
    """A shape, or one length, as PyTensor has it: int64, or objects if symbols are
    among them."""
    array = np.asarray(lengths, object)
    has_symbols = any(map(is_symbolic_dim, array.flat))
    return array if has_symbols else np.asarray(lengths, "int64")


def as_length(length: Any) -> Any:
    """One length of a shape: an int or a symbol."""
    item = np.asarray(length).item()
    return item if is_symbolic_dim(item) else int(item)


def is_symbolic(value: Any) -> TypeGuard[np.ndarray]:
    """Whether a static value holds symbols."""
    return isinstance(value, np.ndarray) and value.dtype == object


def to_values(sizes: np.ndarray, dtype: Any) -> jax.Array:
    """The numbers that symbols will have, as a JAX array."""
    values = [jnp.asarray(size, dtype) for size in sizes.flat]
    return jnp.stack(values).reshape(sizes.shape) if sizes.ndim else values[0]


def compute(node: AbstractApply, operands: Sequence[Any]) -> list[Any] | None:
    """The outputs of a node on sizes, or ``None`` if they are no sizes."""
    op = node.op
    if any(out.type.dtype not in ("int64", "int32") for out in node.outputs):
        return None
    if isinstance(op, Elemwise):
        scalar = op.scalar_op
        cast = isinstance(scalar, ps.Cast)
        fn = (lambda x: x) if cast else _SCALAR.get(type(scalar))
        if fn is None:
            return None
        arrays = np.broadcast_arrays(*(np.asarray(x, object) for x in operands))
        out = np.empty(arrays[0].shape, object)
        for index in np.ndindex(out.shape):
            out[index] = fn(*(array[index] for array in arrays))
        return [as_sizes(out)]
    if isinstance(op, CAReduce) and type(op.scalar_op) in (ps.Add, ps.Mul):
        reduce = np.add if isinstance(op.scalar_op, ps.Add) else np.multiply
        axes = tuple(range(operands[0].ndim)) if op.axis is None else tuple(op.axis)
        return [as_sizes(reduce.reduce(operands[0], axis=axes))]
    if isinstance(op, ScalarFromTensor | TensorFromScalar):
        return [as_sizes(operands[0])]
    if isinstance(op, MakeVector):
        return [as_sizes([np.asarray(x, object).item() for x in operands])]
    if isinstance(op, DimShuffle | Join | Subtensor):
        cells: list[list[Any]] = [[None]]
        op.perform(node, list(operands), cells)
        return [as_sizes(cells[0][0])]
    return None
