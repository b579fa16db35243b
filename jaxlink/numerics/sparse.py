"""The product of a sparse and a dense matrix."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

__all__ = ["sums_of_rows"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def sums_of_rows(m: int, data: Any, y: Any, place: Any, used: Any) -> Any:
    """For each of ``m`` rows, the sum of its entries, each times the line of ``y`` in
    its column.

    Arguments:
        m: the number of rows.
        data: the entries.
        y: a dense vector or matrix.
        place: the row and the column of each entry; those out of bounds are dropped.
        used: masks of the data and of the lines of ``y``: others count as 0.
    """
    rows, columns = place
    lines = jnp.where(used[1], y.at[columns].get(mode="fill", fill_value=0), 0)
    data = jnp.where(used[0], data.reshape(-1, *(1,) * (y.ndim - 1)), 0)
    zeros = jnp.zeros((m, *y.shape[1:]), y.dtype)
    return zeros.at[rows].add(data * lines, mode="drop")


# In reverse mode, both terms gather the same rows of a cotangent. Without the barrier,
# XLA gathers them once, in a layout that suits only one term, and takes three times as
# long.
@partial(sums_of_rows.defjvp, symbolic_zeros=True)
def _sums_of_rows_jvp(m: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    data, y, *rest = primals
    d_data, d_y, *_ = tangents
    terms = []
    if not isinstance(d_data, SymbolicZero):
        terms.append(sums_of_rows(m, d_data, y, *rest))
    if not isinstance(d_y, SymbolicZero):
        terms.append(lax.optimization_barrier(sums_of_rows(m, data, d_y, *rest)))
    return sums_of_rows(m, *primals), sum(terms[1:], start=terms[0])
