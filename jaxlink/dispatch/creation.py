"""Arrays built from lengths and scalars, and conversion between scalars and tensors.

Ops that build large arrays are `lazy`: JAX builds the array inside the program even
though its values are known, unless a shape depends on them.
"""

import operator
from collections.abc import Iterable
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.tensor.basic import (
    Alloc,
    AllocEmpty,
    ARange,
    ExtractDiag,
    Eye,
    MakeVector,
    Nonzero,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.extra_ops import Bartlett, FillDiagonal, FillDiagonalOffset, Unique
from pytensor.tensor.type_other import MakeSlice

from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.static import canonical, cast
from jaxlink.values.symbolic_sizes import as_length


def _lengths(op: Any, node: Any) -> Iterable[int]:
    return range(1, len(node.inputs))


def _all(op: Any, node: Any) -> Iterable[int]:
    return range(len(node.inputs))


def _shape(op: Any, lengths: Iterable[Any]) -> tuple[Any, ...]:
    shape = tuple(map(as_length, lengths))
    if any(isinstance(n, int) and n < 0 for n in shape):
        raise ValueError(f"{op} cannot make an array of shape {shape}.")
    return shape


@rule(Alloc, static=_lengths, lazy=True)
def alloc(op: Alloc, node: Any) -> Function:
    def run(value: Any, *lengths: Any) -> Any:
        shape = _shape(op, lengths)
        known = reversed(node.inputs[0].type.shape)
        for dim, n, m in zip(known, value.shape[::-1], shape[::-1], strict=False):
            if dim is None and n == 1 and m != 1:
                raise ValueError(
                    f"Alloc would broadcast {node.inputs[0]} of shape {value.shape} to "
                    f"{shape}, but its type {node.inputs[0].type} does not declare "
                    "that length as 1. If you want to broadcast it, use "
                    "pt.specify_broadcastable."
                )
        return jnp.broadcast_to(value, shape)

    return run


@rule(AllocEmpty, static=_all, lazy=True)
def alloc_empty(op: AllocEmpty, node: Any) -> Function:
    return lambda *lengths: jnp.zeros(_shape(op, lengths), canonical(op.dtype))


@rule(Eye, static=_all, lazy=True)
def eye(op: Eye, node: Any) -> Function:
    def run(n: Any, m: Any, k: Any) -> Any:
        return cast(jnp.eye(as_length(n), as_length(m), int(k), dtype=bool), op.dtype)

    return run


@rule(ARange, static=_all, lazy=True)
def arange(op: ARange, node: Any) -> Function:
    whole = all(np.dtype(var.type.dtype).kind in "iub" for var in node.inputs)
    whole = whole and np.dtype(op.dtype).kind in "iu"

    def run(start: Any, stop: Any, step: Any) -> Any:
        start, stop, step = (np.asarray(bound).item() for bound in (start, stop, step))
        if not whole:
            # NumPy decides how to round lengths and steps.
            values = np.arange(start, stop, step, dtype=op.dtype)
            return jnp.asarray(values.astype(canonical(op.dtype)))
        if all(isinstance(bound, int) for bound in (start, stop)):
            length = len(range(start, stop, step))
        else:  # symbolic sizes, which Python's range does not take
            length = -((start - stop) // step)
        steps = lax.iota(canonical(op.dtype), length)
        return steps if (start, step) == (0, 1) else start + step * steps

    return run


@rule(MakeVector)
def make_vector(op: MakeVector, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(*scalars: Any) -> Any:
        if not scalars:
            return jnp.zeros((0,), canonical(dtype))
        return jnp.stack([cast(x, dtype) for x in scalars])

    return run


@rule(TensorFromScalar, ScalarFromTensor)
def identity(op: Any, node: Any) -> Function:
    return jnp.asarray


# The result, or its shape, must be known before the call, so PyTensor evaluates these.
@rule(MakeSlice, Nonzero, Unique, Bartlett, static=_all)
def known_before_the_call(op: Any, node: Any) -> Function:
    def run(*operands: Any) -> Any:
        raise AssertionError(f"{op} has only known operands, so PyTensor evaluates it.")

    return run


@rule(ExtractDiag)
def extract_diag(op: ExtractDiag, node: Any) -> Function:
    return lambda x: jnp.diagonal(x, op.offset, op.axis1, op.axis2)


@rule(FillDiagonal)
def fill_diagonal(op: FillDiagonal, node: Any) -> Function:
    def run(x: Any, value: Any) -> Any:
        if x.ndim > 2 and len(set(x.shape)) > 1:
            raise ValueError(
                f"{op}: all dimensions must have the same length, but the shape is "
                f"{x.shape}."
            )
        first, *others = jnp.indices(x.shape, sparse=True)
        diagonal = reduce(operator.and_, (index == first for index in others))
        return jnp.where(diagonal, value, x)

    return run


@rule(FillDiagonalOffset)
def fill_diagonal_offset(op: FillDiagonalOffset, node: Any) -> Function:
    def run(x: Any, value: Any, offset: Any) -> Any:
        row, column = jnp.indices(x.shape, canonical("int64"), sparse=True)
        offset = jnp.asarray(offset).astype(row.dtype)
        return jnp.where(column - row == offset, value, x)

    return run
