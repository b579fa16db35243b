"""The log density of each distribution and its gradient, against PyMC's own graphs.

PyTensor evaluates these without any rewrite, in Python, at draws of the distribution.
"""

from dataclasses import replace

import jax
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from distributions import CASES
from distributions.harness import KEY, compiled, inputs_of
from pymc.distributions.dist_math import SplineWrapper
from scipy.interpolate import InterpolatedUnivariateSpline
from support import check, others_are_slow

import jaxlink
from jaxlink import pymc as jp

_NONE = "PyMC has no log density of it"
# Cases that are not compared here, and why.
WITHOUT = {
    "choice_without_replacement": _NONE,
    "gengamma": _NONE,
    "halfcauchy": _NONE,
    "integers": _NONE,
    "permutation": _NONE,
    "permutation_of_rows": _NONE,
    "pymc_minibatch_index": _NONE,
    "pymc_truncated_geometric": _NONE,
    "truncexpon": _NONE,
    "wald": _NONE,
    "weibull": _NONE,
    "weighted_choice_without_replacement": _NONE,
    "pymc_car": "PyTensor needs its rewrites: see test_car",
    "pymc_car_sparse": "PyTensor needs its rewrites: see test_car",
    "pymc_interpolated": "PyMC needs the points as constants: see test_interpolated",
    "pymc_polyagamma": "PyMC calls a package of C code",
}

# PyMC's log density takes one point only, or other points are illegal there.
ONE_POINT = ("pymc_matrix_normal", "pymc_wald", "pymc_wishart")

# PyMC's log density goes through eigh. Where eigenvalues repeat, the derivative of the
# eigenvectors is none, in PyTensor as in JAX.
REPEATED_EIGENVALUES = (
    "pymc_kronecker_normal_chols",
    "pymc_kronecker_normal_covs",
    "pymc_kronecker_normal_evds",
)

# At a bound of infinity the slope of sigma is zero times infinity (docs/gradients.md).
INFINITE_BOUNDS = ("pymc_truncated_normal", "pymc_truncated_normal_tails")

BY_DEFAULT = ("normal", "pymc_mv_student_t")


@pytest.mark.filterwarnings("ignore:pytensor.tensor.linalg.trace:FutureWarning")
@pytest.mark.parametrize(
    "name",
    others_are_slow(sorted(set(CASES) - set(WITHOUT)), BY_DEFAULT),
)
def test_density(name):
    case = CASES[name]
    if name in ONE_POINT:
        case = replace(case, batched=False)
    inputs = inputs_of(case)
    variable = case.build(*inputs)
    drawn = np.asarray(compiled(case)(KEY, *case.values))
    values = case.values
    if not case.batched:
        drawn, values = drawn[0], [x[0] for x in values]
    if name in REPEATED_EIGENVALUES:
        values[-2:] = _distinct(*values[-2:])
    value = pt.tensor("value", dtype=variable.type.dtype, shape=variable.type.shape)
    # Log-factorials of large counts cancel.
    rtol = 1e-5 if name.endswith("_of_many") else 1e-9
    if name in INFINITE_BOUNDS:
        check(
            [value, *inputs], [pm.logp(variable, value)], [drawn, *values], grad=[value]
        )
        values = [np.clip(x, -50, 50) for x in values]
    check(
        [value, *inputs],
        [pm.logp(variable, value)],
        [drawn, *values],
        rtol=rtol,
        grad_rtol=rtol,
        grad_atol=1e-9,
    )


def _distinct(first, second):
    if first.ndim == 1:
        return first + 0.1 * np.arange(len(first)), second
    return first, second + np.diag(0.1 * np.arange(len(second)))


@pytest.mark.parametrize("name", [n for n, why in WITHOUT.items() if why == _NONE])
def test_without_density(name):
    """Else it would belong above."""
    case = CASES[name]
    variable = case.build(*inputs_of(case))
    with pytest.raises(NotImplementedError):
        pm.logp(variable, variable.type())


def assert_density_is_pymcs(model, position):
    density = jp.logdensity(model)
    np.testing.assert_allclose(
        density(position), model.compile_logp()(position), rtol=1e-9
    )
    [gradient] = jax.grad(density)(position).values()
    np.testing.assert_allclose(gradient, model.compile_dlogp()(position), rtol=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_car(sparse):
    neighbours = np.array([[0.0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 0]])
    if sparse:
        from scipy.sparse import csr_matrix

        neighbours = csr_matrix(neighbours)
    mean = np.array([0.5, -1.0, 2.0, 0.0])
    with pm.Model() as model:
        pm.CAR("x", mean, neighbours, alpha=-0.6, tau=2.5)
    assert_density_is_pymcs(model, {"x": np.array([1.0, 0.3, -0.7, 2.0])})


@pytest.mark.filterwarnings("ignore:SplineWrapper should implement:FutureWarning")
def test_interpolated():
    with pm.Model() as model:
        points, heights = np.array([0.0, 1.0, 3.0, 4.0]), np.array([0.0, 2.0, 1.0, 0.5])
        pm.Interpolated("x", points, heights, default_transform=None)
    for x in (0.4, 1.7, 3.9):
        assert_density_is_pymcs(model, {"x": np.array(x)})
    assert jp.logdensity(model)({"x": 4.5}) == -np.inf


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("outside", ["zeros", "const", "extrapolate"])
def test_splines(degree, outside):
    knots = np.array([-1.0, 0.0, 0.5, 2.0, 2.5, 4.0])
    fitted = InterpolatedUnivariateSpline(
        knots, knots**3 - knots, k=degree, ext=outside
    )
    x = pt.vector("x")
    between = np.array([-0.9, -0.1, 0.3, 1.9, 2.4, 3.3])
    outer = np.array([-3.0, 7.0])
    check([x], SplineWrapper(fitted)(x), [between], rtol=1e-9, grad_rtol=1e-9)
    fn = jaxlink.function([x], SplineWrapper(fitted)(x))
    at = np.concatenate([knots, outer])
    np.testing.assert_allclose(fn(at), fitted(at), rtol=1e-9, atol=1e-9)


def test_spline_that_raises_is_refused():
    fitted = InterpolatedUnivariateSpline([0.0, 1.0], [0.0, 1.0], k=1, ext="raise")
    x = pt.vector("x")
    with pytest.raises(jaxlink.UnsupportedOpError, match="outside its knots"):
        jaxlink.function([x], SplineWrapper(fitted)(x))
