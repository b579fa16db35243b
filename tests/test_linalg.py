"""Linear algebra, and Ops repeated over batches."""

import jax
import numpy as np
import pytensor.tensor as pt
import pytest
from jax.test_util import check_grads
from pytensor.tensor import linalg as ptl
from pytensor.tensor.blas.batched import BatchedDot
from pytensor.tensor.blas.gemm import Dot22, Dot22Scalar, Gemm
from pytensor.tensor.blas.gemv import Gemv
from pytensor.tensor.linalg.decomposition.lu import PivotToPermutations
from support import check

import jaxlink
from jaxlink.errors import UnsupportedOpError

RNG = np.random.default_rng(0)
N = 3
A = RNG.normal(size=(N, N))
SPD = A @ A.T + N * np.eye(N)
BATCH = np.stack([SPD, 2 * SPD + 1])
B = RNG.normal(size=(N, 2))
V = RNG.normal(size=N)

m, n = pt.matrix("m"), pt.matrix("n")
v = pt.vector("v")
t = pt.tensor3("t")
# Rounding is all that these may differ by.
CLOSE = {"rtol": 1e-8, "atol": 1e-10}


# --- products ------------------------------------------------------------------------


def test_products():
    outputs = [m @ n, m @ v, v @ v, pt.outer(v, v), pt.dot(m, n.T.T), t @ n, t @ v]
    outputs += [pt.tensordot(t, n, axes=1), pt.matmul(v, t)]
    check([m, n, v, t], outputs, [A, B, V, BATCH], **CLOSE)


def test_products_of_mixed_types():
    i, b = pt.matrix("i", dtype="int8"), pt.matrix("b", dtype="bool")
    f = pt.matrix("f", dtype="float32")
    outputs = [i @ i, f @ i, m @ f, b @ i, b @ b]
    whole = np.arange(9).reshape(3, 3) * 11
    check([m, i, f, b], outputs, [A, whole, A, whole % 2], rtol32=1e-5, atol=1e-10)


def test_products_of_nothing():
    outputs = [m @ n, m.T @ m]
    check([m, n], outputs, [np.ones((2, 0)), np.ones((0, 3))])


def test_blas_calls():
    s = pt.scalar("s")
    dot22, dot22scalar = Dot22(), Dot22Scalar()
    gemm, gemv = Gemm(inplace=False), Gemv(inplace=False)
    outputs = [
        dot22(m, m),
        dot22scalar(m, m, s),
        gemm(m, s, m, m, s + 1),
        gemv(v, s, m, v, s + 1),
        BatchedDot()(t, t),
    ]
    check([m, s, v, t], outputs, [A, 2.5, V, BATCH], grad=False, **CLOSE)
    # What is scaled by zero is not read.
    outputs = [gemm(m * np.nan, s, m, m, 0.0 * s), gemv(v * np.nan, s, m, v, 0.0 * s)]
    fn = jaxlink.function([m, s, v], outputs)
    assert all(np.isfinite(out).all() for out in fn(A, 2.5, V))


# --- decompositions and solving ------------------------------------------------------


@pytest.mark.parametrize("lower", [True, False])
def test_cholesky(lower):
    factor = ptl.cholesky(m, lower=lower)
    # Only one triangle is read, and has a gradient.
    check([m], factor, [np.tril(SPD) if lower else np.triu(SPD)], **CLOSE)
    check([t], ptl.cholesky(t, lower=lower), [BATCH], **CLOSE)
    check([m], factor, [-SPD], grad=False)
    check([m], factor, [np.ones((0, 0))], grad=False)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("unit_diagonal", [True, False])
def test_solve_triangular(lower, unit_diagonal):
    outputs = [
        ptl.solve_triangular(m, x, lower=lower, unit_diagonal=unit_diagonal, b_ndim=k)
        for x, k in ((v, 1), (n, 2))
    ]
    check([m, v, n], outputs, [SPD, V, B], **CLOSE)
    if not unit_diagonal:
        singular = SPD - np.diag(np.diag(SPD))
        check([m, v, n], outputs, [singular, V, B], grad=False)


def test_cholesky_solve():
    outputs = [
        ptl.cho_solve((ptl.cholesky(m), True), v, b_ndim=1),
        ptl.cho_solve((pt.triu(m), False), n, b_ndim=2),
    ]
    check([m, v, n], outputs, [SPD, V, B], **CLOSE)


def test_cholesky_solve_reads_one_triangle():
    """PyTensor's gradient does not, so compare with differences."""
    for lower in (True, False):
        fn = jaxlink.function([m, v], ptl.cho_solve((m, lower), v, b_ndim=1))
        check_grads(fn, (SPD, V), order=1, modes=["rev"])


@pytest.mark.parametrize("kind", ["gen", "sym", "her", "pos", "banded", "tridiagonal"])
@pytest.mark.parametrize("lower", [True, False])
def test_solve(kind, lower):
    # Through a symmetric function of the matrix: PyTensor's gradient ignores `lower`.
    x = (m + m.T) / 2
    x = pt.tril(pt.triu(x, -1), 1) if kind in ("banded", "tridiagonal") else x
    outputs = [
        ptl.solve(x, b, assume_a=kind, lower=lower, b_ndim=k)
        for b, k in ((v, 1), (n, 2))
    ]
    check([m, v, n], outputs, [SPD, V, B], **CLOSE)


