"""Under MODE a function raises what PyTensor raises, and when PyTensor raises it."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.conditional.op import ifelse
from pytensor.raise_op import Assert
from pytensor.tensor import linalg as ptl

from jaxlink import MODE

A, B, T, U = pt.matrix("A"), pt.matrix("B"), pt.tensor3("T"), pt.tensor3("U")
v, w, n, y = pt.vector("v"), pt.vector("w"), pt.lscalar("n"), pt.scalar("y")
WIDE, INDEFINITE, SINGULAR = np.ones((2, 3)), -np.eye(2), np.zeros((2, 2))
LinAlgError = np.linalg.LinAlgError


def compiled(inputs, output):
    return pytensor.function(inputs, output, mode=MODE, on_unused_input="ignore")


# --- checks that PyTensor does not make ----------------------------------------------

# What is nan in PyTensor, of a matrix for which it is.
SILENT = {
    "cholesky": (ptl.cholesky(A), INDEFINITE),
    "solve": (ptl.solve(A, A), SINGULAR),
    "triangular": (ptl.solve_triangular(A, A), SINGULAR),
    "lu_factor": (ptl.lu_factor(A)[0], SINGULAR),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_is_nan_hides_no_check(name):
    out, bad = SILENT[name]
    f = compiled([A, y], [out, Assert("y > 0")(out.sum(), y > 0)])
    value, total = f(bad, 1.0)
    assert np.isnan(value).any()
    assert np.isnan(total)
    with pytest.raises(AssertionError, match="y > 0"):
        f(bad, -1.0)


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_nan_hides_no_check_of_another_output(order):
    f = compiled([A, v, n], [ptl.cholesky(A), v[n]][::order])
    with pytest.raises(IndexError):
        f(INDEFINITE, np.ones(2), 5)


def test_cholesky_that_is_to_raise():
    with pytest.warns(FutureWarning, match="deprecated"):
        root = ptl.cholesky(A, on_error="raise")
    f = compiled([A], root)
    np.testing.assert_array_equal(f(4 * np.eye(2)), 2 * np.eye(2))
    with pytest.raises(LinAlgError, match="not positive definite"):
        f(INDEFINITE)


# --- shapes --------------------------------------------------------------------------

SHAPES = {
    "matmul": ([A, B], A @ B, (WIDE, WIDE), ValueError),
    "inner": ([v, w], v @ w, (np.ones(2), np.ones(3)), ValueError),
    "matvec": ([A, v], A @ v, (WIDE, np.ones(2)), ValueError),
    "batched": ([T, U], T @ U, (WIDE[None], WIDE[None]), ValueError),
    "tensordot": ([A, B], pt.tensordot(A, B, 1), (WIDE, WIDE), ValueError),
    "join": ([A, B], pt.concatenate([A, B]), (WIDE, WIDE.T), ValueError),
    "stack": ([v, w], pt.stack([v, w]), (np.ones(2), np.ones(3)), ValueError),
    "zeros": ([], pt.zeros((-1,)), (), ValueError),
    "zeros of n": ([n], pt.zeros((n, 2)), (-1,), ValueError),
    "empty": ([n], pt.empty((n,)), (-1,), ValueError),
    "repeat": ([v, n], pt.repeat(v, n), (np.ones(2), -1), ValueError),
    "rows": ([A, v], ptl.solve(A, v), (np.eye(2), np.ones(3)), LinAlgError),
    "solve": ([A, v], ptl.solve(A, v), (WIDE, np.ones(2)), LinAlgError),
    "batch": ([T, U], ptl.solve(T, U), (WIDE[None], WIDE[None]), LinAlgError),
    "triangular": (
        [A, v],
        ptl.solve_triangular(A, v),
        (WIDE, np.ones(2)),
        LinAlgError,
    ),
    "cho_solve": (
        [A, v],
        ptl.cho_solve((A, True), v),
        (WIDE, np.ones(2)),
        LinAlgError,
    ),
    "tensorsolve": (
        [T, v],
        ptl.tensorsolve(T, v),
        (np.ones((2, 3, 1)), np.ones(2)),
        LinAlgError,
    ),
    "lstsq": ([A, B], ptl.lstsq(A, B, 0.1)[0], (WIDE, WIDE.T), LinAlgError),
} | {
    name: ([A], out, (WIDE,), LinAlgError)
    for name, out in {
        "cholesky": ptl.cholesky(A),
        "inv": ptl.inv(A),
        "det": ptl.det(A),
        "slogdet": ptl.slogdet(A)[1],
        "eig": ptl.eig(A)[0],
        "eigh": ptl.eigh(A)[0],
        "eigvalsh": ptl.eigvalsh(A, None),
        "schur": ptl.schur(A)[0],
    }.items()
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_do_not_fit(name):
    inputs, out, values, error = SHAPES[name]
    f = compiled(inputs, out)
    with pytest.raises(error) as raised:
        f(*values)
    assert raised.type is error


# --- values --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cholesky", "svd"])
def test_a_normal_vector_with_a_bad_covariance(method):
    rng = pt.random.shared_rng(seed=1)
    _, draw = rng.multivariate_normal(np.zeros(2), A, method=method)
    with pytest.raises(LinAlgError, match=r"covariance .* is not positive"):
        compiled([A], draw)(INDEFINITE)


ALWAYS = Assert("never")(y, False)


@pytest.mark.parametrize(
    "out",
    [
        ALWAYS,
        Assert("never")(pt.constant(1.0), False) + y,
        pytensor.scan(lambda u: u + ALWAYS, v, return_updates=False),
    ],
)
def test_an_assert_that_is_known_to_fail_raises_at_the_call(out):
    f = compiled([y, v], out)
    with pytest.raises(AssertionError, match="never"):
        f(1.0, np.ones(2))


def test_an_assert_that_is_known_to_fail_in_a_branch():
    f = compiled([y], ifelse(y > 0, y, ALWAYS))
    assert f(1.0) == 1.0
    with pytest.raises(AssertionError, match="never"):
        f(-1.0)
