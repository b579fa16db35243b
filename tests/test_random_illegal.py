"""Draws of illegal parameters: what PyTensor's default mode draws, or nan, or -1 for a
count; never a value outside the support that looks like one."""

import jax
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions.harness import KEY, of
from jax.experimental import checkify
from pymc.exceptions import TruncationError
from scipy import stats
from support import quick

import jaxlink
from jaxlink import pymc as jp

N = 4000
INF, NAN = np.inf, np.nan

# Probabilities, as PyTensor's search in their running sums takes them.
SEARCHED = {
    "negative": [0.5, -0.1, 0.6],
    "first_negative": [-0.1, 0.5, 0.6],
    "last_negative": [0.4, 0.7, -0.1],
    "nan": [NAN, 0.5, 0.5],
    "infinite": [INF, 0.5, 0.5],
    # PyTensor draws 3 here, which is no category.
    "all_negative": [-0.1, -0.2, -0.3],
    "all_zero": [0.0, 0.0, 0.0],
}
# A legal row draws what it draws elsewhere.
ROWS = [*SEARCHED.values(), [0.2, 0.5, 0.3]]


def test_categories_of_illegal_probabilities_are_pytensors():
    p = pt.matrix("p")
    out = of(ptr.categorical)(p, size=(N, len(ROWS)))
    draws = np.asarray(quick(jaxlink.function([p], out))(KEY, np.array(ROWS)))
    wanted = pytensor.function([p], out)(np.array(ROWS)).clip(0, 2)
    for drawn, want in zip(draws.T, wanted.T, strict=True):
        table = [np.bincount(x, minlength=3) for x in (drawn, want)]
        table = np.array(table)[:, np.any(table, axis=0)]
        assert table.shape[1] == 1 or stats.chi2_contingency(table).pvalue > 1e-6
    # Illegal rows do not disturb a legal one.
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    u = np.asarray(jax.random.uniform(key, (N, len(ROWS))))[:, -1]
    legal = np.searchsorted(np.cumsum(ROWS[-1]), u, side="right")
    np.testing.assert_array_equal(draws[:, -1], legal)


def test_prior_draws_of_cutpoints_out_of_order_are_categories():
    with pm.Model() as model:
        cutpoints = pm.Normal("cutpoints", [-1.0, 0.0, 1.0], 2.0, shape=3)
        pm.OrderedLogistic("y", eta=np.zeros(4), cutpoints=cutpoints, compute_p=False)
    draws = jp.sample_prior_predictive(
        1000, model, random_seed=1, progressbar=False, return_inferencedata=False
    )
    assert (np.diff(draws["cutpoints"]) < 0).any(axis=-1).mean() > 0.3
    assert set(np.unique(draws["y"])) == {0, 1, 2, 3}


def test_a_mixture_chooses_among_its_components():
    w = pt.vector("w")
    parts = [pm.Normal.dist(-50, 1), pm.Normal.dist(50, 1)]
    fn = quick(jaxlink.function([w], pm.Mixture.dist(w, parts, size=100)))
    for weights in ([1.1, -0.1], [NAN, 1.0]):  # PyMC takes the first one
        assert (np.asarray(fn(KEY, np.array(weights))) < 0).all()


def test_an_error_under_checkify():
    out = of(ptr.categorical)(np.array(SEARCHED["negative"]))
    error, _ = checkify.checkify(jaxlink.function([], out))(KEY)
    assert "`categorical` are negative" in error.get()


def truncated_normal(mu, sigma, lower, upper):
    return pm.TruncatedNormal.dist(mu, sigma, lower=lower, upper=upper)


def truncated(base, *bounds):
    return lambda *args: pm.Truncated.dist(
        base.dist(*args), *bounds, max_n_steps=9, size=9
    )


# What PyMC's default mode raises an error for.
RAISES = {
    "truncated_normal_mu": (truncated_normal, (INF, 1.0, 0.0, 1.0)),
    "truncated_normal_sigma": (truncated_normal, (0.0, INF, 0.0, 1.0)),
    "beta": (pm.Beta.dist, (0.0, 2.0)),
    "rate": (pm.Exponential.dist, (-INF,)),
    "gamma_rate": (pm.Gamma.dist, (1.0, -INF)),
    "truncated_by_rejection": (truncated(pm.SkewNormal, 5.0, 2.0), (0.0, 1.0, 0.0)),
    "truncated_by_quantile": (truncated(pm.Normal, 0.5, 2.0), (INF, 1.0)),
    "truncated_gamma": (truncated(pm.Gamma, 0.5, 2.0), (2.0, 0.0)),
    "truncated_count": (truncated(pm.Poisson, 5.0, 2.0), (1.0,)),
    "hypergeometric": (pm.HyperGeometric.dist, (INF, 5.0, 4.0)),
    "multinomial": (lambda n: pm.Multinomial.dist(n, [0.5, 0.5]), (NAN,)),
}


@pytest.mark.parametrize("name", RAISES)
def test_where_pymc_raises_there_is_no_draw(name):
    build, values = RAISES[name]
    parameters = [pt.scalar() for _ in values]
    out = build(*parameters)
    with pytest.raises((ValueError, TypeError, AssertionError, TruncationError)):
        pytensor.function(parameters, out)(*values)
    draws = np.asarray(quick(jaxlink.function(parameters, out))(KEY, *values))
    none = np.isnan(draws) if draws.dtype.kind == "f" else draws == -1
    assert none.all()


@pytest.mark.parametrize("bounds", [(5.0, 1.0), (NAN, 3.0), (0.0, INF), (-INF, 3.0)])
def test_an_impossible_range_of_integers_is_its_lower_end(bounds):
    lower, upper = pt.scalar(), pt.scalar()
    out = pm.DiscreteUniform.dist(lower, upper, size=9)
    with pytest.raises((ValueError, OverflowError)):
        pytensor.function([lower, upper], out)(*bounds)
    fn = jaxlink.function([lower, upper], out)
    assert len(np.unique(fn(KEY, *bounds))) == 1
    error, _ = checkify.checkify(fn)(KEY, *bounds)
    assert "needs lower <= upper, both finite" in error.get()
