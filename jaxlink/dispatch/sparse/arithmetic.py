"""Arithmetic, comparisons and sums of sparse matrices.

As in SciPy, the sum or product of two sparse matrices stores only elements that are not
0. The product of a sparse and a dense matrix stores the same elements as the sparse
matrix.
"""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from pytensor.sparse import math as psm

from jaxlink.dispatch.registry import Function, rule
from jaxlink.dispatch.sparse.conversion import times
from jaxlink.numerics.arithmetic import cast
from jaxlink.values.bcoo import (
    Entries,
    concatenated,
    decode,
    encode,
    from_dense,
    group,
    same_pattern,
)
from jaxlink.values.static import canonical


def _same_shape(op: Any, x: Any, y: Any) -> None:
    if x.shape != y.shape:
        raise ValueError(f"{op}: shapes {x.shape} and {y.shape} must be the same")


def _common(node: Any) -> Any:
    return canonical(np.result_type(*(var.type.dtype for var in node.inputs)))


def _aligned(op: Any, x: BCOO, y: BCOO, dtype: Any) -> tuple[Entries, Any, Any]:
    """Align two matrices at the union of their positions.

    Returns:
        Entries there, and the data of each matrix (0 where it stores nothing).
    """
    _same_shape(op, x, y)
    parts = [decode(matrix).astype(dtype) for matrix in (x, y)]
    both = concatenated(parts, parts[0].shape)
    groups = group(both.rows, both.columns, both.shape)
    from_x = jnp.arange(len(both), dtype="int32") < len(parts[0])
    x_data = groups.add_up(jnp.where(from_x, both.data, 0))
    y_data = groups.add_up(jnp.where(from_x, 0, both.data))
    stored = groups.add_up(both.stored.astype("int32")) > 0
    union = Entries(x_data, groups.rows, groups.columns, stored, both.shape, True)
    return union, x_data, y_data


def _without_zeros(entries: Entries, data: Any) -> BCOO:
    return encode(replace(entries, data=data).without_zeros())


# Ops that work at the union of positions. SciPy does multiply where only one matrix
# stores an element: inf * 0 is nan.
_AT_UNION = {
    psm.AddSparseSparse: operator.add,
    psm.MultiplySparseSparse: operator.mul,
    psm.NotEqualSparseSparse: operator.ne,
    psm.LessThanSparseSparse: operator.lt,
    psm.GreaterThanSparseSparse: operator.gt,
}


@rule(*_AT_UNION)
def at_union(op: Any, node: Any) -> Function:
    combine = _AT_UNION[type(op)]
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, y: BCOO) -> BCOO:
        union, x_data, y_data = _aligned(op, x, y, _common(node))
        return _without_zeros(union, cast(combine(x_data, y_data), dtype))

    return run


@rule(psm.AddSparseSparseData)
def add_s_s_data(op: psm.AddSparseSparseData, node: Any) -> Function:
    """The sum of two matrices that store the same elements."""
    format = node.inputs[0].type.format

    def run(x: BCOO, y: BCOO) -> BCOO:
        _same_shape(op, x, y)
        x_entries, y_entries = (decode(m).ordered(format) for m in (x, y))
        size = len(x_entries)
        # Their data may differ in length, but stored elements come first.
        y_data = y_entries.data[:size]
        y_data = jnp.pad(y_data, (0, size - y_data.shape[0]))
        total = jnp.where(x_entries.stored, x_entries.data + y_data, 0)
        return encode(replace(x_entries, data=total))

    return run


@rule(psm.AddSparseDense)
def add_s_d(op: psm.AddSparseDense, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, y: Any) -> Any:
        _same_shape(op, x, y)
        entries = decode(x).structured().astype(canonical(dtype))
        total = jnp.asarray(cast(y, dtype))
        place = entries.rows, entries.columns
        return total.at[place].add(entries.data, mode="drop")

    return run


