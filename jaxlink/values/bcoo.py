"""Sparse matrices in JAX.

A sparse matrix is a ``jax.experimental.sparse.BCOO``: data, (row, column) pairs and a
shape. The number of entries is fixed before the call, but the elements that SciPy would
store may depend on values. So in an M by N matrix, an entry is

* *stored* if its (row, column) is in bounds. Its data may be 0, as in SciPy;
* *absent* if it is at (row + M + 1, column + N + 1). Its data is 0, and SciPy would not
  store it: ``x + y`` cancels there, say, or a dense matrix is 0. It still has a
  derivative, because a sum or a product with a dense matrix is linear in all elements,
  stored or not;
* *padding* if it is at (M, N).

Other code drops absent entries and padding, because both are out of bounds. Operations
on the stored elements alone ("structured") turn absent entries into padding.

Entries are in any order. Entries with the same (row, column) add up. Only code that
needs an order sorts, as `Entries.ordered` does.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

if TYPE_CHECKING:
    from jax.experimental.sparse import BCOO


@dataclass(frozen=True)
class Entries:
    """The entries of a matrix, decoded from a `BCOO`.

    Padding is at (M, N), every other entry at its own (row, column). ``unique`` says
    that no two entries share a (row, column), padding aside.
    """

    data: Any
    rows: Any
    columns: Any
    stored: Any
    shape: tuple[int, int]
    unique: bool = False

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def alive(self) -> Any:
        """Which entries are not padding."""
        return (self.rows < self.shape[0]) & (self.columns < self.shape[1])

    def structured(self) -> "Entries":
        """The stored entries; absent ones, and so their derivatives, become padding."""
        return replace(
            self,
            data=jnp.where(self.stored, self.data, 0),
            rows=jnp.where(self.stored, self.rows, self.shape[0]),
            columns=jnp.where(self.stored, self.columns, self.shape[1]),
        )

    def without_zeros(self) -> "Entries":
        """The same matrix, which stores no 0."""
        return replace(self, stored=self.stored & (self.data != 0))

    def astype(self, dtype: Any) -> "Entries":
        return replace(self, data=self.data.astype(dtype))

    def transposed(self) -> "Entries":
        m, n = self.shape
        return replace(self, rows=self.columns, columns=self.rows, shape=(n, m))

    def to_dense(self) -> jax.Array:
        zeros = jnp.zeros(self.shape, self.data.dtype)
        return zeros.at[self.rows, self.columns].add(self.data, mode="drop")

    def merged(self) -> "Entries":
        """The same matrix, with entries that share a (row, column) added up."""
        if self.unique:
            return self
        groups = group(self.rows, self.columns, self.shape)
        stored = groups.add_up(self.stored.astype("int32")) > 0
        data = groups.add_up(self.data)
        return Entries(data, groups.rows, groups.columns, stored, self.shape, True)

    def ordered(self, format: str) -> "Entries":
        """The stored entries, sorted by row (csr) or column (csc), then padding.

        The sort is stable.
        """
        kept = self.structured()
        return kept._taken(order_of([kept._lines(format)[0]]))

    def sorted_within_lines(self, format: str) -> "Entries":
        """The stored entries, sorted by row and column (csr) or by column and row
        (csc), then the others, which keep their derivatives."""
        major, minor = self.structured()._lines(format)
        return self._taken(order_of((minor, major)))

    def _lines(self, format: str) -> tuple[Any, Any]:
        """Each entry's line (its row for csr, its column for csc), and its index in
        it."""
        rows, columns = self.rows, self.columns
        return (columns, rows) if format == "csc" else (rows, columns)

    def _taken(self, order: Any) -> "Entries":
        return replace(
            self,
            data=self.data[order],
            rows=self.rows[order],
            columns=self.columns[order],
            stored=self.stored[order],
        )


def is_scipy(value: Any) -> bool:
    """Whether ``value`` is a SciPy sparse matrix."""
    return hasattr(value, "tocoo")


def is_bcoo(value: Any) -> bool:
    """Whether ``value`` is a BCOO, jaxlink's form of a sparse matrix."""
    return _is(value, "BCOO")


def is_bcsr(value: Any) -> bool:
    """Whether ``value`` is a BCSR, JAX's row-wise sparse matrix."""
    return _is(value, "BCSR")


# Importing JAX's module takes a second, so wait until there is a sparse matrix.
def _is(value: Any, name: str) -> bool:
    module = sys.modules.get("jax.experimental.sparse")
    return isinstance(value, getattr(module, name, ()))


def _bcoo(*args: Any, **kwargs: Any) -> "BCOO":
    from jax.experimental.sparse import BCOO

    return BCOO(*args, **kwargs)


def from_scipy(matrix: Any) -> "BCOO":
    """A SciPy sparse matrix as a BCOO, with its entries in the order of storage."""
    coo = matrix.tocoo()
    indices = np.stack([coo.row, coo.col], axis=1).astype("int32")
    dtype = jax.dtypes.canonicalize_dtype(coo.data.dtype)
    canonical = bool(getattr(matrix, "has_canonical_format", False))
    return _bcoo(
        (jnp.asarray(coo.data, dtype), jnp.asarray(indices)),
        shape=matrix.shape,
        indices_sorted=canonical and matrix.format == "csr",
        unique_indices=canonical,
    )


def with_padding(matrix: "BCOO") -> "BCOO":
    """``matrix``, with every entry out of bounds turned into padding."""
    m, n = matrix.shape
    # Column by column, so that XLA fuses this into the readers of each column.
    rows, columns = matrix.indices[:, 0], matrix.indices[:, 1]
    within = (rows < m) & (columns < n)
    rows, columns = jnp.where(within, rows, m), jnp.where(within, columns, n)
    indices = jnp.stack([rows, columns], axis=1).astype("int32")
    return _with(matrix, matrix.data, indices)


