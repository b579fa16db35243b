"""Linear algebra: products, factorizations, solving.

Where PyTensor reads only one triangle of a symmetric matrix, so do these rules: they
mirror it first, so the gradient lies in that triangle too. A failed factorization gives
nan, as in PyTensor.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg as jsl
from pytensor.tensor.linalg.constructors import BlockDiagonal
from pytensor.tensor.linalg.decomposition.cholesky import Cholesky
from pytensor.tensor.linalg.decomposition.eigen import Eig, Eigh, Eigvalsh
from pytensor.tensor.linalg.decomposition.lu import LU, LUFactor, PivotToPermutations
from pytensor.tensor.linalg.decomposition.qr import QR
from pytensor.tensor.linalg.decomposition.svd import SVD
from pytensor.tensor.linalg.inverse import MatrixInverse, MatrixPinv, TensorInv
from pytensor.tensor.linalg.products import Expm
from pytensor.tensor.linalg.solvers.general import Solve
from pytensor.tensor.linalg.solvers.lstsq import TensorSolve
from pytensor.tensor.linalg.solvers.psd import CholeskySolve
from pytensor.tensor.linalg.solvers.triangular import SolveTriangular
from pytensor.tensor.linalg.summary import Det, SLogDet

from jaxlink.dispatch.registry import rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.static import canonical

__all__: list[str] = []

Function = Callable[..., Any]


def _in_dtype_of(node: Any, fn: Function, output: int = 0) -> Function:
    """``fn`` of operands in the dtype of an output, where LAPACK would compute."""
    dtype = node.outputs[output].type.dtype
    return lambda *args: fn(*(jnp.asarray(x, canonical(dtype)) for x in args))


def _transpose(x: Any) -> Any:
    return jnp.swapaxes(x, -1, -2)


def _adjoint(x: Any) -> Any:
    return jnp.conj(_transpose(x))


def _mirror(x: Any, lower: bool) -> Any:
    """The symmetric (Hermitian) matrix that one triangle of ``x`` tells."""
    if lower:
        return jnp.tril(x) + _adjoint(jnp.tril(x, -1))
    return jnp.triu(x) + _adjoint(jnp.triu(x, 1))


def _nan_unless(ok: Any, x: Any) -> Any:
    return jnp.where(ok, x, jnp.nan)


def _lower_cholesky(x: Any) -> Any:
    factor = lax.linalg.cholesky(x, symmetrize_input=False)
    # JAX leaves zeros above the diagonal of a failure.
    return _nan_unless(~jnp.isnan(factor).any(), factor) if x.size else factor


def _solve_vector(solve: Function, a: Any, b: Any) -> Any:
    """Solve for a vector or a matrix with a function that takes matrices."""
    return solve(a, b) if b.ndim == 2 else solve(a, b[:, None])[:, 0]


@rule(Cholesky)
def cholesky(op: Cholesky, node: Any) -> Function:
    def run(x: Any) -> Any:
        factor = _lower_cholesky(_mirror(x, op.lower))
        return factor if op.lower else _adjoint(factor)

    return _in_dtype_of(node, run)


@rule(SolveTriangular)
def solve_triangular(op: SolveTriangular, node: Any) -> Function:
    def run(a: Any, b: Any) -> Any:
        x = jsl.solve_triangular(
            a, b, lower=op.lower, unit_diagonal=op.unit_diagonal, check_finite=False
        )
        if op.unit_diagonal:
            return x
        return _nan_unless((jnp.diagonal(a) != 0).all(), x)

    return _in_dtype_of(node, run)


@rule(CholeskySolve)
def cholesky_solve(op: CholeskySolve, node: Any) -> Function:
    return _in_dtype_of(node, lambda c, b: jsl.cho_solve((c, op.lower), b))


@rule(Solve)
def solve(op: Solve, node: Any) -> Function:
    def general(a: Any, b: Any) -> Any:
        return _solve_vector(jnp.linalg.solve, a, b)

    def symmetric(a: Any, b: Any) -> Any:
        return general(_mirror(a, op.lower), b)

    def positive(a: Any, b: Any) -> Any:
        return jsl.cho_solve((_lower_cholesky(_mirror(a, op.lower)), True), b)

    def tridiagonal(a: Any, b: Any) -> Any:
        return general(jnp.triu(jnp.tril(a, 1), -1), b)

    # A banded matrix is a general one: LAPACK's bands only save time.
    solvers = {
        "gen": general,
        "banded": general,
        "sym": symmetric,
        "her": symmetric,
        "pos": positive,
        "tridiagonal": tridiagonal,
    }
    if op.assume_a not in solvers:
        raise UnsupportedOpError(f"jaxlink cannot solve with assume_a={op.assume_a!r}.")
    return _in_dtype_of(node, solvers[op.assume_a])


@rule(Det)
def det(op: Det, node: Any) -> Function:
    return _in_dtype_of(node, jnp.linalg.det)


@rule(SLogDet)
def slogdet(op: SLogDet, node: Any) -> Function:
    return _in_dtype_of(node, lambda x: tuple(jnp.linalg.slogdet(x)))


@rule(MatrixInverse)
def matrix_inverse(op: MatrixInverse, node: Any) -> Function:
    return _in_dtype_of(node, jnp.linalg.inv)


@rule(MatrixPinv)
def matrix_pinv(op: MatrixPinv, node: Any) -> Function:
    # The cutoff of numpy.linalg.pinv; JAX's own is larger.
    return _in_dtype_of(
        node, lambda x: jnp.linalg.pinv(x, rtol=1e-15, hermitian=op.hermitian)
    )


@rule(TensorInv)
def tensorinv(op: TensorInv, node: Any) -> Function:
    return _in_dtype_of(node, lambda x: jnp.linalg.tensorinv(x, op.ind))


@rule(TensorSolve)
def tensorsolve(op: TensorSolve, node: Any) -> Function:
    return _in_dtype_of(node, lambda a, b: jnp.linalg.tensorsolve(a, b, op.axes))


@rule(Expm)
def expm(op: Expm, node: Any) -> Function:
    return _in_dtype_of(node, jsl.expm)


def _eigh(x: Any, b: Any, lower: bool) -> tuple[Any, Any]:
    """Eigenvalues and -vectors of ``x``, or of the pencil ``(x, b)``."""
    x = _mirror(x, lower)
    if b is None:
        values, vectors = jnp.linalg.eigh(x, symmetrize_input=False)
        return values, vectors
    # With b = l l*, the vectors of inv(l) x inv(l*) are l* times those of the pencil.
    factor = _lower_cholesky(_mirror(b, lower))
    half = jsl.solve_triangular(factor, x, lower=True)
    reduced = _adjoint(jsl.solve_triangular(factor, _adjoint(half), lower=True))
    values, vectors = jnp.linalg.eigh(reduced)
    return values, jsl.solve_triangular(_adjoint(factor), vectors, lower=False)


@rule(Eigh)
def eigh(op: Eigh, node: Any) -> Function:
    return _in_dtype_of(node, lambda x, b=None: _eigh(x, b, op.lower), output=1)


@rule(Eigvalsh)
def eigvalsh(op: Eigvalsh, node: Any) -> Function:
    return _in_dtype_of(node, lambda x, b=None: _eigh(x, b, op.lower)[0])


@rule(Eig)
def eig(op: Eig, node: Any) -> Function:
    return _in_dtype_of(node, lambda x: tuple(jnp.linalg.eig(x)))


@rule(SVD)
def svd(op: SVD, node: Any) -> Function:
    def run(x: Any) -> Any:
        out = jnp.linalg.svd(x, op.full_matrices, op.compute_uv)
        return tuple(out) if op.compute_uv else out

    return _in_dtype_of(node, run)


@rule(QR)
def qr(op: QR, node: Any) -> Function:
    if op.mode == "raw":
        raise UnsupportedOpError(
            'jaxlink has no QR with mode="raw". Use "full", "economic" or "r".'
        )
    mode = "economic" if op.mode == "economic" else "full"

    def run(x: Any) -> Any:
        q, r, *pivots = tuple(jsl.qr(x, mode=mode, pivoting=op.pivoting))
        factors = (r,) if op.mode == "r" else (q, r)
        return *factors, *(pivot.astype("int32") for pivot in pivots)

    return _in_dtype_of(node, run)


@rule(LU)
def lu(op: LU, node: Any) -> Function:
    def run(x: Any) -> Any:
        if op.permute_l:
            return tuple(jsl.lu(x, permute_l=True))
        p, lower, upper = jsl.lu(x)
        return (
            jnp.argmax(p, axis=1).astype("int32") if op.p_indices else p,
            lower,
            upper,
        )

    return _in_dtype_of(node, run, output=1)


@rule(LUFactor)
def lu_factor(op: LUFactor, node: Any) -> Function:
    def run(x: Any) -> Any:
        factors, pivots = jsl.lu_factor(x)
        ok = (jnp.diagonal(factors) != 0).all()
        return _nan_unless(ok, factors), pivots.astype("int32")

    return _in_dtype_of(node, run)


@rule(PivotToPermutations)
def pivot_to_permutations(op: PivotToPermutations, node: Any) -> Function:
    def run(pivots: Any) -> Any:
        pivots = jnp.asarray(pivots, "int32")
        order = lax.linalg.lu_pivots_to_permutation(pivots, pivots.shape[0])
        order = order if op.inverse else jnp.argsort(order)
        return order.astype(canonical("int64"))

    return run


@rule(BlockDiagonal)
def block_diagonal(op: BlockDiagonal, node: Any) -> Function:
    return _in_dtype_of(node, jsl.block_diag)