def _at_columns(entries: Entries, op: Any, y: Any) -> Any:
    """The element of the vector ``y`` for each entry's column."""
    if y.shape != entries.shape[1:]:
        raise ValueError(
            f"{op}: a matrix of shape {entries.shape} needs a vector of length "
            f"{entries.shape[1]}, not {y.shape[0]}"
        )
    return jnp.asarray(y).at[entries.columns].get(mode="fill", fill_value=0)


@rule(psm.StructuredAddSparseDenseVector)
def structured_add_s_v(op: psm.StructuredAddSparseDenseVector, node: Any) -> Function:
    def run(x: BCOO, y: Any) -> BCOO:
        entries = decode(x).merged()
        added = _at_columns(entries, op, y)
        nonzero = entries.stored & (entries.data != 0)
        return _without_zeros(entries, entries.data + jnp.where(nonzero, added, 0))

    return run


@rule(psm.MultiplySparseDenseVector)
def mul_s_v(op: psm.MultiplySparseDenseVector, node: Any) -> Function:
    def run(x: BCOO, y: Any) -> BCOO:
        entries = decode(x).merged()
        return _without_zeros(entries, times(entries, _at_columns(entries, op, y)))

    return run


@rule(psm.MultiplySparseDense)
def mul_s_d(op: psm.MultiplySparseDense, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, y: Any) -> BCOO:
        entries = decode(x).astype(canonical(dtype))
        y = jnp.asarray(cast(y, dtype))
        if y.ndim:
            _same_shape(op, x, y)
            place = entries.rows, entries.columns
            y = y.at[place].get(mode="fill", fill_value=0)
        else:
            y = jnp.broadcast_to(y, entries.data.shape)
        return same_pattern(x, times(entries, y))

    return run


# SciPy computes ==, <= and >= of two sparse matrices by negating !=, > and <, so that
# nan <= nan is true. The negation may be true where neither matrix stores an element.
_NEGATED = {
    psm.EqualSparseSparse: operator.ne,
    psm.LessEqualSparseSparse: operator.gt,
    psm.GreaterEqualSparseSparse: operator.lt,
}
_WITH_DENSE = {
    psm.EqualSparseDense: operator.eq,
    psm.NotEqualSparseDense: operator.ne,
    psm.LessThanSparseDense: operator.lt,
    psm.GreaterThanSparseDense: operator.gt,
    psm.LessEqualSparseDense: operator.le,
    psm.GreaterEqualSparseDense: operator.ge,
}


@rule(*_NEGATED)
def negated_comparison(op: Any, node: Any) -> Function:
    opposite: Callable[[Any, Any], Any] = _NEGATED[type(op)]
    format = node.outputs[0].type.format

    def run(x: BCOO, y: BCOO) -> BCOO:
        _same_shape(op, x, y)
        dense = [cast(decode(matrix).to_dense(), _common(node)) for matrix in (x, y)]
        return encode(from_dense((~opposite(*dense)).astype("uint8"), format))

    return run


@rule(*_WITH_DENSE)
def comparison_with_dense(op: Any, node: Any) -> Function:
    compare = _WITH_DENSE[type(op)]

    def run(x: BCOO, y: Any) -> Any:
        _same_shape(op, x, y)
        dense = cast(decode(x).to_dense(), _common(node))
        return compare(dense, cast(y, _common(node))).astype("uint8")

    return run


@rule(psm.SpSum)
def sp_sum(op: psm.SpSum, node: Any) -> Function:
    def run(x: BCOO) -> Any:
        entries = decode(x).structured() if op.structured else decode(x)
        if op.axis is None:
            return jnp.where(entries.alive, entries.data, 0).sum(dtype=x.dtype)
        place = entries.columns if op.axis == 0 else entries.rows
        zeros = jnp.zeros(entries.shape[1 - op.axis], x.dtype)
        return zeros.at[place].add(entries.data, mode="drop")

    return run
