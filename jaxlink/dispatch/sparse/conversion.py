"""Sparse matrices: building, taking apart, converting and scaling them.

`jaxlink.values.bcoo` explains how JAX represents a matrix, and what "stored", "absent"
and "structured" mean. If the number of stored elements depends on values, the data and
indices from ``csm_properties(x)`` have the greatest possible length. The unused end is
0, and ``indptr`` says where it begins.
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from pytensor.sparse import basic as psb

from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.arithmetic import cast, convert
from jaxlink.values.bcoo import (
    Entries,
    decode,
    encode,
    from_dense,
    group,
    pointers,
    same_pattern,
)
from jaxlink.values.static import canonical


def times(entries: Entries, y: Any) -> Any:
    """The data times ``y``, which has a factor (or a row of factors) for each entry.

    An entry that is not stored stays 0 if the factor is infinite, and keeps its
    derivative if the factor is finite.
    """
    column = (-1,) + (1,) * (y.ndim - 1)
    stored, data = entries.stored.reshape(column), entries.data.reshape(column)
    return data * jnp.where(stored | jnp.isfinite(y), y, 0)


def lines_of(indptr: Any, size: int) -> Any:
    """The line of each of ``size`` entries: the number of lines that end before it."""
    ends = jnp.asarray(indptr[1:], "int32")
    return jnp.zeros(size, "int32").at[ends].add(1, mode="drop").cumsum(dtype="int32")


@rule(psb.CSM, static=(3,))
def csm(op: psb.CSM, node: Any) -> Function:
    def run(data: Any, indices: Any, indptr: Any, shape: Any) -> BCOO:
        if len(shape) != 2:
            raise ValueError(f"CSM: the shape must have two elements, not {len(shape)}")
        m, n = int(shape[0]), int(shape[1])
        if data.shape != indices.shape:
            raise ValueError(
                f"CSM: data has length {data.shape[0]}, but indices has length "
                f"{indices.shape[0]}"
            )
        count, width = (m, n) if op.format == "csr" else (n, m)
        if indptr.shape != (count + 1,):
            raise ValueError(
                f"CSM: a {op.format} matrix of shape {(m, n)} needs an indptr of "
                f"length {count + 1}, not {indptr.shape[0]}"
            )
        lines = lines_of(indptr, data.shape[0])
        inside = lines < count
        minor = jnp.where(inside, jnp.asarray(indices, "int32"), width)
        entries = Entries(jnp.asarray(data), lines, minor, inside, (count, width))
        return encode(entries if op.format == "csr" else entries.transposed())

    return run


@rule(psb.CSMProperties, known=(3,))
def csm_properties(op: psb.CSMProperties, node: Any) -> Function:
    format = node.inputs[0].type.format

    def run(x: BCOO) -> tuple[Any, ...]:
        entries = decode(x).ordered(format)
        across = entries if format == "csr" else entries.transposed()
        return (
            entries.data,
            jnp.where(entries.stored, across.columns, 0).astype("int32"),
            pointers(across.rows, across.shape[0]),
            np.asarray(entries.shape, "int32"),
        )

    return run


@rule(psb.CSMGrad)
def csm_grad(op: psb.CSMGrad, node: Any) -> Function:
    """The elements of a matrix g at the entries of a matrix x."""
    dtype = node.outputs[0].type.dtype

    def run(*operands: Any) -> Any:
        x_data, x_indices, x_indptr, _, g_data, g_indices, g_indptr, _ = operands
        size, count = x_data.shape[0], x_indptr.shape[0] - 1
        x_lines = lines_of(x_indptr, size)
        g_lines = lines_of(g_indptr, g_data.shape[0])
        lines = jnp.concatenate([x_lines, g_lines])
        minor = jnp.concatenate([cast(x_indices, "int32"), cast(g_indices, "int32")])
        groups = group(lines, minor, (count, 0))
        values = jnp.zeros(lines.shape, g_data.dtype).at[size:].set(g_data)
        sums = groups.add_up(values)[groups.ids[:size]]
        return cast(jnp.where(x_lines < count, sums, 0), dtype)

    return run


@rule(psb.Cast)
def sparse_cast(op: psb.Cast, node: Any) -> Function:
    from_type, to_type = node.inputs[0].type, node.outputs[0].type

    def run(x: BCOO) -> BCOO:
        if from_type.dtype == to_type.dtype:
            return x
        entries = decode(x).merged()  # SciPy adds up duplicates before it rounds
        return encode(replace(entries, data=convert(entries.data, to_type.dtype)))

    return run


@rule(psb.DenseFromSparse)
def dense_from_sparse(op: psb.DenseFromSparse, node: Any) -> Function:
    if op.sparse_grad:
        return lambda x: decode(x).structured().to_dense()
    return lambda x: decode(x).to_dense()


@rule(psb.SparseFromDense)
def sparse_from_dense(op: psb.SparseFromDense, node: Any) -> Function:
    return lambda x: encode(from_dense(jnp.asarray(x), op.format))


@rule(psb.Transpose)
def transpose(op: psb.Transpose, node: Any) -> Function:
    return lambda x: encode(decode(x).transposed())


@rule(psb.Remove0)
def remove0(op: psb.Remove0, node: Any) -> Function:
    return lambda x: encode(decode(x).without_zeros())


@rule(psb.EnsureSortedIndices)
def ensure_sorted_indices(op: psb.EnsureSortedIndices, node: Any) -> Function:
    format = node.inputs[0].type.format
    return lambda x: encode(decode(x).sorted_within_lines(format))


@rule(psb.Diag)
def diag(op: psb.Diag, node: Any) -> Function:
    def run(x: BCOO) -> Any:
        m, n = x.shape
        if m != n:
            raise ValueError(f"Diag: a matrix of shape {x.shape} is not square")
        entries = decode(x)
        place = jnp.where(entries.rows == entries.columns, entries.rows, n)
        return jnp.zeros(n, x.dtype).at[place].add(entries.data, mode="drop")

    return run


@rule(psb.ColScaleCSC, psb.RowScaleCSC)
def scale(op: psb.ColScaleCSC | psb.RowScaleCSC, node: Any) -> Function:
    by_row = isinstance(op, psb.RowScaleCSC)
    x_type, s_type = (var.type for var in node.inputs)
    common = np.result_type(x_type.dtype, s_type.dtype)
    if not np.can_cast(common, x_type.dtype, "same_kind"):
        raise UnsupportedOpError(
            f"`{op}` cannot scale a {x_type.dtype} matrix by {s_type.dtype} factors. "
            f'Cast the matrix first: pytensor.sparse.cast(x, "{common}").'
        )

    def run(x: BCOO, s: Any) -> BCOO:
        entries = decode(x)
        length = entries.shape[0] if by_row else entries.shape[1]
        if s.shape != (length,):
            raise ValueError(
                f"{op}: a matrix of shape {x.shape} needs factors of shape "
                f"{(length,)}, not {s.shape}"
            )
        place = entries.rows if by_row else entries.columns
        factors = jnp.asarray(cast(s, common)).at[place].get(mode="fill", fill_value=0)
        product = times(entries.astype(canonical(common)), factors)
        return same_pattern(x, cast(product, x_type.dtype))

    return run
