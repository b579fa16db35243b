"""Linear algebra, and Ops repeated over batches."""

import jax
import numpy as np
import pytensor.tensor as pt
import pytest
from jax.test_util import check_grads
from pytensor.tensor import linalg as ptl
from pytensor.tensor.blas.batched import BatchedDot
from pytensor.tensor.blas.blas_c import CGemv
from pytensor.tensor.blas.gemm import Dot22, Dot22Scalar, Gemm
from pytensor.tensor.blas.gemv import Gemv
from pytensor.tensor.linalg.decomposition.lu import PivotToPermutations
from pytensor.tensor.linalg.solvers.tridiagonal import (
    LUFactorTridiagonal,
    SolveLUFactorTridiagonal,
)
from pytensor.tensor.linalg.summary import SLogDet
from support import check, compared

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
# Rounding is all that these may differ by. Batches have tests of their own, because a
# mapped program of each test would double the time that all of them take.
CLOSE = {"rtol": 1e-8, "atol": 1e-10, "vmap": False}
LOOSE = {"rtol": 1e-7, "atol": 1e-9, "vmap": False}


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
        CGemv(inplace=False)(v, s, m, v, s + 1),
        BatchedDot()(t, t),
    ]
    values = [A, 2.5, V, BATCH]
    fn = check([m, s, v, t], outputs, values, grad=False, **CLOSE)
    # Of these, PyTensor has a gradient of BatchedDot only.
    check_grads(jax.jit(fn), tuple(map(np.asarray, values)), order=1, modes=["rev"])
    compared(fn.fgraph.outputs, gradients=True)
    # PyTensor refuses these in a user's graph. Here nothing is in place.
    inplace = [
        Gemm(inplace=True)(m * 1, s, m, m, s + 1),
        Gemv(inplace=True)(m[0] * 1, s, m, m[1], s),
    ]
    wanted = 3.5 * A + 2.5 * A @ A, 2.5 * A[0] + 2.5 * A @ A[1]
    for out, value in zip(
        jaxlink.function([m, s], inplace)(A, 2.5), wanted, strict=True
    ):
        np.testing.assert_allclose(out, value)
    # One row is repeated; beta has a gradient also where it is zero.
    row = gemm(m[:1], s, m, m, s - 2.5)
    check([m, s], row, [A, 2.5], grad=False, **CLOSE)
    slope = jax.grad(jaxlink.function([m, s], row.sum()), argnums=1)(A, 2.5)
    np.testing.assert_allclose(slope, (A @ A).sum() + 3 * A[0].sum())
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


@pytest.mark.parametrize(
    ("kind", "lower"),
    [
        *((kind, lower) for kind in ("sym", "her", "pos") for lower in (True, False)),
        *((kind, False) for kind in ("gen", "banded", "tridiagonal")),
    ],
)
def test_solve(kind, lower):
    # Through a symmetric function of the matrix: PyTensor's gradient ignores `lower`.
    x = (m + m.T) / 2
    x = pt.tril(pt.triu(x, -1), 1) if kind in ("banded", "tridiagonal") else x
    outputs = [
        ptl.solve(x, b, assume_a=kind, lower=lower, b_ndim=k)
        for b, k in ((v, 1), (n, 2))
    ]
    check([m, v, n], outputs, [SPD, V, B], **CLOSE)


# Not in one graph: PyTensor takes "pos" as a promise about the matrix wherever it is.
@pytest.mark.parametrize("kinds", [("sym", "her"), ("pos",)])
def test_a_solution_reads_one_triangle(kinds):
    """Here the other one is of another matrix. Gradients: see `test_solve`."""
    outputs = [
        ptl.solve(m, n, assume_a=kind, lower=lower)
        for kind in kinds
        for lower in (True, False)
    ]
    check([m, n], outputs, [SPD + np.triu(A, 1) / 4, B], grad=False, **CLOSE)


def test_determinants_and_inverses():
    sign, logdet = pt.linalg.slogdet(m)
    outputs = [ptl.det(m), sign, logdet, ptl.inv(m), ptl.pinv(m)]
    whole = pt.matrix("whole", dtype="int64")
    outputs += [ptl.det(whole), ptl.inv(whole)]
    values = [A, [[2, 1], [0, 3]]]
    check([m, whole], outputs, values, **LOOSE)
    outputs = [ptl.det(t), ptl.inv(t), *pt.linalg.slogdet(t), ptl.pinv(t)]
    check([t], outputs, [BATCH], grad=False, **LOOSE)


