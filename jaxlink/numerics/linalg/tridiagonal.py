"""Tridiagonal systems: LAPACK's gttrf and gttrs, as scans along the diagonal.

The factorization eliminates one row at a time, and swaps it with the next if that has
the larger pivot (Golub and Van Loan, "Matrix Computations", 4th ed., 4.3.5 and 4.3.6),
so U gets a second superdiagonal. Pivots count from 1, as SciPy returns them.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

__all__ = ["lu_factor_tridiagonal", "lu_solve_tridiagonal"]


def lu_factor_tridiagonal(dl: Any, d: Any, du: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The LU factorization of the matrix with these three diagonals.

    Returns:
        The multipliers, the diagonal and the two superdiagonals of U, and the pivots. A
        zero on the diagonal of U means that the matrix is singular.
    """
    n = d.shape[0]
    count = jnp.arange(1, n + 1, dtype="int32")
    if n < 2:
        return dl, d, du, du, count
    end = jnp.zeros(1, d.dtype)
    nexts = (dl, d[1:], jnp.concatenate([du[1:], end]))
    (last, _), (dl, d, du, du2, swaps) = lax.scan(_eliminate, (d[0], du[0]), nexts)
    d = jnp.concatenate([d, last[None]])
    swaps = jnp.concatenate([swaps, jnp.zeros(1, bool)])
    return dl, d, du, du2[:-1], count + swaps.astype("int32")


def _eliminate(row: Any, nexts: Any) -> Any:
    (d, du), (dl, next_d, next_du) = row, nexts
    swap = _size(d) < _size(dl)
    pivot, below = jnp.where(swap, dl, d), jnp.where(swap, d, dl)
    factor = below / jnp.where(pivot == 0, 1, pivot)
    first, second = jnp.where(swap, next_d, du), jnp.where(swap, du, next_d)
    zero = jnp.zeros_like(d)
    fill, last = jnp.where(swap, next_du, zero), jnp.where(swap, zero, next_du)
    row = second - factor * first, last - factor * fill
    return row, (factor, pivot, first, fill, swap)


def _size(x: Any) -> Any:
    """LAPACK's size of a pivot."""
    return jnp.abs(x.real) + jnp.abs(x.imag) if jnp.iscomplexobj(x) else jnp.abs(x)


def lu_solve_tridiagonal(
    dl: Any, d: Any, du: Any, du2: Any, pivots: Any, b: Any, transposed: bool
) -> Any:
    """The solution for a vector or a matrix ``b``, from a factorization."""
    swaps = pivots[:-1] != jnp.arange(1, d.shape[0], dtype=pivots.dtype)
    if transposed:
        return _solve_lower(dl, swaps, _solve_upper(d, du, du2, b, False), True)
    return _solve_upper(d, du, du2, _solve_lower(dl, swaps, b, False), True)


def _solve_lower(dl: Any, swaps: Any, b: Any, transposed: bool) -> Any:
    """Solve with L, elimination by elimination, or with its transpose in reverse order.

    Each elimination acts on rows i and i + 1. The loop carries the row that the next
    elimination also acts on.
    """

    def forward(upper: Any, step: Any) -> Any:
        factor, swap, lower = step
        upper, lower = jnp.where(swap, lower, upper), jnp.where(swap, upper, lower)
        return lower - factor * upper, upper

    def backward(lower: Any, step: Any) -> Any:
        factor, swap, upper = step
        upper = upper - factor * lower
        return jnp.where(swap, lower, upper), jnp.where(swap, upper, lower)

    if transposed:
        first, rest = lax.scan(backward, b[-1], (dl, swaps, b[:-1]), reverse=True)
        return jnp.concatenate([first[None], rest])
    last, rest = lax.scan(forward, b[0], (dl, swaps, b[1:]))
    return jnp.concatenate([rest, last[None]])


def _solve_upper(d: Any, du: Any, du2: Any, b: Any, backward: bool) -> Any:
    """Solve with U from the last row up, or with its transpose from the first down."""
    n = d.shape[0]

    def padded(x: Any) -> Any:
        pad = jnp.zeros(n - x.shape[0], d.dtype)
        return jnp.concatenate([x, pad] if backward else [pad, x])

    def solve(known: Any, row: Any) -> Any:
        (x1, x2), (pivot, one, two, b) = known, row
        x = (b - one * x1 - two * x2) / pivot
        return (x, x1), x

    zero = jnp.zeros_like(b[0])
    rows = d, padded(du), padded(du2), b
    _, x = lax.scan(solve, (zero, zero), rows, reverse=backward)
    return x
