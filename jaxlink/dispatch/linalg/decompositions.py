"""Decompositions: Cholesky, eigenvalues, singular values, QR and LU.

Where PyTensor reads only one triangle of a symmetric matrix, so do these rules: they
mirror it first, so the gradient lies in that triangle too. A failed factorization gives
nan, as in PyTensor, and an error under ``checkify``.
"""

from typing import Any

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
    DIVERGED,
    check_square,
    demand,
    in_lapack_dtype,
    refuse,
    refuse_integers,
    without_gradient,
)
from jaxlink.dispatch.registry import Function, rule
from jaxlink.numerics.linalg.decompositions import (
    eig,
    eigh,
    eigh_of_pencil,
    lower_cholesky,
)
from jaxlink.numerics.linalg.matrices import adjoint, mirror, nan_unless
from jaxlink.numerics.linalg.qr import complete_qr, economic_qr, only_r, raw_qr
from jaxlink.values.static import canonical


@rule(Cholesky)
def cholesky(op: Cholesky, node: Any) -> Function:
    def run(x: Any) -> Any:
        factor, ok = lower_cholesky(mirror(x, op.lower))
        demand(node, ok, "the matrix is not positive definite")
        return factor if op.lower else adjoint(factor)

    return in_lapack_dtype(node, run, square=(0,))


# --- eigenvalues ---------------------------------------------------------------------


@rule(Eigh, Eigvalsh)
def eigh_rule(op: Any, node: Any) -> Function:
    """Eigenvalues and -vectors of a matrix, or of two."""
    only_values = isinstance(op, Eigvalsh)
    for var in () if only_values else node.inputs:
        refuse(
            "c",
            op,
            var,
            "PyTensor declares the eigenvectors of a complex matrix as real. Use "
            "eigvalsh for the eigenvalues, or eig.",
        )

    def run(x: Any, b: Any = None) -> Any:
        x = mirror(x, op.lower)
        if b is None:
            values, vectors = eigh(x)
        else:
            values, vectors, ok = eigh_of_pencil(x, mirror(b, op.lower))
            demand(node, ok, "the second matrix is not positive definite")
        demand(node, ~jnp.isnan(values).any(), DIVERGED)
        return values if only_values else (values, vectors)

    return in_lapack_dtype(node, run, square=(0, 1))


@rule(Eig)
def eig_rule(op: Eig, node: Any) -> Function:
    (x,) = node.inputs
    out = np.dtype(node.outputs[0].type.dtype)
    complex_ = x.type.dtype.startswith("complex")
    dtype = out if complex_ else np.empty(0, out).real.dtype

    def run(x: Any) -> Any:
        check_square(node, x)
        values, vectors = eig(jnp.asarray(x, canonical(dtype)))
        demand(node, ~jnp.isnan(values).any(), DIVERGED)
        return values, vectors

    return run


@rule(SVD)
def svd(op: SVD, node: Any) -> Function:
    def run(x: Any) -> Any:
        out = jnp.linalg.svd(x, op.full_matrices, op.compute_uv)
        values = out[1] if op.compute_uv else out
        demand(node, ~jnp.isnan(values).any(), DIVERGED)
        return tuple(out) if op.compute_uv else out

    return in_lapack_dtype(node, run)


# --- QR ------------------------------------------------------------------------------


@rule(QR)
def qr(op: QR, node: Any) -> Function:
    def run(x: Any) -> Any:
        factorize = _QR_MODES[op.mode]
        if not op.pivoting:
            return tuple(factorize(x))
        # The same reflections as without pivots, once the columns are in order. So the
        # gradient goes through the plain factorization.
        _, _, order = lax.linalg.qr(lax.stop_gradient(x), pivoting=True)
        return *factorize(x[:, order]), order.astype("int32")

    return in_lapack_dtype(node, run)


_complete_qr = without_gradient(
    complete_qr,
    'QR with mode="full" of a matrix that has more rows than columns (use "economic")',
)


def _full_qr(x: Any) -> Any:
    m, n = x.shape
    return economic_qr(x) if m <= n else _complete_qr(x)


_QR_MODES = {
    "economic": economic_qr,
    "full": _full_qr,
    "r": only_r,
    "raw": without_gradient(raw_qr, 'QR with mode="raw"'),
}


# --- LU ------------------------------------------------------------------------------


@rule(LU)
def lu(op: LU, node: Any) -> Function:
    def run(x: Any) -> Any:
        if x.size == 0:
            return tuple(
                jnp.zeros(x.shape[: out.type.ndim], canonical(out.type.dtype))
                for out in node.outputs
            )
        if op.permute_l:
            return tuple(jsl.lu(x, permute_l=True))
        p, lower, upper = jsl.lu(x)
        if op.p_indices:
            return jnp.argmax(p, axis=1).astype("int32"), lower, upper
        return p.astype(canonical(node.outputs[0].type.dtype)), lower, upper

    return in_lapack_dtype(node, run)


@rule(LUFactor)
def lu_factor(op: LUFactor, node: Any) -> Function:
    refuse_integers(op, node.inputs[0], "factors", "Factorize")

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