def test_sign_and_logarithm_of_a_determinant():
    """PyTensor makes the Op by rewriting, and has no gradient for it."""
    outputs = SLogDet()(m)
    fn = check([m], outputs, [A], grad=False, **CLOSE)
    compared(outputs, gradients=True)
    slope = jax.jit(jax.grad(lambda m: sum(fn(m))))(A)
    np.testing.assert_allclose(slope, np.linalg.inv(A).T)


@pytest.mark.parametrize("lower", [True, False])
def test_eigenvalues_of_symmetric_matrices(lower):
    values, vectors = ptl.eigh(m, lower=lower)
    # A vector's sign is open.
    outputs = [values, abs(vectors), ptl.eigvalsh(m, None, lower=lower)]
    check([m], outputs, [A + 5 * np.eye(N)], **LOOSE)
    values, vectors = ptl.eigh(m, n, lower=lower)
    outputs = [values, abs(vectors)]
    check([m, n], outputs, [A + A.T, SPD], grad=False, **CLOSE)


def test_general_eigenvalues():
    values, vectors = ptl.eig(m)
    # A real vector's sign is open.
    check([m], [values, abs(vectors)], [A], grad=False, **CLOSE)
    # PyTensor has no gradient: compare with differences, also of a complex pair.
    # The square of a vector does not know of its sign.
    fn = jaxlink.function([m], [values, vectors**2])
    compared([vectors], gradients=True)
    paired = np.array([[1.0, 2, 0], [-3, 1.5, 1], [0.5, 0, 4]])
    for matrix in (A, paired):
        check_grads(jax.jit(fn), (matrix,), order=1, modes=["rev"])
    # Where eigenvalues coincide, their own gradient is still finite.
    square = jax.jit(jax.grad(lambda m: (fn(m)[0] ** 2).sum().real))
    slope = square(np.diag([2.0, 2.0, 1.0]))
    np.testing.assert_allclose(slope, 2 * np.diag([2.0, 2.0, 1.0]), rtol=1e-12)


def test_singular_values():
    u, s, vt = ptl.svd(n, full_matrices=False)
    outputs = [s, ptl.svd(n, compute_uv=False), (u * s) @ vt]
    check([n], outputs, [B], **LOOSE)
    u, s, vt = ptl.svd(n, full_matrices=True)
    check([n], [abs(u[:, :2]), s, abs(vt)], [B], grad=False, **CLOSE)


@pytest.mark.parametrize("mode", ["full", "economic", "r", "raw"])
def test_qr(mode):
    outs = ptl.qr(n, mode=mode)
    outs = list(outs) if isinstance(outs, list | tuple) else [outs]
    check([n], outs, [B], grad=False, **CLOSE)
    outs = [
        *ptl.qr(n, mode=mode, pivoting=True),
        *ptl.qr(n.T, mode=mode, pivoting=True),
    ]
    check([n], outs, [B], grad=False, **CLOSE)


def test_gradient_of_qr():
    static = pt.matrix("static", shape=(N, 2))  # else PyTensor's gradient is an IfElse
    outputs = [*ptl.qr(static, mode="economic"), ptl.qr(static, mode="r")]
    # Of a wide matrix, JAX itself has no gradient.
    outputs += [*ptl.qr(static.T, mode="full"), ptl.qr(static.T, mode="r")]
    check([static], outputs, [B], **CLOSE)
    # PyTensor's gradient of a pivoted one forgets the order of the columns.
    fn = jaxlink.function([n], list(ptl.qr(n, mode="economic", pivoting=True))[:2])
    check_grads(fn, (B,), order=1, modes=["fwd", "rev"])


@pytest.mark.parametrize("mode", ["full", "raw"])
def test_qr_that_has_no_gradient(mode):
    fn = jaxlink.function([n], ptl.qr(n, mode=mode)[0].sum())
    with pytest.raises(UnsupportedOpError, match=f'mode="{mode}".* has no gradient'):
        jax.grad(fn)(B)


