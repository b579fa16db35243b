"""The distributions of pymc.dims: values, and the order of dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor.xtensor as px
import pytest
from distributions.dims import SCALARS, dims_of, missing_axes
from distributions.harness import (
    KEY,
    REJECT,
    chi_square,
    mean_p_value,
    moments_p_value,
    p_value,
)
from pymc.dims.distributions import censored, scalar, vector
from pymc.dims.distributions.core import DimDistribution
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.type import RandomType
from scipy import stats

import jaxlink

RUNS = 8_000
COORDS = {
    "run": range(RUNS),
    "city": ["Ghent", "Lund"],
    "year": [2001, 2002, 2003],
    "kind": list("abcd"),
    "item": list("uvw"),
    "item2": list("xyz"),
}
OTHERS = {
    "Flat": "improper",
    "HalfFlat": "improper",
    "DiracDelta": "a constant",
    "Categorical": "a vector of parameters",
    "Dirichlet": "a vector",
    "MvNormal": "a vector",
    "ZeroSumNormal": "a vector",
    "Censored": "of another distribution",
}


def generators(outputs):
    """All generators of some variables, in their order."""
    found = [v for x in outputs for v in graph_inputs([x])]
    return [v for v in found if isinstance(v.type, RandomType)]


def compiled(outputs):
    return jaxlink.function([], outputs, rngs=generators(outputs))


def named(value, *dims):
    return px.as_xtensor(np.asarray(value), dims=dims)


def test_every_distribution_is_here():
    modules = scalar, vector, censored
    classes = {
        name
        for module in modules
        for name, t in vars(module).items()
        if isinstance(t, type)
        and issubclass(t, DimDistribution)
        and t.__module__ == module.__name__
    }
    assert classes == {*SCALARS, *OTHERS}


def scalar_draws(names):
    with pm.Model(coords=COORDS):
        variables = [
            getattr(pmd, name)(
                name,
                **{
                    k: named(v, *dims_of(v))
                    for k, v in SCALARS[name].parameters.items()
                },
                dims=("year", "run", "city"),
            )
            for name in names
        ]
        assert {x.dims for x in variables} == {("year", "run", "city")}
        draws = compiled(variables)(KEY)
    return dict(zip(names, map(np.asarray, draws), strict=True))


def test_scalars():
    """All in one program, which takes less time than one for each."""
    for name, draws in scalar_draws(SCALARS).items():
        row = SCALARS[name]
        # By cities and years, as are the points.
        columns = draws.transpose(2, 0, 1).reshape(6, RUNS)
        points = row.points()
        for i, column in enumerate(columns):
            city, year = divmod(i, 3)
            # Those of another year and of the other city are told apart.
            for j in (i, 3 * city + (year + 1) % 3, 3 * (1 - city) + year):
                right = p_value(column, row.reference(**points[j])) > REJECT
                assert right == (points[i] == points[j]), (name, points[i], points[j])


def natural_shape(row):
    """Dimensions that no parameter has come first, in the order of ``dims=``."""
    scalar = not any(map(np.ndim, row.parameters.values()))
    return (3, RUNS, 2) if scalar else (RUNS, 2, 3)


# Compile quickly: a quantile function, a location and a scale, and PyMC's compositions.
CHEAP = (
    *("Uniform", "Triangular", "Normal", "HalfNormal", "LogNormal", "TruncatedNormal"),
    *("HalfCauchy", "Kumaraswamy", "Exponential", "Gumbel", "Weibull", "Pareto"),
    *("Bernoulli", "Geometric"),
)


def test_bits_are_those_of_distributions_without_names():
    rows = {name: SCALARS[name] for name in CHEAP}
    plain = [
        getattr(pm, name).dist(
            **{
                k: np.expand_dims(v, missing_axes(v)) for k, v in row.parameters.items()
            },
            shape=natural_shape(row),
        )
        for name, row in rows.items()
    ]
    draws = compiled(plain)(KEY)
    for x, (name, dims) in zip(draws, scalar_draws(CHEAP).items(), strict=True):
        assert x.dtype == dims.dtype
        if x.shape != dims.shape:
            x = x.transpose(2, 0, 1)
        np.testing.assert_array_equal(x, dims, err_msg=name)


def test_parameters_are_arguments():
    """Under vmap over keys, and with slopes along their own dimensions."""
    mu, sigma = px.xtensor("mu", dims=("city",)), px.xtensor("sigma", dims=("year",))
    x = pmd.Normal.dist(mu, sigma, dim_lengths={"run": 4})
    y = pmd.Gumbel.dist(sigma, mu, dim_lengths={"run": 4})
    assert x.dims == ("run", "city", "year")
    assert y.dims == ("run", "year", "city")
    fn = jaxlink.function([mu, sigma], [x, y])
    values = jnp.array([1.0, 3.0]), jnp.array([0.5, 2.0, 7.0])
    x, y = fn(KEY, *values)
    assert (x.shape, y.shape) == ((4, 2, 3), (4, 3, 2))
    jac_mu, jac_sigma = jax.jacfwd(lambda *p: fn(KEY, *p)[0], (0, 1))(*values)
    own = jnp.broadcast_to(jnp.eye(2)[:, None], (4, 2, 3, 2))
    np.testing.assert_array_equal(jac_mu, own)
    standard = (x - values[0][:, None]) / values[1]
    np.testing.assert_allclose(
        jac_sigma, standard[..., None] * np.eye(3), rtol=1e-12, atol=1e-15
    )
    slope = jax.grad(lambda m: fn(KEY, m, values[1])[1].sum())(values[0])
    standard = (y - values[1][:, None]) / values[0]
    np.testing.assert_allclose(slope, standard.sum((0, 1)), rtol=1e-12)
    mapped = jax.vmap(fn, (0, None, None))(jnp.stack([KEY, KEY]), *values)
    for batch, one in zip(mapped, (x, y), strict=True):
        np.testing.assert_allclose(batch[1], one, rtol=1e-13)


P = np.array([[0.1, 0.0, 0.65, 0.25], [0.7, 0.02, 0.0, 0.28]])
ALPHA = np.array([[0.3, 4.0, 1.2, 2.0], [20.0, 2.0, 5.0, 1.0]])
MEANS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
COV = np.array([[2.0, 0.9, -0.4], [0.9, 1.0, 0.3], [-0.4, 0.3, 0.8]])


@pytest.fixture(scope="module")
def other_draws():
    """Dimensions come in an order that is not the natural one."""
    with jax.enable_x64(True), pm.Model(coords=COORDS):
        p, a = named(P, "city", "kind"), named(ALPHA, "city", "kind")
        mu = named(MEANS, "city", "item")
        normal = pmd.Normal.dist(
            named([-1.0, 3.0], "city"), 2.0, dim_lengths={"run": RUNS}
        )
        variables = {
            "Categorical": pmd.Categorical(
                "Categorical", p, core_dims="kind", dims=("city", "run")
            ),
            "Dirichlet": pmd.Dirichlet(
                "Dirichlet", a, core_dims="kind", dims=("kind", "run", "city")
            ),
            "MvNormal": pmd.MvNormal(
                "MvNormal",
                mu,
                named(COV, "item", "item2"),
                core_dims=("item", "item2"),
                dims=("item", "city", "run"),
            ),
            "MvNormal, factor": pmd.MvNormal(
                "factor",
                mu,
                chol=named(np.linalg.cholesky(COV), "item", "item2"),
                core_dims=("item", "item2"),
                dims=("run", "item", "city"),
            ),
            "ZeroSumNormal": pmd.ZeroSumNormal(
                "ZeroSumNormal",
                named([0.5, 3.0], "city"),
                core_dims=("item", "kind"),
                dims=("kind", "run", "city", "item"),
            ),
            "Censored": pmd.Censored(
                "Censored",
                normal,
                lower=named([-2.0, 0.0, -np.inf], "year"),
                upper=4.0,
                dims=("year", "city", "run"),
            ),
            "DiracDelta": pmd.DiracDelta(
                "DiracDelta", named([-1.0, 3.0], "city"), dims=("city", "year")
            ),
        }
        draws = compiled(list(variables.values()))(KEY)
    return dict(zip(variables, map(np.asarray, draws), strict=True))


def test_categorical(other_draws):
    draws = other_draws["Categorical"]
    assert draws.shape == (2, RUNS)
    for city in range(2):
        assert chi_square(draws[city], P[city] * RUNS) > REJECT
        assert chi_square(draws[city], P[1 - city] * RUNS) < REJECT


def test_dirichlet(other_draws):
    draws = other_draws["Dirichlet"]
    assert draws.shape == (4, RUNS, 2)
    np.testing.assert_allclose(draws.sum(0), 1, rtol=1e-12)
    for city in range(2):
        rest = ALPHA[city].sum() - ALPHA[city]
        for kind in range(4):
            marginal = stats.beta(ALPHA[city, kind], rest[kind])
            assert p_value(draws[kind, :, city], marginal) > REJECT


def test_multivariate_normal(other_draws):
    for name, axes in (("MvNormal", (1, 2, 0)), ("MvNormal, factor", (2, 0, 1))):
        draws = other_draws[name].transpose(axes)
        assert draws.shape == (2, RUNS, 3)
        for city in range(2):
            assert moments_p_value(draws[city], MEANS[city], COV) > REJECT
            assert moments_p_value(draws[city], MEANS[1 - city], COV) < REJECT
            white = np.linalg.solve(
                np.linalg.cholesky(COV), (draws[city] - MEANS[city]).T
            )
            assert p_value(white.ravel(), stats.norm()) > REJECT


def test_zero_sum_normal(other_draws):
    draws = other_draws["ZeroSumNormal"]
    assert draws.shape == (4, RUNS, 2, 3)
    np.testing.assert_allclose(draws.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(draws.sum(3), 0, atol=1e-12)
    # White noise without its means along both: a product of two projections.
    shape = np.kron(np.eye(4) - 1 / 4, np.eye(3) - 1 / 3)
    for city, sigma in enumerate((0.5, 3.0)):
        flat = draws[:, :, city].transpose(1, 0, 2).reshape(RUNS, 12)
        assert moments_p_value(flat, np.zeros(12), sigma**2 * shape) > REJECT
        assert moments_p_value(flat, np.zeros(12), 1.1 * sigma**2 * shape) < REJECT
        marginal = stats.norm(0, sigma * np.sqrt(shape[0, 0]))
        assert p_value(flat[:, 5], marginal) > REJECT


def test_censored(other_draws):
    draws = other_draws["Censored"]
    assert draws.shape == (3, 2, RUNS)
    for year, lower in enumerate((-2.0, 0.0, -np.inf)):
        for city, mu in enumerate((-1.0, 3.0)):
            column, whole = draws[year, city], stats.norm(mu, 2.0)
            assert column.min() >= lower
            assert column.max() <= 4
            for mass, at in ((whole.cdf(lower), lower), (whole.sf(4.0), 4.0)):
                assert mean_p_value((column == at) * 1.0, mass) > REJECT or mass == 0
            inside = column[(column > lower) & (column < 4)]
            bounds = (lower - mu) / 2, (4 - mu) / 2
            assert p_value(inside, stats.truncnorm(*bounds, mu, 2.0)) > REJECT


def test_dirac_delta(other_draws):
    wanted = np.broadcast_to([[-1.0], [3.0]], (2, 3))
    np.testing.assert_array_equal(other_draws["DiracDelta"], wanted)


def test_improper_ones_are_refused():
    lengths = {"city": 2}
    flats = [
        pmd.Flat.dist(dim_lengths=lengths),
        pmd.HalfFlat.dist(dim_lengths=lengths),
    ]
    with pytest.raises(jaxlink.UnsupportedOpError, match="improper") as caught:
        jaxlink.function([], flats)
    assert len(caught.value.obstacles) == 2
