"""What is known before the call: NumPy in, NumPy out.

While a graph is traced, a value is *static* (NumPy, ``None``, a slice) or *dynamic* (a
JAX array, a tracer, a stream of keys). A node all of whose operands are static is
evaluated by PyTensor's own ``Op.perform`` and stays static, so shapes and what is
computed from them never become tracers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from pytensor.graph.basic import AbstractApply, Variable
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.type import TensorType

from jaxlink.errors import PrecisionError

__all__ = [
    "StaticValue",
    "as_literal",
    "canonical",
    "describe",
    "evaluate",
    "is_static",
    "name_of",
    "to_jax",
]


def canonical(dtype: Any) -> np.dtype:
    """The dtype that JAX uses for ``dtype`` now: 32-bit types while x64 is off."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def is_static(value: Any) -> bool:
    """Whether ``value`` is known before the call."""
    if isinstance(value, slice):
        return all(map(is_static, (value.start, value.stop, value.step)))
    return value is None or isinstance(value, np.ndarray | np.generic | int | float)


def to_jax(value: Any, name: str = "a constant") -> Any:
    """A static value as an operand of JAX: a NumPy array of the dtype that JAX uses.

    Raises:
        PrecisionError: x64 is off and an integer does not fit 32 bits.
    """
    if not isinstance(value, np.ndarray | np.generic | int | float):
        return value
    array = np.asarray(value)
    dtype = canonical(array.dtype)
    if dtype == array.dtype:
        return array
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        limits = np.iinfo(dtype)
        if low < limits.min or high > limits.max:
            bad = low if low < limits.min else high
            raise PrecisionError(
                f"{name} holds {bad}, which does not fit {dtype}, the type that JAX "
                f'uses for {array.dtype} now. Call jax.config.update("jax_enable_x64", '
                "True) before jaxlink.function, or keep the value within 32 bits."
            )
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def as_literal(value: Any) -> Any:
    """A known array of one repeated value, as that scalar; anything else as it is.

    A scalar is a literal of the program, but each array is one more argument of every
    call. For operands that broadcast.
    """
    if not isinstance(value, np.ndarray) or value.ndim == 0 or value.size == 0:
        return value
    first = value.reshape(-1)[0]
    repeated = value.tobytes() == first.tobytes() * value.size
    return np.asarray(first) if repeated else value


def evaluate(node: AbstractApply, operands: Sequence[Any]) -> list[Any]:
    """PyTensor's own value of the outputs of ``node``."""
    cells: list[list[Any]] = [[None] for _ in node.outputs]
    values = [
        np.asarray(value, var.type.dtype) if isinstance(var.type, TensorType) else value
        for var, value in zip(node.inputs, operands, strict=True)
    ]
    node.op.prepare_node(node, None, None, "py")
    with np.errstate(all="ignore"):  # as in JAX, 1 / 0 is inf and no warning
        node.op.perform(node, values, cells)
    return [
        np.asarray(cell, var.type.dtype)
        if isinstance(var.type, TensorType | ScalarType)
        else cell
        for var, (cell,) in zip(node.outputs, cells, strict=True)
    ]


def describe(type_: Any) -> str:
    """A PyTensor type as ``float64[?, 3]``: dtype and shape, ``?`` where unknown."""
    if isinstance(type_, TensorType):
        dims = ", ".join("?" if dim is None else str(dim) for dim in type_.shape)
        return f"{type_.dtype}[{dims}]"
    if isinstance(type_, ScalarType):
        return f"{type_.dtype}[]"
    return str(type_)


@dataclass(frozen=True, eq=False)
class StaticValue:
    """A value as a static argument of ``jax.jit``: hashed and compared by its bytes."""

    value: np.ndarray

    def _identity(self) -> tuple[Any, ...]:
        return self.value.dtype.str, self.value.shape, self.value.tobytes()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticValue):
            return NotImplemented
        return self._identity() == other._identity()


def name_of(var: Variable) -> str:
    """A variable's name, or else its expression."""
    return f"`{var.name}`" if var.name else f"`{var}`"