def test_lu():
    outputs = [*ptl.lu(m), *ptl.lu(m, permute_l=True), *ptl.lu(m, p_indices=True)[:2]]
    check([m], outputs, [A], grad=False, **CLOSE)
    factors, pivots = ptl.lu_factor(m)
    orders = [PivotToPermutations(inverse)(pivots) for inverse in (True, False)]
    check([m], [factors, pivots, *orders], [A], grad=False, **CLOSE)
    check([m], factors, [np.ones((2, 2))], grad=False)
    # Of a cycle of three, which is not its own inverse.
    pivots = pt.ivector("pivots")
    orders = [PivotToPermutations(inverse)(pivots) for inverse in (True, False)]
    check([pivots], orders, [[1, 2, 2]], vmap=False)


def test_gradient_of_lu():
    outputs = [*ptl.lu(m)[1:], *ptl.lu(m, p_indices=True)[1:]]
    factors = ptl.lu_factor(m)
    outputs += [
        factors[0],
        ptl.lu_solve(factors, v),
        ptl.lu_solve(factors, n, trans=True),
    ]
    check([m, v, n], outputs, [A, V, B], **LOOSE)
    # PyTensor's gradient of P L is in the order of the rows of L.
    fn = jaxlink.function([m], list(ptl.lu(m, permute_l=True)))
    check_grads(jax.jit(fn), (A,), order=1, modes=["rev"])


def test_least_squares():
    rcond = pt.scalar("rcond")
    tall, wide = ptl.lstsq(n, m, rcond), ptl.lstsq(n.T, m[:2], rcond)
    outputs = [*tall, *wide]
    check([n, m, rcond], outputs, [B, A, 1e-3], grad=False, **CLOSE)
    # Its gradient, which PyTensor lacks, is that of the pseudo-inverse.
    fn = jaxlink.function([n, m, rcond], [tall[0], tall[1], wide[0], wide[3]])
    check_grads(lambda n, m: fn(n, m, 1e-3), (B, A), order=1, modes=["rev"])
    compared(fn.fgraph.outputs, gradients=True)


@pytest.mark.parametrize("rcond", [-1.0, 0.0, 1e-8, 0.5, 1.0, 7.0])
def test_rank_by_rcond(rcond):
    solution, _, rank, values = ptl.lstsq(m, n, rcond)
    check(
        [m, n],
        [solution, rank, values],
        [np.diag([1, 1e-3, 1e-13]), B],
        grad=False,
        vmap=False,
    )


def test_least_squares_without_full_rank():
    """NumPy returns no residuals then, which is no shape that JAX can know."""
    tall = np.outer([1.0, 2, 3], [1, 2])
    solution, residuals, rank, values = ptl.lstsq(n, m, 1e-10)
    check([n, m], [solution, rank, values], [tall, A], grad=False, **CLOSE)
    assert np.isnan(jaxlink.function([n, m], residuals)(tall, A)).all()


def test_pseudo_inverse_of_low_rank():
    low = np.outer(V, V)
    outputs = [ptl.pinv(m), ptl.pinv((m + m.T) / 2, hermitian=True), ptl.pinv(n)]
    check([m, n], outputs, [low, np.outer(V, [1, 2])], **LOOSE)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_gradient_of_the_determinant_of_a_singular_matrix(rank):
    fn = jaxlink.function([m], ptl.det(m))
    singular = np.diag([2.0, 3.0, 5.0, 0.0][:rank] + [0.0] * (4 - rank))
    adjugate = np.diag([0, 0, 0, 30.0]) if rank == 3 else np.zeros((4, 4))
    np.testing.assert_allclose(jax.grad(fn)(singular), adjugate)


def test_tensor_inverse_and_solution():
    x = pt.tensor4("x")
    outputs = [
        ptl.tensorinv(x),
        ptl.tensorinv(x.reshape((6, 2, 3)), ind=1),
        ptl.tensorsolve(x, n),
        ptl.tensorsolve(pt.moveaxis(x, 3, 0), n, axes=(0, 3)),
    ]
    values = RNG.normal(size=(2, 3, 3, 2)), RNG.normal(size=(2, 3))
    fn = check([x, n], outputs, values, grad=False, **CLOSE)
    check_grads(jax.jit(fn), values, order=1, modes=["rev"])
    compared(fn.fgraph.outputs, gradients=True)


