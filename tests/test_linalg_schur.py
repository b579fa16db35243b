"""Schur forms, QZ, and the matrix equations that are solved with them.

Their bases are not unique, so what is compared is what they are for: they are unitary,
give the matrices back, are (quasi-)triangular, and hold the eigenvalues in order.
"""

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.linalg
from jax.test_util import check_grads
from pytensor.tensor import linalg as ptl
from pytensor.tensor.linalg.solvers.linear_control import TRSYL
from support import check, compared, reference

import jaxlink
from jaxlink.errors import UnsupportedOpError

RNG = np.random.default_rng(3)
N = 5
A, B = RNG.normal(size=(2, N, N))
m, n = pt.matrix("m"), pt.matrix("n")
FORMS = [
    (output, sort)
    for output in ("real", "complex")
    for sort in (None, "lhp", "rhp", "iuc", "ouc")
]
CLOSE = {"rtol": 1e-8, "atol": 1e-9}
EPS = np.finfo(float).eps


def rank_deficient(x):
    return x * (np.arange(len(x)) > 1)


# Pencils that trouble QZ: infinite and zero eigenvalues, both, none but such, equal
# ones, blocks that are not coupled, bad scaling.
PENCILS = {
    "general": (A, B),
    "infinite": (A, rank_deficient(B)),
    "zero": (rank_deficient(A), B),
    "nilpotent": (np.triu(A), np.triu(np.ones((N, N)), 1)),
    "no second": (A, np.zeros((N, N))),
    "identity": (np.eye(N), np.eye(N)),
    "circular": (np.roll(np.eye(N), 1, axis=0), np.eye(N)),
    "graded": (np.diag(10.0 ** -np.arange(0, 4 * N, 4)) @ A, B),
    "uncoupled": (scipy.linalg.block_diag(A[:2, :2], A[2:, 2:]), np.eye(N)),
}


CIRCLE = ("identity", "circular")
ON_THE_BORDER = {"lhp": ("zero",), "rhp": ("zero",), "iuc": CIRCLE, "ouc": CIRCLE}


def assert_form(a, s, q, z, quasi, t=None):
    scale = np.linalg.norm(a) + EPS
    for basis in (q, z):
        np.testing.assert_allclose(
            basis.conj().T @ basis, np.eye(len(a)), atol=100 * EPS
        )
    np.testing.assert_allclose(q @ s @ z.conj().T / scale, a / scale, atol=100 * EPS)
    below = np.diag(s, -1) != 0
    assert not np.tril(s, -2).any()
    assert not (below[1:] & below[:-1]).any() if quasi else not below.any()


def is_first(sort, alpha, beta):
    """By PyTensor's words on the order."""
    with np.errstate(all="ignore"):
        value = alpha / beta
    return {
        "lhp": (beta != 0) & (value.real < 0),
        "rhp": (beta != 0) & (value.real > 0),
        "iuc": (beta != 0) & (abs(value) < 1),
        "ouc": (beta == 0) | (abs(value) > 1),
    }[sort]


def assert_nan_unless_finite(fn, count):
    for bad in (np.nan, np.inf):
        x = A.copy()
        x[1, 2] = bad
        assert all(np.isnan(out).all() for out in fn(*[x] * count))


def assert_ordered(first):
    assert (np.diff(first.astype(int)) <= 0).all()


@pytest.mark.parametrize(("output", "sort"), FORMS)
def test_qz(output, sort):
    outs = list(ptl.qz(m, n, output=output, sort=sort, return_eigenvalues=True))
    fn = jaxlink.function([m, n], outs)
    compared(outs)
    assert_nan_unless_finite(fn, 2)
    for name, (a, b) in PENCILS.items():
        s, t, alpha, beta, q, z = (np.asarray(out) for out in fn(a, b))
        assert [out.dtype for out in (s, t, alpha, beta, q, z)] == [
            np.dtype(out.type.dtype) for out in outs
        ]
        assert_form(a, s, q, z, output == "real")
        assert_form(b, t, q, z, False)
        # LAPACK leaves the signs in a 2x2 block open where it moves one.
        below = np.diag(s, -1) != 0
        alone = ~(np.append(below, False) | np.append(False, below))
        assert (np.diag(t).real[alone] >= 0).all(), name
        assert (beta.real >= 0).all(), name
        # As points of the complex sphere, the eigenvalues are LAPACK's.
        wanted = scipy.linalg.eig(a, b, right=False, homogeneous_eigvals=True)
        distance = abs(np.outer(alpha, wanted[1]) - np.outer(beta, wanted[0]))
        distance /= np.outer(
            np.hypot(abs(alpha), abs(beta)), np.linalg.norm(wanted, 2, 0)
        )
        tolerance = 1e-5 if name in ("graded", "nilpotent") else 1e-12
        assert (distance.min(0) < tolerance).all(), name
        assert (distance.min(1) < tolerance).all(), name
        if sort is not None and name not in ON_THE_BORDER[sort]:
            assert_ordered(is_first(sort, alpha, beta))
        if sort is None:
            by_scipy = scipy.linalg.qz(a, b, output=output)
        else:
            s_, t_, *_, q_, z_ = scipy.linalg.ordqz(a, b, sort=sort, output=output)
            by_scipy = s_, t_, q_, z_
        for got, wanted in zip((s, t, q, z), by_scipy, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("output", "sort"), FORMS)