def test_determinants_and_inverses():
    sign, logdet = pt.linalg.slogdet(m)
    outputs = [ptl.det(m), sign * 1.0, logdet, ptl.inv(m), ptl.pinv(m)]
    check([m], outputs, [A], rtol=1e-7, atol=1e-9)
    outputs = [ptl.det(t), ptl.inv(t), *pt.linalg.slogdet(t)]
    check([t], outputs, [BATCH], rtol=1e-7, atol=1e-9)
    whole = pt.matrix("whole", dtype="int64")
    check([whole], [ptl.det(whole), ptl.inv(whole)], [[[2, 1], [0, 3]]], **CLOSE)


@pytest.mark.parametrize("lower", [True, False])
def test_eigenvalues_of_symmetric_matrices(lower):
    values, vectors = ptl.eigh(m, lower=lower)
    # A vector's sign is open.
    outputs = [values, abs(vectors), ptl.eigvalsh(m, None, lower=lower)]
    check([m], outputs, [A + 5 * np.eye(N)], rtol=1e-7, atol=1e-9)
    values, vectors = ptl.eigh(m, n, lower=lower)
    outputs = [values, abs(vectors)]
    check([m, n], outputs, [A + A.T, SPD], grad=False, **CLOSE)


def test_general_eigenvalues():
    values, _vectors = ptl.eig(m)
    check([m], values, [A], grad=False, **CLOSE)


def test_singular_values():
    u, s, vt = ptl.svd(n, full_matrices=False)
    outputs = [s, ptl.svd(n, compute_uv=False), (u * s) @ vt]
    check([n], outputs, [B], rtol=1e-7, atol=1e-9)
    u, s, vt = ptl.svd(n, full_matrices=True)
    check([n], [abs(u[:, :2]), s, abs(vt)], [B], grad=False, **CLOSE)


@pytest.mark.parametrize("mode", ["full", "economic", "r"])
def test_qr(mode):
    outs = ptl.qr(n, mode=mode)
    outs = list(outs) if isinstance(outs, list | tuple) else [outs]
    fn = check([n], outs, [B], grad=False, **CLOSE)
    if mode == "economic":  # PyTensor's own gradient raises
        check_grads(fn, (B,), order=1, modes=["rev"])
    outs = ptl.qr(n, mode=mode, pivoting=True)
    check([n], list(outs), [B], grad=False, vmap=False, **CLOSE)


def test_qr_has_no_raw_mode():
    with pytest.raises(UnsupportedOpError, match='QR with mode="raw"'):
        jaxlink.function([m], list(ptl.qr(m, mode="raw")))


def test_lu():
    outputs = [*ptl.lu(m), *ptl.lu(m, permute_l=True), *ptl.lu(m, p_indices=True)[:2]]
    check([m], outputs, [A], grad=False, **CLOSE)
    factors, pivots = ptl.lu_factor(m)
    orders = [PivotToPermutations(inverse)(pivots) for inverse in (True, False)]
    check([m], [factors, pivots, *orders], [A], grad=False, **CLOSE)
    check([m], factors, [np.ones((2, 2))], grad=False)


def test_matrix_functions():
    outputs = [
        ptl.expm(m),
        ptl.block_diag(m, n),
        ptl.kron(m, n),
        ptl.matrix_power(m, 3),
    ]
    check([m, n], outputs, [A, B], rtol=1e-8, atol=1e-9)


# --- batches -------------------------------------------------------------------------


def test_batches_broadcast():
    x = pt.tensor("x", shape=(None, 1, None, None))
    outputs = [
        ptl.solve(x, n, b_ndim=2),
        ptl.solve_triangular(t, v, lower=True, b_ndim=1),
        ptl.cho_solve((ptl.cholesky(t), True), n, b_ndim=2),
        x @ t,
    ]
    values = [BATCH[:, None], B, V, BATCH]
    check([x, n, v, t], outputs, values, grad=False, **CLOSE)


def test_batch_of_an_indexing():
    x, i = pt.matrix("x"), pt.lvector("i")
    take = pt.vectorize(lambda row, j: row[j], signature="(n),()->()")
    cut = pt.vectorize(lambda row: row[1:] * 2, signature="(n)->(k)")
    check([x, i], [take(x, i), cut(x)], [B, [1, 0, -1]])


def test_batch_lengths_that_the_types_do_not_allow():
    fn = jaxlink.function([t, n], ptl.solve(t, n[None] * t[:, :, :2], b_ndim=2))
    fn(BATCH, B)
    u = pt.tensor3("u")
    fn = jaxlink.function([t, u], ptl.solve(t, u, b_ndim=2))
    with pytest.raises(ValueError, match="would broadcast dimension 0 of u"):
        fn(BATCH, B[None])


def test_log_density_of_a_multivariate_normal():
    mu, x = pt.vector("mu"), pt.matrix("x")
    factor = ptl.cholesky(m)
    white = ptl.solve_triangular(factor, (x - mu).mT, lower=True, b_ndim=2)
    log_p = -(white**2).sum(0) / 2 - pt.log(pt.diagonal(factor)).sum()
    fn = check([m, mu, x], log_p, [SPD, V, RNG.normal(size=(5, N))], **CLOSE)
    hessian = jax.hessian(lambda mu: fn(SPD, mu, np.zeros((1, N)))[0][0])(V)
    np.testing.assert_allclose(hessian, -np.linalg.inv(SPD), rtol=1e-8)