def test_tridiagonal_systems():
    d, dl, du = pt.vector("d"), pt.vector("dl"), pt.vector("du")
    # The first and the third row have the smaller pivot, the second has not.
    diagonals = [1.0, 2.0, 3.0, 4.0, 1.5], [3.0, 1.0, 50.0, -1.0], [1.0, 0.5, -1.0, 2.0]
    factors = LUFactorTridiagonal()(dl, d, du)
    right = RNG.normal(size=(5, 5))
    outputs = [
        SolveLUFactorTridiagonal(b_ndim=k, transposed=transposed)(*factors, b)
        for b, k in ((v, 1), (m, 2))
        for transposed in (True, False)
    ]
    values = [diagonals[1], diagonals[0], diagonals[2], right[0], right]
    outputs = [*factors, *outputs]
    fn = check([dl, d, du, v, m], outputs, values, grad=False)
    solve = jax.jit(lambda *x: fn(*x)[5:])
    check_grads(solve, tuple(map(np.asarray, values)), 1, ["rev"])
    compared(fn.fgraph.outputs, gradients=True)


@pytest.mark.parametrize("size", [1, 2])
def test_tridiagonal_systems_too_small_for_scipy(size):
    d, dl, du = pt.vector("d"), pt.vector("dl"), pt.vector("du")
    factors = LUFactorTridiagonal()(dl, d, du)
    solution = SolveLUFactorTridiagonal(b_ndim=1, transposed=False)(*factors, v)
    fn = jaxlink.function([dl, d, du, v], solution)
    values = np.array([3.0])[: size - 1], np.array([1.0, 2.0])[:size], V[:size]
    matrix = np.diag(values[1]) + np.diag(values[0], 1) + np.diag(values[0], -1)
    x = fn(values[0], values[1], values[0], values[2])
    np.testing.assert_allclose(matrix @ x, values[2], rtol=1e-12)


def test_gradients_that_pytensor_writes():
    cost = ptl.cholesky(m).sum() + ptl.expm(n).sum() + ptl.det(n) + ptl.inv(n)[0, 1]
    cost += ptl.svd(n, full_matrices=False)[1][0] + ptl.eigvalsh(m, None)[0]
    cost += ptl.solve(n, m)[0].sum() + ptl.pinv(n).sum() + ptl.eigh(m)[1][0, 0] ** 2
    gradients = pt.grad(cost, [m, n])
    check([m, n], gradients, [SPD, A], grad=False, **LOOSE)


def test_einsum_and_kronecker_products():
    outputs = [
        pt.einsum("ij,jk,k->i", m, n, v[:2]),
        pt.einsum("ii->i", m),
        pt.einsum("bij,bjk->ik", t, t),
        ptl.kron(v, m),
        ptl.kron(m, v),
        ptl.block_diag(t, m),
    ]
    check([m, n, v, t], outputs, [A, B, V, BATCH], **CLOSE)


