"""Linear systems and least squares."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import linalg as jsl

from jaxlink.numerics.linalg.matrices import nan_unless
from jaxlink.numerics.linalg.pinv import pseudo_inverse

__all__ = ["least_squares", "solve_general"]


def solve_general(a: Any, b: Any) -> tuple[Any, Any]:
    """The solution for a vector or a matrix (nan if ``a`` is singular), and whether
    ``a`` is regular. The gradient takes one more solve, but no new factorization."""
    if b.ndim == 1:
        x, ok = solve_general(a, b[:, None])
        return x[:, 0], ok
    if b.size == 0:
        return jnp.zeros(b.shape, b.dtype), jnp.asarray(True)
    factors, pivots, _ = lax.linalg.lu(lax.stop_gradient(a))

    def solve(trans: int) -> Callable[..., Any]:
        return lambda matvec, b: jsl.lu_solve((factors, pivots), b, trans=trans)

    x = lax.custom_linear_solve(lambda x: a @ x, b, solve(0), solve(1))
    ok = (jnp.diagonal(factors) != 0).all()
    return nan_unless(ok, x), ok


def least_squares(x: Any, y: Any, rcond: Any) -> tuple[Any, Any, Any, Any]:
    """Least squares by the singular values, as in LAPACK's gelsd.

    A singular value counts if it is larger than rcond times the largest. If rcond is
    not between 0 and 1, the unit roundoff replaces it.

    Returns:
        The solution, the residuals, the rank and the singular values. The residuals are
        nan without full column rank, where NumPy returns none. They are empty unless
        ``x`` has more rows than columns.
    """
    m, n = x.shape
    values = jnp.linalg.svd(x, compute_uv=False)
    unit = float(np.finfo(x.dtype).eps) / 2
    rcond = jnp.where((rcond > 0) & (rcond < 1), rcond, unit).astype(x.dtype)
    rank = (values > rcond * values.max(initial=0)).sum()
    solution = pseudo_inverse(x, rcond) @ y
    if m > n:
        residuals = nan_unless(rank == n, ((y - x @ solution) ** 2).sum(0))
    else:
        residuals = jnp.zeros(0, x.dtype)
    return solution, residuals, rank, values
