"""Sparse matrices built from other matrices or from rows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import jax.numpy as jnp
from jax.experimental.sparse import BCOO
from pytensor.sparse import basic as psb
from pytensor.sparse.linalg import SparseBlockDiagonal

from jaxlink.dispatch.registry import Function, rule
from jaxlink.numerics.arithmetic import cast
from jaxlink.values.bcoo import Entries, concatenated, decode, encode, from_dense
from jaxlink.values.static import canonical


def _placed(
    blocks: Sequence[Entries],
    corners: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    dtype: str,
) -> Entries:
    """A matrix of ``shape`` with each block at its corner."""
    parts = [
        replace(
            block.astype(canonical(dtype)),
            rows=jnp.where(block.alive, block.rows + down, shape[0]),
            columns=jnp.where(block.alive, block.columns + right, shape[1]),
            shape=shape,
        )
        for block, (down, right) in zip(blocks, corners, strict=True)
    ]
    unique = all(block.unique for block in blocks)
    return replace(concatenated(parts, shape), unique=unique)


@rule(psb.HStack, psb.VStack)
def stack(op: psb.HStack | psb.VStack, node: Any) -> Function:
    axis = 1 if isinstance(op, psb.HStack) else 0
    wanted = op.format, op.dtype
    alike = all((var.type.format, var.type.dtype) == wanted for var in node.inputs)

    def run(*matrices: BCOO) -> BCOO:
        blocks = [decode(x) for x in matrices]
        across = {block.shape[1 - axis] for block in blocks}
        if len(across) > 1:
            raise ValueError(
                f"{op}: blocks of shapes {[block.shape for block in blocks]} differ in "
                f"dimension {1 - axis}"
            )
        *begins, total = accumulate((b.shape[axis] for b in blocks), initial=0)
        corners = [(0, at) if axis else (at, 0) for at in begins]
        (width,) = across
        shape = (width, total) if axis else (total, width)
        whole = _placed(blocks, corners, shape, op.dtype)
        # If SciPy has to convert a block, it adds up duplicates.
        return encode(whole if alike else whole.merged())

    return run


def _all_stored(block: Entries) -> Entries:
    """``block`` with its zeros stored too, as SciPy converts a dense block."""
    return replace(block, stored=jnp.ones_like(block.stored))


@rule(SparseBlockDiagonal)
def block_diagonal(op: SparseBlockDiagonal, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(*matrices: Any) -> BCOO:
        blocks = [
            decode(x) if isinstance(x, BCOO) else _all_stored(from_dense(x))
            for x in matrices
        ]
        corners, m, n = [], 0, 0
        for block in blocks:
            corners.append((m, n))
            m, n = m + block.shape[0], n + block.shape[1]
        return encode(_placed(blocks, corners, (m, n), dtype).merged())

    return run


@rule(psb.ConstructSparseFromList, static=(0,))
def construct_from_list(op: psb.ConstructSparseFromList, node: Any) -> Function:
    """A matrix with dense rows at given places. All elements of the rows are stored."""
    dtype = node.outputs[0].type.dtype

    def run(shape: Any, values: Any, places: Any) -> BCOO:
        count, width = values.shape
        m, n = int(shape[0]), int(shape[1])
        if places.shape != (count,) or width != n:
            raise ValueError(
                f"{op}: {count} rows of length {width} at {places.shape[0]} places do "
                f"not fit a matrix of shape {(m, n)}"
            )
        rows = jnp.tile(cast(places, "int32"), n)
        columns = jnp.repeat(jnp.arange(n, dtype="int32"), count)
        stored = jnp.ones(count * n, bool)
        data = jnp.reshape(cast(values, dtype).T, count * n)
        return encode(Entries(data, rows, columns, stored, (m, n)))

    return run
