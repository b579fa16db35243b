"""Schur forms, QZ, and the Sylvester equation between Schur forms.

Their bases are not unique, and a step of rounding may change them altogether, so as in
PyTensor they have no gradient; what is computed from them has (`solve_sylvester`,
`solve_discrete_are`), and TRSYL has.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg as jsl
from pytensor.tensor.linalg.decomposition.schur import QZ, Schur
from pytensor.tensor.linalg.solvers.linear_control import TRSYL

from jaxlink.dispatch.linalg.support import (
    Function,
    check_rows,
    check_square,
    demand,
    without_gradient,
)
from jaxlink.dispatch.registry import rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.linalg.matrices import nan_unless
from jaxlink.numerics.linalg.qz import Pencil, columns, qz, rows
from jaxlink.numerics.linalg.reordering import eigenvalues, positive, select_first
from jaxlink.numerics.loops import sealed
from jaxlink.values.static import canonical
from jaxlink.values.types import describe

__all__: list[str] = []

_DIVERGED = "the iteration did not converge, or the matrix is not finite"
_NOT_ORDERED = "the eigenvalues are too close to be put in order"


# Which eigenvalues come first: PyTensor's two Ops differ at the border.
_SCHUR_FIRST: dict[str, Function] = {
    "lhp": lambda value: value.real < 0,
    "rhp": lambda value: value.real >= 0,
    "iuc": lambda value: jnp.abs(value) <= 1,
    "ouc": lambda value: jnp.abs(value) > 1,
}
_QZ_FIRST: dict[str, Function] = {
    "lhp": lambda value, infinite: ~infinite & (value.real < 0),
    "rhp": lambda value, infinite: ~infinite & (value.real > 0),
    "iuc": lambda value, infinite: ~infinite & (jnp.abs(value) < 1),
    "ouc": lambda value, infinite: infinite | (jnp.abs(value) > 1),
}


@rule(QZ)
def qz_rule(op: QZ, node: Any) -> Function:
    def decompose(a: Any, b: Any) -> tuple[Any, ...]:
        p, converged = qz(a, b)
        p = positive(p)
        alpha, beta = eigenvalues(p)
        ordered = jnp.asarray(True)
        if op.sort is not None:
            zero = beta == 0
            value = alpha / jnp.where(zero, 1, beta).astype(alpha.dtype)
            selected = _QZ_FIRST[op.sort](value, zero & (alpha != 0))
            # 0 / 0, of a singular pencil, is nowhere.
            p, ordered = select_first(p, selected & ~(zero & (alpha == 0)))
            p = positive(p)
            alpha, beta = eigenvalues(p)
        outs = (alpha, beta) if op.return_eigenvalues else ()
        return converged, ordered, p.s, p.t, *outs, p.q, p.z

    run_sealed = partial(sealed, decompose)
    decompose_without_gradient = without_gradient(run_sealed, "QZ")
    dtype = node.outputs[0].type.dtype

    def run(*operands: Any) -> Any:
        a, b = (jnp.asarray(x, canonical(dtype)) for x in operands)
        check_square(node, a)
        check_square(node, b, 1)
        check_rows(node, [a, b])
        if a.size == 0:
            return tuple(
                jnp.zeros((0,) * out.type.ndim, canonical(out.type.dtype))
                for out in node.outputs
            )
        converged, ordered, *outs = decompose_without_gradient(a, b)
        demand(node, converged, _DIVERGED)
        demand(node, ordered | ~converged, _NOT_ORDERED)
        return tuple(nan_unless(converged & ordered, out) for out in outs)

    return run


@rule(Schur)
def schur(op: Schur, node: Any) -> Function:
    def decompose(a: Any) -> tuple[Any, ...]:
        finite = jnp.isfinite(a).all()
        s, z = lax.platform_dependent(
            jnp.where(finite, a, 0), cpu=_schur_by_lapack, default=_schur_by_qz
        )
        converged = finite & ~jnp.isnan(s).any()
        if op.sort is None:
            return converged, jnp.asarray(True), s, z
        p = Pencil(s, jnp.eye(s.shape[0], dtype=s.dtype), z, z)
        alpha, _ = eigenvalues(p)
        p, ordered = select_first(p, _SCHUR_FIRST[op.sort](alpha))
        p = _equal_diagonals(positive(p))
        return converged, ordered, p.s, p.z

    run_sealed = partial(sealed, decompose)
    decompose_without_gradient = without_gradient(run_sealed, "Schur")
    dtype = node.outputs[0].type.dtype

    def run(a: Any) -> Any:
        a = jnp.asarray(a, canonical(dtype))
        check_square(node, a)
        if a.size == 0:
            return a, a
        converged, ordered, *outs = decompose_without_gradient(a)
        demand(node, converged, _DIVERGED)
        demand(node, ordered | ~converged, _NOT_ORDERED)
        return tuple(nan_unless(converged & ordered, out) for out in outs)

    return run


def _schur_by_lapack(a: Any) -> tuple[Any, Any]:
    s, z = lax.linalg.schur(a)
    return s, z


def _schur_by_qz(a: Any) -> tuple[Any, Any]:
    """The pencil (A, I) has T = I, up to rounding, so Q is Z."""
    p, converged = qz(a, jnp.eye(a.shape[0], dtype=a.dtype))
    p = _equal_diagonals(positive(p))
    return nan_unless(converged, p.s), p.z


def _equal_diagonals(p: Pencil) -> Pencil:
    """Real 2x2 blocks with equal diagonal elements, as LAPACK has them."""
    n = p.s.shape[0]
    if jnp.iscomplexobj(p.s) or n == 1:
        return p

    def turn(k: Any, p: Pencil) -> Pencil:
        (a, b), (c, d) = lax.dynamic_slice(p.s, (k, k), (2, 2))
        angle = jnp.arctan2(d - a, b + c) / 2
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        g = jnp.stack([cos, -sin, sin, cos]).reshape(2, 2)
        return columns(rows(p, k, g), k, g)

    def block(k: Any, p: Pencil) -> Pencil:
        return lax.cond(p.s[k + 1, k] != 0, lambda p: turn(k, p), lambda p: p, p)

    return lax.fori_loop(0, n - 1, block, p)


# --- the Sylvester equation ----------------------------------------------------------


def _triangular_sylvester(a: Any, b: Any, c: Any) -> Any:
    """A X + X B = C with triangular A and B, column by column: Bartels and Stewart,
    "Solution of the matrix equation AX + XB = C" (1972)."""
    eye = jnp.eye(a.shape[0], dtype=a.dtype)

    def column(j: Any, x: Any) -> Any:
        known = c[:, j] - x @ b[:, j]  # later columns of x are still zero
        return x.at[:, j].set(jsl.solve_triangular(a + b[j, j] * eye, known))

    return lax.fori_loop(0, c.shape[1], column, jnp.zeros_like(c))


def _quasi_triangular_sylvester(a: Any, b: Any, c: Any) -> Any:
    """The same with 2x2 blocks, which are triangular in a complex basis."""
    if jnp.iscomplexobj(c):
        return _triangular_sylvester(jnp.triu(a), jnp.triu(b), c)
    (a, u), (b, v) = (
        jsl.rsf2csf(jnp.triu(x, -1), jnp.eye(x.shape[0], dtype=x.dtype)) for x in (a, b)
    )
    x = _triangular_sylvester(a, b, u.conj().T @ c.astype(a.dtype) @ v)
    return (u @ x @ v.conj().T).real


@rule(TRSYL)
def trsyl(op: TRSYL, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    if dtype.startswith(("int", "uint", "bool")):
        raise UnsupportedOpError(
            f"{op}: PyTensor declares the solution as {describe(node.outputs[0].type)}."
            " Cast the operands to float64."
        )

    def run(*operands: Any) -> Any:
        a, b, c = (jnp.asarray(x, canonical(dtype)) for x in operands)
        check_square(node, a)
        check_square(node, b, 1)
        check_rows(node, [a, c])
        check_rows(node, [b, c.T])
        if c.size == 0:
            return c
        used = -1 if c.dtype.kind == "f" else 0
        a, b = jnp.triu(a, used), jnp.triu(b, used)
        fixed_a, fixed_b = lax.stop_gradient(a), lax.stop_gradient(b)

        def solve(matvec: Any, c: Any) -> Any:
            return _quasi_triangular_sylvester(fixed_a, fixed_b, c)

        def transpose_solve(vecmat: Any, c: Any) -> Any:
            # A' and B' read backwards are upper triangular again.
            x = _quasi_triangular_sylvester(
                jnp.flip(fixed_a.T), jnp.flip(fixed_b.T), jnp.flip(c)
            )
            return jnp.flip(x)

        x = lax.custom_linear_solve(lambda x: a @ x + x @ b, c, solve, transpose_solve)
        demand(node, jnp.isfinite(x).all(), "A and -B share an eigenvalue")
        return x

    return run