def test_schur(output, sort):
    outs = list(ptl.schur(m, output=output, sort=sort))
    fn = jaxlink.function([m], outs)
    compared(outs)
    assert_nan_unless_finite(fn, 1)
    for a in (A, B, np.diag([0.5, -0.5, 2.0, -2.0, 0.25]), rank_deficient(A) - 0.1):
        s, z = (np.asarray(out) for out in fn(a))
        assert s.dtype == z.dtype == outs[0].type.dtype
        assert_form(a, s, z, z, output == "real")
        values = scipy.linalg.eigvals(s)
        assert abs(values[:, None] - scipy.linalg.eigvals(a)).min(0).max() < 1e-12
        block = np.flatnonzero(np.diag(s, -1)) if output == "real" else []
        np.testing.assert_allclose(
            np.diag(s)[block], np.diag(s)[[k + 1 for k in block]], atol=1e-13
        )
        if sort is not None:
            # As many as PyTensor has, and first.
            by_pytensor, _ = reference([m], outs, [a])
            (k,) = {int(is_selected(sort, x).sum()) for x in (s, by_pytensor)}
            assert is_selected(sort, s[:k, :k]).all()


def is_selected(sort, x):
    value = scipy.linalg.eigvals(x)
    return {
        "lhp": value.real < 0,
        "rhp": value.real >= 0,
        "iuc": abs(value) <= 1,
        "ouc": abs(value) > 1,
    }[sort]


@pytest.mark.parametrize("dtype", ["float32", "int64", "complex64", "complex128"])
def test_forms_of_other_dtypes(dtype):
    x, y = pt.matrix("x", dtype=dtype), pt.matrix("y", dtype="float32")
    outs = [*ptl.schur(x), *ptl.qz(x, y, sort="lhp", return_eigenvalues=True)]
    a, b = (3 * A).astype(dtype), B.astype("float32")
    s, basis, ss, t, _, _, q, z = values = jaxlink.function([x, y], outs)(a, b)
    assert [v.dtype for v in values] == [out.type.dtype for out in outs]
    close = {"atol": 2e-12 if dtype in ("int64", "complex128") else 1e-4}
    np.testing.assert_allclose(basis @ s @ basis.conj().T, a, **close)
    np.testing.assert_allclose(q @ ss @ z.conj().T, a, **close)
    np.testing.assert_allclose(q @ t @ z.conj().T, b, **close)


def test_batches_of_pencils():
    x = pt.tensor3("x")
    s, t, q, z = ptl.qz(x, n, sort="iuc")
    fn = jaxlink.function([x, n], [q @ s @ z.mT, q @ t @ z.mT])
    batch, b = np.stack([A, np.eye(N), B])[:, :3, :3], B[:3, :3]
    for out, wanted in zip(fn(batch, b), (batch, np.stack([b] * 3)), strict=True):
        np.testing.assert_allclose(out, wanted, atol=1e-13)
    nested = jax.vmap(fn)(batch[None], b[None])
    np.testing.assert_allclose(nested[0], batch[None], atol=1e-13)
    assert all(out.shape == (0, 3, 3) for out in fn(batch[:0], b))


def test_a_batch_is_one_call_of_the_host():
    fn = jaxlink.function([m, n], ptl.qz(m, n))
    jaxpr = str(jax.make_jaxpr(jax.vmap(fn, (0, None)))(np.stack([A, B]), B))
    assert jaxpr.count("pure_callback[") == 1
    assert "scan" not in jaxpr


def test_one_failure_in_a_batch():
    x = pt.tensor3("x")
    s, z = jaxlink.function([x], ptl.schur(x))(np.stack([A, A * np.nan]))
    for out in (s, z):
        assert np.isfinite(out[0]).all()
        assert np.isnan(out[1]).all()