# --- dtypes and sizes ----------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    [
        *("complex64", "int8"),
        pytest.param("float32", marks=pytest.mark.slow),
        pytest.param("complex128", marks=pytest.mark.slow),
    ],
)
def test_dtypes(dtype):
    x, y = pt.matrix("x", dtype=dtype), pt.vector("y", dtype=dtype)
    z = pt.matrix("z", dtype=dtype)
    hermitian = SPD + (1j * (A - A.T) if "complex" in dtype else 0)
    outputs = [
        ptl.cholesky(x),
        *ptl.lu(x),
        *ptl.qr(x),
        *ptl.svd(x)[1:2],
        ptl.svd(x, compute_uv=False),
        ptl.det(x),
        ptl.inv(x),
        ptl.pinv(x),
        ptl.expm(x / 8 if dtype != "int8" else x // 8),
        ptl.eigvalsh(x, None),
        ptl.solve_triangular(x, y, lower=True),
        ptl.cho_solve((x, True), y),
        *(ptl.solve(x, y, assume_a=kind) for kind in ("gen", "her", "pos")),
        ptl.solve(z, y, assume_a="sym"),
        ptl.block_diag(x, x),
    ]
    values = [hermitian * 4, V * 10, hermitian + hermitian.T]
    # PyTensor computes some of int8 in float64, and calls it float32.
    rtol = 2e-4 if dtype == "int8" else 1e-8
    close = {"rtol32": 2e-4, "rtol": rtol, "atol": 1e-5}
    check([x, y, z], outputs, values, grad=False, vmap=False, **close)


def test_eigenvalues_of_any_matrix_in_order():
    """LAPACK orders those of a real matrix otherwise than those of a complex one."""
    whole = pt.matrix("whole", dtype="int64")
    values, _ = ptl.eig(m)
    value = RNG.normal(size=(6, 6))
    check([m], values, [value], grad=False, **CLOSE)
    value = RNG.integers(-9, 9, size=(5, 5))
    check([whole], ptl.eig(whole)[0], [value], grad=False, **CLOSE)


def test_nothing():
    outputs = [
        ptl.cholesky(m),
        *ptl.lu(m),
        ptl.lu(m, p_indices=True)[0],
        ptl.det(m),
        ptl.inv(m),
        ptl.expm(m),
        ptl.pinv(m),
        ptl.svd(m, compute_uv=False),
        ptl.solve(m, n),
        ptl.solve_triangular(m, n),
        *ptl.schur(m),
        ptl.qz(m, m)[0],
        *ptl.lu_factor(m),
    ]
    fn = jaxlink.function([m, n], outputs)
    none = np.zeros((0, 0))
    for out, value in zip(outputs, fn(none, np.zeros((0, 2))), strict=True):
        assert value.dtype == out.type.dtype
        assert value.size == (1 if out.type.ndim == 0 else 0)
    assert jax.grad(lambda x: fn(x, np.zeros((0, 2)))[5])(none).shape == (0, 0)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (lambda c, i: ptl.eigh(c)[0], "eigenvectors of a complex matrix as real"),
        (lambda c, i: ptl.lu_factor(i)[0], "declares the factors as int64"),
        (lambda c, i: ptl.lstsq(c, c, 0.1)[0], "declares the solution as real"),
        (lambda c, i: ptl.lstsq(i, i[0], 0.1)[0], "declares the solution as a matrix"),
        (lambda c, i: ptl.tensorsolve(c, c[0], None), "declares its output"),
    ],
)
def test_what_pytensor_declares_wrongly_is_refused(refused, reason):
    c, i = pt.matrix("c", dtype="complex128"), pt.matrix("i", dtype="int64")
    with pytest.raises(UnsupportedOpError, match=reason):
        jaxlink.function([c, i], refused(c, i), on_unused_input="ignore")


def test_matrix_functions():
    outputs = [
        ptl.expm(m),
        ptl.block_diag(m, n),
        ptl.kron(m, n),
        ptl.matrix_power(m, 3),
    ]
    check([m, n], outputs, [A, B], **LOOSE)


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


def test_batches_of_decompositions():
    values, vectors = ptl.eigh(t)
    u, sizes, vt = ptl.svd(t)
    outputs = [
        *(values, abs(vectors), abs(u), sizes, abs(vt), ptl.eigvalsh(t, None)),
        *(abs(x) for x in ptl.qr(t)),
        *ptl.lu(t),
        *ptl.lu_factor(t),
        *(abs(x) for x in ptl.eig(t)),
        *(abs(x) for x in ptl.schur(t)),
        *(ptl.pinv(t), ptl.expm(t), ptl.block_diag(t, m), ptl.kron(t[0], m)),
    ]
    check([t, m], outputs, [BATCH, B], grad=False, **CLOSE)


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
    with pytest.raises(ValueError, match="would broadcast dimension 0 of `u`"):
        fn(BATCH, B[None])


def test_log_density_of_a_multivariate_normal():
    mu, x = pt.vector("mu"), pt.matrix("x")
    factor = ptl.cholesky(m)
    white = ptl.solve_triangular(factor, (x - mu).mT, lower=True, b_ndim=2)
    log_p = -(white**2).sum(0) / 2 - pt.log(pt.diagonal(factor)).sum()
    fn = check([m, mu, x], log_p, [SPD, V, RNG.normal(size=(5, N))], **CLOSE)
    hessian = jax.hessian(lambda mu: fn(SPD, mu, np.zeros((1, N)))[0][0])(V)
    np.testing.assert_allclose(hessian, -np.linalg.inv(SPD), rtol=1e-8)
