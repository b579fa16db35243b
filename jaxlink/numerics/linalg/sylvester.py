"""The Sylvester equation between Schur forms."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg as jsl

__all__ = ["solve_quasi_triangular_sylvester"]


def solve_quasi_triangular_sylvester(a: Any, b: Any, c: Any) -> Any:
    """X with A X + X B = C, for A and B in Schur form: real ones may have 2x2 blocks.

    Elements below the diagonal, or for real forms below the first subdiagonal, are not
    read. The gradient takes one more solve.
    """
    used = -1 if c.dtype.kind == "f" else 0
    a, b = jnp.triu(a, used), jnp.triu(b, used)
    fixed_a, fixed_b = lax.stop_gradient(a), lax.stop_gradient(b)

    def solve(matvec: Any, c: Any) -> Any:
        return _quasi_triangular(fixed_a, fixed_b, c)

    def transpose_solve(vecmat: Any, c: Any) -> Any:
        # A' and B' in reverse order are upper triangular again.
        x = _quasi_triangular(jnp.flip(fixed_a.T), jnp.flip(fixed_b.T), jnp.flip(c))
        return jnp.flip(x)

    return lax.custom_linear_solve(lambda x: a @ x + x @ b, c, solve, transpose_solve)


def _triangular(a: Any, b: Any, c: Any) -> Any:
    """A X + X B = C with triangular A and B, column by column: Bartels and Stewart,
    "Solution of the matrix equation AX + XB = C" (1972)."""
    eye = jnp.eye(a.shape[0], dtype=a.dtype)

    def column(j: Any, x: Any) -> Any:
        known = c[:, j] - x @ b[:, j]  # later columns of x are still zero
        return x.at[:, j].set(jsl.solve_triangular(a + b[j, j] * eye, known))

    return lax.fori_loop(0, c.shape[1], column, jnp.zeros_like(c))


def _quasi_triangular(a: Any, b: Any, c: Any) -> Any:
    """The same with 2x2 blocks, which are triangular in a complex basis."""
    if jnp.iscomplexobj(c):
        return _triangular(jnp.triu(a), jnp.triu(b), c)
    (a, u), (b, v) = (
        jsl.rsf2csf(jnp.triu(x, -1), jnp.eye(x.shape[0], dtype=x.dtype)) for x in (a, b)
    )
    x = _triangular(a, b, u.conj().T @ c.astype(a.dtype) @ v)
    return (u @ x @ v.conj().T).real