@pytest.mark.parametrize("form", [ptl.schur, lambda x: ptl.qz(x, x)])
def test_forms_have_no_gradient(form):
    fn = jaxlink.function([m], form(m)[0].sum())
    with pytest.raises(UnsupportedOpError, match="has no gradient, as in PyTensor"):
        jax.grad(fn)(A)


# --- equations -----------------------------------------------------------------------


def check_in_one_program(inputs, output, values, **close):
    """As `check`, in a single program, since these take long to compile."""
    weights = 1 + np.cos(np.arange(values[0].size)).reshape(values[0].shape) / 2
    fn = jaxlink.function(inputs, output)
    compared([output, *fn.fgraph.outputs], gradients=True)
    gradients = pytensor.grad((output * weights).sum(), inputs)
    wanted, *wanted_gradients = reference(inputs, [output, *gradients], values)

    def cost(*args):
        value = fn(*args)
        return (value * weights).sum(), value

    indices = tuple(range(len(inputs)))
    program = jax.jit(jax.value_and_grad(cost, indices, has_aux=True))
    (_, value), gradient = program(*values)
    assert value.dtype == output.type.dtype
    np.testing.assert_allclose(value, wanted, **close)
    for got, expected in zip(gradient, wanted_gradients, strict=True):
        np.testing.assert_allclose(got, expected, **close)
    return program


def triangular_equation():
    c = pt.matrix("c")
    a, b = scipy.linalg.schur(A)[0], scipy.linalg.schur(B[:3, :3])[0]
    values = a, b, np.cos(np.arange(3.0 * N)).reshape(N, 3)
    solution = TRSYL()(m, n, c)
    (wanted,) = reference([m, n, c], [solution], values)
    compared([solution], gradients=True)
    # A gradient only where the form stays one.
    inside = [(x != 0).astype(float) for x in (a, b)]
    fn = jaxlink.function([m, n, c], solution)
    return lambda a, b, c: fn(a * inside[0], b * inside[1], c), values, wanted


def test_triangular_sylvester_equation():
    fn, values, wanted = triangular_equation()

    @jax.jit
    def program(*values):
        value, pullback = jax.vjp(fn, *values)
        return value, pullback(wanted)

    value, gradient = program(*values)
    np.testing.assert_allclose(value, wanted, **CLOSE)
    # PyTensor has no gradient: compare with differences.
    step = 1e-5
    for i, slope in enumerate(gradient):
        direction = RNG.normal(size=slope.shape)
        above, below = (
            program(*values[:i], values[i] + h * direction, *values[i + 1 :])[0]
            for h in (step, -step)
        )
        difference = (wanted * (above - below)).sum() / (2 * step)
        np.testing.assert_allclose((slope * direction).sum(), difference, rtol=1e-6)


@pytest.mark.slow
def test_triangular_sylvester_equation_under_transformations():
    fn, values, _ = triangular_equation()
    check_grads(fn, values, order=1, modes=["fwd", "rev"], rtol=1e-5)


def test_sylvester_equation():
    check_in_one_program([m, n], ptl.solve_sylvester(m, n, m), [A, B], **CLOSE)


@pytest.mark.slow
def test_equations_under_transformations():
    outputs = [
        ptl.solve_sylvester(m, n, m),
        ptl.solve_continuous_lyapunov(m, n),
        ptl.solve_discrete_lyapunov(m / 4, n + n.T, method="bilinear"),
    ]
    check([m, n], outputs, [A, B], **CLOSE)


def test_discrete_lyapunov_equation_by_a_linear_system():
    solution = ptl.solve_discrete_lyapunov(m, n, method="direct")
    check([m, n], solution, [A / 4, B + B.T], **CLOSE)


def test_discrete_lyapunov_equation_by_bilinear_transformation():
    solution = ptl.solve_discrete_lyapunov(m, n, method="bilinear")
    check_in_one_program([m, n], solution, [A / 4, B + B.T], **CLOSE)


def test_discrete_riccati_equation():
    inputs = [m, *pt.matrices("b", "q", "r")]
    values = [A, B[:, :2], 2 * np.eye(N), 1.5 * np.eye(2)]
    solution = ptl.solve_discrete_are(*inputs)
    program = check_in_one_program(inputs, solution, values, rtol=1e-7, atol=1e-8)
    # A singular matrix gives the pencil infinite eigenvalues.
    values[0] = rank_deficient(A)
    (_, value), gradient = program(*values)
    wanted = scipy.linalg.solve_discrete_are(*values)
    np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-10)
    assert all(np.isfinite(x).all() for x in gradient)
