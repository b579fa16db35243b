"""What fails is nan in a plain call, and an error that names the Op when checked."""

import jax
import numpy as np
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from pytensor.tensor import linalg as ptl
from pytensor.tensor.linalg.solvers.tridiagonal import LUFactorTridiagonal

import jaxlink

m, v, t = pt.matrix("m"), pt.vector("v"), pt.tensor3("t")
GOOD = np.array([[2.0, 1.0], [1.0, 3.0]])
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
NEGATIVE = -GOOD
NO_DIAGONAL = np.array([[0.0, 0.0], [1.0, 2.0]])
NAN = np.full((2, 2), np.nan)

# Output, a matrix for which it fails, and what the error says.
FAILURES = {
    "cholesky": (ptl.cholesky(m), NEGATIVE, "Cholesky of `m` failed: .*not positive"),
    "upper": (ptl.cholesky(m, lower=False), SINGULAR - 1, "Cholesky of `m` failed"),
    "solve": (ptl.solve(m, v), SINGULAR, "Solve of `m` failed: the matrix is singular"),
    "pos": (ptl.solve(m, v, assume_a="pos"), NEGATIVE, "not positive definite"),
    "triangular": (
        ptl.solve_triangular(m, v, lower=True),
        NO_DIAGONAL,
        "SolveTriangular of `m` failed: an element of the diagonal is zero",
    ),
    "inv": (ptl.inv(m), SINGULAR, "MatrixInverse of `m` failed: .*singular"),
    "lu_factor": (ptl.lu_factor(m)[0], SINGULAR, "LUFactor of `m` failed: .*singular"),
    "svd": (ptl.svd(m, compute_uv=False), NAN, "SVD of `m` failed: .*not converge"),
    "eigh": (ptl.eigvalsh(m, None), NAN, "Eigvalsh of `m` failed: .*not converge"),
    "eig": (ptl.eig(m)[0], NAN, "Eig of `m` failed: .*not converge"),
    "schur": (ptl.schur(m)[0], NAN, "Schur of `m` failed: .*not converge"),
    "qz": (ptl.qz(m, m)[0], NAN, "QZ of `m` failed: .*not converge"),
    "pinv": (ptl.pinv(m), NAN, "MatrixPinv of `m` failed: .*not finite"),
    "tridiagonal": (
        LUFactorTridiagonal()(m[0, 1:], m[0] - m[1], m[0, 1:])[1] * np.nan,
        np.zeros((2, 2)),
        "LUFactorTridiagonal .*failed: the matrix is singular",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure(name):
    output, bad, message = FAILURES[name]
    inputs = [m, v] if v in pt_inputs(output) else [m]
    fn = jaxlink.function(inputs, output)
    rest = [np.ones(2)] * (len(inputs) - 1)
    assert np.isnan(fn(bad, *rest)).all()
    with pytest.raises(checkify.JaxRuntimeError, match=message):
        checkify.checkify(fn)(bad, *rest)[0].throw()
    if name != "tridiagonal":
        checkify.checkify(fn)(GOOD, *rest)[0].throw()


def pt_inputs(output):
    from pytensor.graph.traversal import explicit_graph_inputs

    return list(explicit_graph_inputs([output]))


def test_failure_of_one_of_a_batch():
    fn = jaxlink.function([t], [ptl.cholesky(t), ptl.inv(t)])
    batch = np.stack([GOOD, NEGATIVE])
    factor, inverse = fn(batch)
    assert np.isfinite(factor[0]).all()
    assert np.isfinite(inverse).all()
    assert np.isnan(factor[1]).all()
    with pytest.raises(checkify.JaxRuntimeError, match="Cholesky of `t` failed"):
        checkify.checkify(fn)(batch)[0].throw()
    checkify.checkify(fn)(np.stack([GOOD, GOOD]))[0].throw()


def test_failure_under_transformations():
    fn = jaxlink.function([m], ptl.cholesky(m).sum())
    batch = np.stack([GOOD, NEGATIVE])
    checked = fn.checked
    for transformed in (jax.vmap(checked), jax.vmap(jax.value_and_grad(checked))):
        with pytest.raises(checkify.JaxRuntimeError, match="Cholesky of `m` failed"):
            checkify.checkify(transformed)(batch)[0].throw()


def test_failure_inside_an_equation():
    """Its pullback is traced without checks; what it repeats is checked before."""
    fn = jaxlink.function([m], ptl.solve_sylvester(m, m, m).sum())
    assert np.isfinite(jax.grad(fn)(GOOD)).all()
    with pytest.raises(checkify.JaxRuntimeError, match="Schur"):
        checkify.checkify(fn)(NAN)[0].throw()