def same_pattern(matrix: "BCOO", data: Any) -> "BCOO":
    """``matrix`` with other ``data``, which is 0 at absent entries and padding."""
    return _with(matrix, data, matrix.indices)


def _with(matrix: "BCOO", data: Any, indices: Any) -> "BCOO":
    return _bcoo(
        (data, indices),
        shape=matrix.shape,
        indices_sorted=matrix.indices_sorted,
        unique_indices=matrix.unique_indices,
    )


def in_common_form(matrix: "BCOO", all_: Sequence["BCOO"]) -> "BCOO":
    """``matrix``, one of ``all_``, in a form they can share: padded to the largest
    number of entries, with only the promises that all of them make."""
    missing = max(other.nse for other in all_) - matrix.nse
    padding = jnp.broadcast_to(jnp.asarray(matrix.shape, "int32"), (missing, 2))
    return _bcoo(
        (
            jnp.pad(matrix.data, (0, missing)),
            jnp.concatenate([matrix.indices.astype("int32"), padding]),
        ),
        shape=matrix.shape,
        unique_indices=all(other.unique_indices for other in all_),
    )


def decode(matrix: "BCOO") -> Entries:
    """The entries of ``matrix``."""
    m, n = matrix.shape
    rows, columns = matrix.indices[:, 0], matrix.indices[:, 1]
    absent = rows > m
    return Entries(
        data=jnp.asarray(matrix.data),
        rows=jnp.where(absent, rows - (m + 1), rows),
        columns=jnp.where(absent, columns - (n + 1), columns),
        stored=(rows < m) & (columns < n),
        shape=(m, n),
        unique=matrix.unique_indices,
    )


def encode(entries: Entries) -> "BCOO":
    """The matrix of ``entries``. Entries out of bounds become padding."""
    m, n = entries.shape
    alive, stored = entries.alive, entries.stored
    rows = jnp.where(stored, entries.rows, entries.rows + (m + 1))
    columns = jnp.where(stored, entries.columns, entries.columns + (n + 1))
    rows, columns = jnp.where(alive, rows, m), jnp.where(alive, columns, n)
    indices = jnp.stack([rows, columns], axis=1).astype("int32")
    return _bcoo((entries.data, indices), shape=(m, n), unique_indices=entries.unique)


def from_dense(x: Any, format: str = "csr") -> Entries:
    """An entry for each element of a dense matrix; the nonzero ones are stored."""
    if format == "csc":
        return from_dense(x.T).transposed()
    m, n = x.shape
    count = jnp.arange(m * n, dtype="int32")
    data = jnp.asarray(x).reshape(m * n)
    n_or_1 = max(n, 1)
    return Entries(data, count // n_or_1, count % n_or_1, data != 0, (m, n), True)


def pointers(lines: Any, count: int) -> jax.Array:
    """Where each of ``count`` lines starts among sorted entries, and the last ends."""
    starts = jnp.zeros(count + 1, "int32")
    return starts.at[lines + 1].add(1, mode="drop").cumsum(dtype="int32")


@dataclass(frozen=True)
class Groups:
    """The distinct (row, column) pairs; ``ids`` maps each entry to its pair.

    There are as many pairs as entries. Surplus pairs are padding.
    """

    rows: Any
    columns: Any
    ids: Any

    def add_up(self, values: Any) -> jax.Array:
        """The sum of the values at each pair."""
        return jnp.zeros(self.ids.shape, values.dtype).at[self.ids].add(values)

    def latest(self) -> jax.Array:
        """Which values are the last at their pair."""
        count = jnp.arange(self.ids.shape[0], dtype="int32")
        last = jnp.zeros(self.ids.shape, "int32").at[self.ids].max(count)
        return last[self.ids] == count


def group(rows: Any, columns: Any, shape: tuple[int, int]) -> Groups:
    """Group the entries of a matrix of ``shape`` that share a (row, column)."""
    size = rows.shape[0]
    order = order_of((columns, rows))
    i, j = rows[order], columns[order]
    differs = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    ids = jnp.zeros(size, "int32").at[1:].set(differs.astype("int32")).cumsum()
    ids = jnp.zeros(size, "int32").at[order].set(ids.astype("int32"))
    return Groups(
        jnp.full(size, shape[0], "int32").at[ids].set(rows),
        jnp.full(size, shape[1], "int32").at[ids].set(columns),
        ids,
    )


def concatenated(parts: Sequence[Entries], shape: tuple[int, int]) -> Entries:
    """All entries of ``parts``, which share a dtype and the coordinates of a matrix of
    ``shape``."""
    data, rows, columns, stored, alive = (
        jnp.concatenate([getattr(part, name) for part in parts])
        for name in ("data", "rows", "columns", "stored", "alive")
    )
    rows, columns = (
        jnp.where(alive, rows, shape[0]),
        jnp.where(alive, columns, shape[1]),
    )
    return Entries(data, rows, columns, stored, shape)


def order_of(keys: Sequence[Any]) -> jax.Array:
    """The indices that sort by ``keys``, the last key first; the sort is stable.

    Checking that the keys are already sorted is much cheaper than sorting.
    """
    size = keys[0].shape[0]
    rising = jnp.ones(max(size - 1, 0), bool)
    for key in keys:
        rising = (key[1:] > key[:-1]) | ((key[1:] == key[:-1]) & rising)
    return lax.cond(
        rising.all(),
        lambda *keys: jnp.arange(size, dtype="int32"),
        lambda *keys: jnp.lexsort(keys).astype("int32"),
        *keys,
    )
