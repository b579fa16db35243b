"""Rows, blocks and elements of sparse matrices.

Slices must be static. A known index out of bounds raises. JAX cannot raise for a traced
one: an element is then nan (the least integer, the greatest unsigned integer), a row is
empty, and a check fails under ``checkify``.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from pytensor.sparse import basic as psb

from jaxlink.dispatch.indexing.subtensor import nothing
from jaxlink.dispatch.registry import Function, rule
from jaxlink.numerics.arithmetic import cast
from jaxlink.values.bcoo import Entries, decode, encode, group, order_of, pointers
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical


def _index(op: Any, index: Any, length: int) -> Any:
    """``index`` counted from the front, or ``length`` where it is out of bounds.

    A known index stays a NumPy array.
    """
    known = isinstance(index, np.ndarray)
    index = index.astype("int64" if known else canonical("int64"))
    inside = (index >= -length) & (index < length)
    if known and not inside.all():
        bad = index[~inside].reshape(-1)[0]
        raise IndexError(f"{op}: index {bad} is out of bounds for length {length}")
    if not known:
        check(inside.all(), f"{op}: an index is out of bounds for length {length}")
    numpy = np if known else jnp
    index = numpy.where(index < 0, index + length, index)
    return numpy.where(inside, index, length).astype("int32")


def _rows(x: Entries, index: Any) -> Entries:
    """``x[index]``, where ``index`` may repeat a row.

    Either every entry is copied as often as the most repeated row, or each row of the
    result gets room for a full row. If the index is known, we choose the smaller one.
    """
    wanted, (m, n) = index.shape[0], x.shape
    room = min(n, len(x)) if x.unique else len(x)
    if isinstance(index, np.ndarray):
        seen: dict[int, int] = {}
        repetition = np.zeros(wanted, "int32")
        for i, row in enumerate(index.tolist()):
            repetition[i] = seen[row] = seen.get(row, -1) + 1
        copies = int(repetition.max(initial=0)) + 1
        if copies * len(x) <= wanted * room:
            return _copied(x, index, repetition, copies)
    order = order_of((x.rows,))
    starts = pointers(x.rows, m)
    starts = jnp.append(starts, starts[-1:])  # an empty row, for an index out of bounds
    entry = starts[index][:, None] + jnp.arange(room, dtype="int32")
    inside = entry < starts[jnp.minimum(index + 1, m)][:, None]
    entry = order.at[jnp.where(inside, entry, len(x))].get(mode="fill", fill_value=0)
    entry, inside = entry.reshape(-1), inside.reshape(-1)
    return Entries(
        data=jnp.where(inside, x.data[entry], 0) if len(x) else x.data[:0],
        rows=jnp.where(
            inside, jnp.repeat(jnp.arange(wanted, dtype="int32"), room), wanted
        ),
        columns=jnp.where(inside, x.columns[entry], n),
        stored=inside & x.stored[entry],
        shape=(wanted, n),
        unique=x.unique,
    )


def _copied(x: Entries, index: Any, repetition: Any, copies: int) -> Entries:
    wanted, (m, n) = index.shape[0], x.shape
    place = jnp.full((copies, m + 1), wanted, "int32")
    place = place.at[repetition, index].set(jnp.arange(wanted, dtype="int32"))
    rows = place[:, x.rows].reshape(-1)
    return Entries(
        data=jnp.tile(x.data, copies),
        rows=rows,
        columns=jnp.where(rows < wanted, jnp.tile(x.columns, copies), n),
        stored=(rows < wanted) & jnp.tile(x.stored, copies),
        shape=(wanted, n),
        unique=x.unique,
    )


@rule(psb.GetItemList)
def get_item_list(op: psb.GetItemList, node: Any) -> Function:
    return lambda x, index: encode(_rows(decode(x), _index(op, index, x.shape[0])))


@rule(psb.GetItem2d, static=tuple(range(1, 7)))
def get_item_2d(op: psb.GetItem2d, node: Any) -> Function:
    def run(x: BCOO, *bounds: Any) -> BCOO:
        entries = decode(x)
        for part in (bounds[:3], bounds[3:]):
            start, stop, step = (None if b is None else int(b) for b in part)
            if (start, stop, step) != (None, None, None):
                chosen = range(entries.shape[0])[start:stop:step]
                entries = _rows(entries, np.asarray(chosen, "int32"))
            entries = entries.transposed()
        return encode(entries)

    return run


@rule(psb.GetItemScalar)
def get_item_scalar(op: psb.GetItemScalar, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, row: Any, column: Any) -> Any:
        entries = decode(x)
        i, j = (_index(op, k, n) for k, n in zip((row, column), x.shape, strict=True))
        here = (entries.rows == i) & (entries.columns == j)
        value = cast(jnp.where(here, entries.data, 0).sum(dtype=x.dtype), dtype)
        return _or_nothing((i < x.shape[0]) & (j < x.shape[1]), value)

    return run


@rule(psb.GetItem2Lists)
def get_item_2lists(op: psb.GetItem2Lists, node: Any) -> Function:
    by_column = node.inputs[0].type.format == "csc"
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, rows: Any, columns: Any) -> Any:
        if rows.shape != columns.shape:
            raise IndexError(
                f"{op}: {rows.shape[0]} rows and {columns.shape[0]} columns"
            )
        i, j = (_index(op, k, n) for k, n in zip((rows, columns), x.shape, strict=True))
        inside = (i < x.shape[0]) & (j < x.shape[1])
        entries = decode(x)
        if by_column:
            entries, i, j = entries.transposed(), j, i
        lines = _rows(entries, i)
        wanted = jnp.asarray(j).at[lines.rows].get(mode="fill", fill_value=-1)
        place = jnp.where(lines.columns == wanted, lines.rows, i.shape[0])
        values = jnp.zeros(i.shape, x.dtype).at[place].add(lines.data, mode="drop")
        return _or_nothing(inside, cast(values, dtype))

    return run


def _or_nothing(inside: Any, value: Any) -> Any:
    """``value`` where it is ``inside``. A known index has been checked."""
    if isinstance(inside, np.ndarray | np.generic):
        return value
    return jnp.where(inside, value, nothing(value.dtype))


@rule(psb.GetItemListGrad)
def get_item_list_grad(op: psb.GetItemListGrad, node: Any) -> Function:
    """A matrix of zeros with given rows. Of repeated rows the last one is kept."""
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, index: Any, g: BCOO) -> BCOO:
        m, n = x.shape
        place = jnp.asarray(_index(op, index, m))
        count = jnp.arange(place.shape[0], dtype="int32")
        last = jnp.full(m + 1, -1, "int32").at[place].max(count)
        place = jnp.where((last[place] == count) & (place < m), place, m)
        entries = decode(g).astype(canonical(dtype))
        rows = place.at[entries.rows].get(mode="fill", fill_value=m)
        columns = jnp.where(rows < m, entries.columns, n)
        stored = entries.stored & (rows < m)
        unique = entries.unique
        return encode(Entries(entries.data, rows, columns, stored, (m, n), unique))

    return run


@rule(psb.GetItem2ListsGrad)
def get_item_2lists_grad(op: psb.GetItem2ListsGrad, node: Any) -> Function:
    """A matrix of zeros with given elements. Of repeated ones the last is kept."""
    dtype = node.outputs[0].type.dtype

    def run(x: BCOO, rows: Any, columns: Any, g: Any) -> BCOO:
        m, n = x.shape
        i, j = jnp.asarray(_index(op, rows, m)), jnp.asarray(_index(op, columns, n))
        chosen = group(i, j, (m, n)).latest()
        data = jnp.where(chosen, jnp.asarray(cast(g, dtype)), 0)
        i, j = jnp.where(chosen, i, m), jnp.where(chosen, j, n)
        return encode(Entries(data, i, j, chosen, (m, n), unique=True))

    return run
