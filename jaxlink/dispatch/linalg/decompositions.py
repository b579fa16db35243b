"""Decompositions: Cholesky, eigenvalues, singular values, QR and LU.

Where PyTensor reads only one triangle of a symmetric matrix, so do these rules: they
mirror it first, so the gradient lies in that triangle too. A failed factorization gives
nan, as in PyTensor, and an error under ``checkify``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import linalg as jsl
from pytensor.tensor.linalg.decomposition.cholesky import Cholesky
from pytensor.tensor.linalg.decomposition.eigen import Eig, Eigh, Eigvalsh
from pytensor.tensor.linalg.decomposition.lu import LU, LUFactor, PivotToPermutations
from pytensor.tensor.linalg.decomposition.qr import QR
from pytensor.tensor.linalg.decomposition.svd import SVD

from jaxlink.dispatch.linalg.support import (
    Function,
    check_square,
    demand,
    in_lapack_dtype,
    without_gradient,
)
from jaxlink.dispatch.registry import rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.linalg.matrices import adjoint, mirror, nan_unless, nonzero
from jaxlink.values.static import canonical
from jaxlink.values.types import describe, name_of

__all__ = ["lower_cholesky"]

_DIVERGED = "the iteration did not converge, or the matrix is not finite"


def lower_cholesky(x: Any) -> tuple[Any, Any]:
    """The factor of a Hermitian matrix, nan if there is none, and whether there is."""
    factor = lax.linalg.cholesky(x, symmetrize_input=False)
    ok = ~jnp.isnan(factor).any()
    # JAX leaves zeros above the diagonal of a failure.
    return nan_unless(ok, factor), ok


@rule(Cholesky)
def cholesky(op: Cholesky, node: Any) -> Function:
    def run(x: Any) -> Any:
        factor, ok = lower_cholesky(mirror(x, op.lower))
        demand(node, ok, "the matrix is not positive definite")
        return factor if op.lower else adjoint(factor)

    return in_lapack_dtype(node, run, square=(0,))


# --- eigenvalues ---------------------------------------------------------------------


def _eigh(node: Any, x: Any, b: Any, lower: bool) -> tuple[Any, Any]:
    """Eigenvalues and -vectors of ``x``, or of the pencil ``(x, b)``."""
    x = mirror(x, lower)
    if b is None:
        values, vectors = jnp.linalg.eigh(x, symmetrize_input=False)
        demand(node, ~jnp.isnan(values).any(), _DIVERGED)
        return values, vectors
    # With b = l l*, the vectors of inv(l) x inv(l*) are l* times those of the pencil.
    factor, ok = lower_cholesky(mirror(b, lower))
    demand(node, ok, "the second matrix is not positive definite")
    half = jsl.solve_triangular(factor, x, lower=True)
    reduced = adjoint(jsl.solve_triangular(factor, adjoint(half), lower=True))
    values, vectors = jnp.linalg.eigh(reduced)
    demand(node, ~jnp.isnan(values).any(), _DIVERGED)
    return values, jsl.solve_triangular(adjoint(factor), vectors, lower=False)


@rule(Eigh)
def eigh(op: Eigh, node: Any) -> Function:
    for var in node.inputs:
        if var.type.dtype.startswith("complex"):
            raise UnsupportedOpError(
                f"{op} of {name_of(var)}, which is {describe(var.type)}: PyTensor "
                "declares the eigenvectors of a complex matrix as real. Use eigvalsh "
                "for the eigenvalues, or eig."
            )
    return in_lapack_dtype(
        node, lambda x, b=None: _eigh(node, x, b, op.lower), square=(0, 1)
    )


@rule(Eigvalsh)
def eigvalsh(op: Eigvalsh, node: Any) -> Function:
    return in_lapack_dtype(
        node, lambda x, b=None: _eigh(node, x, b, op.lower)[0], square=(0, 1)
    )


@rule(Eig)
def eig(op: Eig, node: Any) -> Function:
    (x,) = node.inputs
    out = np.dtype(node.outputs[0].type.dtype)
    complex_ = x.type.dtype.startswith("complex")
    dtype = out if complex_ else np.empty(0, out).real.dtype

    def run(x: Any) -> Any:
        check_square(node, x)
        values, vectors = _eig(jnp.asarray(x, canonical(dtype)))
        demand(node, ~jnp.isnan(values).any(), _DIVERGED)
        return values, vectors

    return run


@jax.custom_jvp
def _eig(x: Any) -> tuple[Any, Any]:
    values, vectors = jnp.linalg.eig(x)
    return values, vectors


@_eig.defjvp
def _eig_jvp(primals: Any, tangents: Any) -> Any:
    """Perturbation theory: with C = inv(V) dX V, the values move by its diagonal, and
    vector j by C[i, j] / (value j - value i) along vector i (Golub and Van Loan,
    "Matrix Computations", 4th ed., 7.2.4). How far it moves along itself follows from
    LAPACK's convention: its length is one, and its largest element is real.
    """
    values, vectors = _eig(*primals)
    (dx,) = tangents
    change = jnp.linalg.solve(vectors, dx.astype(vectors.dtype) @ vectors)
    gap = values - values[:, None]
    along = jnp.where(gap == 0, 0, change / nonzero(gap))
    moved = vectors @ along
    largest = jnp.abs(vectors).argmax(0)[None]
    turn = jnp.take_along_axis(moved / nonzero(vectors), largest, axis=0).imag
    stretch = (vectors.conj() * moved).sum(0).real
    moved = moved - vectors * lax.complex(stretch, turn[0])
    return (values, vectors), (jnp.diagonal(change), moved)


@rule(SVD)
def svd(op: SVD, node: Any) -> Function:
    def run(x: Any) -> Any:
        out = jnp.linalg.svd(x, op.full_matrices, op.compute_uv)
        values = out[1] if op.compute_uv else out
        demand(node, ~jnp.isnan(values).any(), _DIVERGED)
        return tuple(out) if op.compute_uv else out

    return in_lapack_dtype(node, run)


# --- QR ------------------------------------------------------------------------------


@rule(QR)
def qr(op: QR, node: Any) -> Function:
    def run(x: Any) -> Any:
        pivots: tuple[Any, ...] = ()
        if op.pivoting:
            # The same reflections as without pivots, once the columns are in order. So
            # the gradient goes through the plain factorization.
            _, _, order = lax.linalg.qr(lax.stop_gradient(x), pivoting=True)
            x = x[:, order]
            pivots = (order.astype("int32"),)
        return *_QR_MODES[op.mode](x), *pivots

    return in_lapack_dtype(node, run)


def _economic(x: Any) -> tuple[Any, Any]:
    """Q and R. JAX has the gradient of a matrix that is not wide. In a wide one the
    reflections come from the first columns, which are square."""
    m, n = x.shape
    q, r = jnp.linalg.qr(x[:, :m])
    return q, r if m >= n else jnp.concatenate([r, adjoint(q) @ x[:, m:]], axis=1)


def _full(x: Any) -> tuple[Any, Any]:
    m, n = x.shape
    if m <= n:
        return _economic(x)
    complete = without_gradient(
        lambda x: tuple(jnp.linalg.qr(x, mode="complete")),
        'QR with mode="full" of a matrix that has more rows than columns (use '
        '"economic")',
    )
    return tuple(complete(x))


def _only_r(x: Any) -> tuple[Any]:
    m, n = x.shape
    r = _economic(x)[1]
    return (jnp.concatenate([r, jnp.zeros((max(m - n, 0), n), r.dtype)]),)


def _raw(x: Any) -> tuple[Any, Any, Any]:
    def run(x: Any) -> Any:
        h, tau = jnp.linalg.qr(x, mode="raw")
        h = jnp.swapaxes(h, 0, 1)
        return h, tau, jnp.triu(h[: h.shape[1]])

    return tuple(without_gradient(run, 'QR with mode="raw"')(x))


_QR_MODES = {"economic": _economic, "full": _full, "r": _only_r, "raw": _raw}


# --- LU ------------------------------------------------------------------------------


@rule(LU)
def lu(op: LU, node: Any) -> Function:
    def run(x: Any) -> Any:
        if op.permute_l:
            return tuple(jsl.lu(x, permute_l=True))
        p, lower, upper = jsl.lu(x)
        if op.p_indices:
            return jnp.argmax(p, axis=1).astype("int32"), lower, upper
        return p.astype(canonical(node.outputs[0].type.dtype)), lower, upper

    def empty(x: Any) -> Any:
        return tuple(
            jnp.zeros(x.shape[: out.type.ndim], canonical(out.type.dtype))
            for out in node.outputs
        )

    return in_lapack_dtype(node, lambda x: run(x) if x.size else empty(x))


@rule(LUFactor)
def lu_factor(op: LUFactor, node: Any) -> Function:
    (x,) = node.inputs
    if x.type.dtype.startswith(("int", "uint", "bool")):
        raise UnsupportedOpError(
            f"{op} of {name_of(x)}, which is {describe(x.type)}: PyTensor declares the "
            f'factors as {x.type.dtype} too. Factorize {name_of(x)}.astype("float64").'
        )

    def run(x: Any) -> Any:
        factors, pivots = jsl.lu_factor(x)
        ok = (jnp.diagonal(factors) != 0).all()
        demand(node, ok, "the matrix is singular")
        return nan_unless(ok, factors), pivots.astype("int32")

    return in_lapack_dtype(node, run)


@rule(PivotToPermutations)
def pivot_to_permutations(op: PivotToPermutations, node: Any) -> Function:
    def run(pivots: Any) -> Any:
        pivots = jnp.asarray(pivots, "int32")
        order = lax.linalg.lu_pivots_to_permutation(pivots, pivots.shape[0])
        order = order if op.inverse else jnp.argsort(order)
        return order.astype(canonical("int64"))

    return run
