"""Products with sparse matrices: gather, multiply, add up at the rows.

While SciPy multiplies two sparse matrices, it finds out which elements the product
stores. A JAX program must fix their number before it runs. So the product has an entry
for each pair of its operands' entries, or for each of its elements, whichever is fewer.
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax.experimental.sparse import BCOO
from pytensor.sparse import math as psm

from jaxlink.dispatch.registry import Function, rule
from jaxlink.dispatch.sparse.conversion import lines_of, times
from jaxlink.numerics.arithmetic import cast
from jaxlink.numerics.sparse import sums_of_rows
from jaxlink.values.bcoo import Entries, decode, encode, from_dense
from jaxlink.values.static import canonical


def _entries(x: Any, dtype: Any) -> Any:
    """A matrix in ``dtype``: entries if it is sparse, an array if it is dense."""
    if isinstance(x, BCOO):
        return decode(x).astype(canonical(dtype))
    return jnp.asarray(cast(x, dtype))


def _operands(op: Any, x: Any, y: Any, dtype: Any) -> tuple[Any, Any]:
    if x.shape[-1] != y.shape[0]:
        raise ValueError(f"{op}: shapes {x.shape} and {y.shape} do not fit")
    return _entries(x, dtype), _entries(y, dtype)


def _by_dense(x: Entries, y: Any) -> Any:
    """``x @ y`` for a dense matrix or vector ``y``."""
    lines = y.at[x.columns].get(mode="fill", fill_value=0)
    used = x.stored.reshape(-1, *(1,) * (y.ndim - 1)) | jnp.isfinite(lines)
    return sums_of_rows(x.shape[0], x.data, y, (x.rows, x.columns), (True, used))


def _product(x: Any, y: Any) -> Any:
    """``x @ y`` as a dense array. At least one of the two is sparse."""
    if isinstance(x, Entries) and isinstance(y, Entries):
        return _of_sparse(x, y)
    if isinstance(x, Entries):
        return _by_dense(x, y)
    return _by_dense(y.transposed(), x.T).T


def _of_sparse(x: Entries, y: Entries) -> Any:
    """``x @ y`` as a dense matrix: for each entry of ``x``, a line of ``y``."""
    dense = y.to_dense()
    lines = dense.at[x.columns].get(mode="fill", fill_value=0)
    pattern = jnp.zeros(y.shape, bool)
    pattern = pattern.at[y.rows, y.columns].max(y.stored, mode="drop")
    stored = pattern.at[x.columns].get(mode="fill", fill_value=False)
    # An infinite element of one meets elements of the other that are not stored.
    data_used = stored | jnp.isfinite(x.data[:, None])
    lines_used = x.stored[:, None] | jnp.isfinite(lines)
    place = x.rows, x.columns
    return sums_of_rows(x.shape[0], x.data, dense, place, (data_used, lines_used))


def _by_pairs(x: Entries, y: Entries) -> Entries:
    """``x @ y`` from all pairs of entries where a column of ``x`` is a row of ``y``."""
    shape = x.shape[0], y.shape[1]
    meet = (x.columns[:, None] == y.rows) & x.alive[:, None]
    x_data, y_data = x.data[:, None], y.data
    data = jnp.where(meet & (y.stored | jnp.isfinite(x_data)), x_data, 0)
    factors = jnp.where(meet & (x.stored[:, None] | jnp.isfinite(y_data)), y_data, 0)
    pairs = Entries(
        data=(data * factors).reshape(-1),
        rows=jnp.where(meet, x.rows[:, None], shape[0]).reshape(-1),
        columns=jnp.where(meet, y.columns, shape[1]).reshape(-1),
        stored=(meet & x.stored[:, None] & y.stored).reshape(-1),
        shape=shape,
    )
    return pairs.merged()


def _sparse_product(x: Entries, y: Any, format: str) -> BCOO:
    """``x @ y`` as a sparse matrix that stores only nonzero elements, as in SciPy."""
    if isinstance(y, Entries) and len(x) * len(y) <= x.shape[0] * y.shape[1]:
        return encode(_by_pairs(x, y).without_zeros())
    return encode(from_dense(_product(x, y), format))


@rule(psm.Dot)
def dot(op: psm.Dot, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    return lambda x, y: _product(*_operands(op, x, y, dtype))


@rule(psm.Usmm)
def usmm(op: psm.Usmm, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(alpha: Any, x: Any, y: Any, z: Any) -> Any:
        product = _product(*_operands(op, x, y, dtype))
        return cast(alpha, dtype) * product + cast(z, dtype)

    return run


@rule(psm.StructuredDot)
def structured_dot(op: psm.StructuredDot, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    format = getattr(node.outputs[0].type, "format", None)

    def run(x: BCOO, y: Any) -> Any:
        entries, other = _operands(op, x, y, dtype)
        if format is None:
            return _product(entries.structured(), other)
        return _sparse_product(entries.structured(), other, format)

    return run


@rule(psm.TrueDot)
def true_dot(op: psm.TrueDot, node: Any) -> Function:
    dtype, format = node.outputs[0].type.dtype, node.outputs[0].type.format
    return lambda x, y: _sparse_product(*_operands(op, x, y, dtype), format)


@rule(psm.StructuredDotGradCSC, psm.StructuredDotGradCSR)
def structured_dot_grad(op: Any, node: Any) -> Function:
    """The elements of ``g @ b.T`` at the entries of a matrix."""
    dtype = node.outputs[0].type.dtype
    by_column = isinstance(op, psm.StructuredDotGradCSC)

    def run(indices: Any, indptr: Any, b: Any, g: Any) -> Any:
        b, g = (
            x.to_dense() if isinstance(x, Entries) else x
            for x in (_entries(b, dtype), _entries(g, dtype))
        )
        lines, minor = lines_of(indptr, indices.shape[0]), cast(indices, "int32")
        inside = lines < indptr.shape[0] - 1
        rows, columns = (minor, lines) if by_column else (lines, minor)
        data = jnp.where(inside[:, None], g[rows] * b[columns], 0)
        return data.sum(axis=1, dtype=canonical(dtype))

    return run


@rule(psm.SamplingDot)
def sampling_dot(op: psm.SamplingDot, node: Any) -> Function:
    """The elements of ``x @ y.T`` at the entries of a matrix, times those entries."""
    dtype = node.outputs[0].type.dtype

    def run(x: Any, y: Any, p: BCOO) -> BCOO:
        if x.shape[1] != y.shape[1] or p.shape != (x.shape[0], y.shape[0]):
            raise ValueError(
                f"{op}: shapes {x.shape}, {y.shape} and {p.shape} do not fit"
            )
        pattern = decode(p).merged()
        x, y = (jnp.asarray(cast(z, dtype)) for z in (x, y))
        left = x.at[pattern.rows].get(mode="fill", fill_value=0)
        right = y.at[pattern.columns].get(mode="fill", fill_value=0)
        products = (left * right).sum(axis=1, dtype=canonical(dtype))
        return encode(replace(pattern, data=times(pattern, products)))

    return run
