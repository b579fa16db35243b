"""PyMC's own functions do under MODE what they do by default."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.stats
from pymc.pytensorf import collect_default_updates, reseed_rngs

import jaxlink.mode.linker
from jaxlink.mode.linker import MODE

COMPILE = {"mode": MODE}
OBSERVED = np.array([1.2, -0.3, 0.4, 2.0])


@pytest.fixture
def calls(monkeypatch):
    """A list that grows with every call that runs on jaxlink."""
    made = []
    call = jaxlink.mode.linker._Call.__call__

    def counted(self):
        made.append(self)
        return call(self)

    monkeypatch.setattr(jaxlink.mode.linker._Call, "__call__", counted)
    return made


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"obs": range(4)}) as model:
        data = pm.Data("data", OBSERVED, dims="obs")
        mu = pm.Normal("mu")
        sigma = pm.HalfNormal("sigma[0]")
        kind = pm.Mixture(
            "kind", w=[0.3, 0.7], comp_dists=[pm.Normal.dist(-1), pm.Normal.dist(1)]
        )
        count = pm.Poisson("count", 3.0)
        pm.Deterministic("twice", 2 * mu)
        pm.Normal("y", mu + kind * data + count, sigma, observed=OBSERVED, dims="obs")
    return model


@pytest.fixture(scope="module")
def conjugate():
    """A mean whose posterior is known: that of 4 observations and a prior like one."""
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu, 1.0, observed=OBSERVED)
    return model


POSTERIOR = scipy.stats.norm(OBSERVED.sum() / 5, 5**-0.5)


# --- densities -----------------------------------------------------------------------


def test_densities_and_gradients(model):
    point = model.initial_point(random_seed=1) | {"mu": 0.3, "sigma[0]_log__": -0.2}
    for build in (model.compile_logp, model.compile_dlogp):
        got, expected = build(mode=MODE)(point), build()(point)
        assert type(got) is type(expected)
        np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_terms_of_a_density_and_new_data(model):
    point = model.initial_point(random_seed=1)
    f, reference = (model.compile_logp(sum=False, **kw) for kw in (COMPILE, {}))
    try:
        for factor in (1, 2):
            model.set_data("data", factor * OBSERVED)
            for got, expected in zip(f(point), reference(point), strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-9)
    finally:
        model.set_data("data", OBSERVED)


def walk(sigma, size):
    """A distribution whose density is a loop with checks inside."""

    def step(before, sigma):
        here = pm.Normal.dist(before, sigma)
        return here, collect_default_updates([here])

    with pytest.warns(DeprecationWarning, match="updates"):
        places, _ = pytensor.scan(
            step, outputs_info=[pt.zeros(())], non_sequences=[sigma], n_steps=3
        )
    return places


@pytest.mark.parametrize("check_bounds", [True, False])
def test_illegal_parameters(check_bounds):
    with pm.Model(check_bounds=check_bounds) as model:
        sigma = pm.Flat("sigma")
        pm.Normal("outer", 0.0, sigma)
        pm.CustomDist("inner", sigma, dist=walk, size=(3,))
        f, reference = (model.compile_logp(sum=False, **kw) for kw in (COMPILE, {}))
    for sigma in (1.0, -1.0):
        point = {"sigma": sigma, "outer": 0.3, "inner": np.array([0.1, 0.2, 0.3])}
        got, expected = f(point), reference(point)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
    illegal = -np.inf if check_bounds else np.nan
    for term in got[1:]:
        np.testing.assert_array_equal(term, np.full_like(term, illegal))


# --- draws ---------------------------------------------------------------------------


def test_draw(model, calls):
    names = ["y", "kind", "count"]
    variables = [model[name] for name in names]

    def draw(seed):
        return pm.draw(variables, draws=3, random_seed=seed, mode=MODE)

    first = draw(1)
    assert len(calls) == 3
    assert [value.shape for value in first] == [(3, 4), (3,), (3,)]
    assert len(np.unique(first[1])) == 3
    for again, other, value in zip(draw(1), draw(2), first, strict=True):
        np.testing.assert_array_equal(again, value)
        assert not np.array_equal(other, value)


def test_functions_are_seeded_again(model):
    kind = model["kind"]

    def draws(seed):  # PyMC compiles this once
        f = model.compile_fn(
            kind, inputs=[], random_seed=seed, mode=MODE, point_fn=False
        )
        return [float(f()) for _ in range(3)]

    first = draws(5)
    assert len(set(first)) == 3
    assert draws(5) == first
    assert draws(6) != first


def test_reseed_rngs():
    x = pm.Normal.dist()
    updates = collect_default_updates([x])
    f = pytensor.function([], x, updates=updates, mode=MODE)
    draws = []
    for seed in (1, 1, 2):
        reseed_rngs(list(updates), seed)
        draws.append([float(f()), float(f())])
    assert draws[0] == draws[1]
    assert not set(draws[0]) & set(draws[2])


@pytest.fixture(scope="module")
def prior(model):
    return pm.sample_prior_predictive(
        1000, model=model, random_seed=1, compile_kwargs=COMPILE
    )


def test_prior_predictive(model, prior):
    flat = {name: prior.prior[name].values.ravel() for name in prior.prior}
    assert scipy.stats.kstest(flat["mu"], "norm").pvalue > 1e-3
    assert scipy.stats.kstest(flat["sigma[0]"], "halfnorm").pvalue > 1e-3
    np.testing.assert_array_equal(flat["twice"], 2 * flat["mu"])
    weights = scipy.stats.norm(-1).cdf, scipy.stats.norm(1).cdf
    mixture = lambda z: 0.3 * weights[0](z) + 0.7 * weights[1](z)  # noqa: E731
    assert scipy.stats.kstest(flat["kind"], mixture).pvalue > 1e-3
    assert abs(flat["count"].mean() - 3) < 5 * np.sqrt(3 / 1000)
    names = ["mu", "sigma[0]", "kind", "count"]
    correlations = np.corrcoef([flat[name] for name in names]) - np.eye(4)
    assert np.abs(correlations).max() < 5 / np.sqrt(1000)
    y = prior.prior_predictive["y"].values[0]
    mean = flat["mu"] + flat["kind"] * OBSERVED[:, None] + flat["count"]
    residuals = ((y.T - mean) / flat["sigma[0]"]).ravel()
    assert scipy.stats.kstest(residuals, "norm").pvalue > 1e-3


def test_posterior_predictive(model, prior):
    def sample(seed):
        with model:
            return pm.sample_posterior_predictive(
                prior.prior,
                random_seed=seed,
                compile_kwargs=COMPILE,
                progressbar=False,
                var_names=["y", "twice"],
            ).posterior_predictive

    first = sample(1)
    assert first["y"].dims == ("chain", "draw", "obs")
    mean = prior.prior["mu"] + prior.prior["count"]
    mean = mean.values[..., None] + prior.prior["kind"].values[..., None] * OBSERVED
    residuals = (first["y"].values - mean) / prior.prior["sigma[0]"].values[..., None]
    assert scipy.stats.kstest(residuals.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(first["twice"], 2 * prior.prior["mu"])
    np.testing.assert_array_equal(sample(1)["y"], first["y"])
    assert not np.isin(sample(2)["y"], first["y"]).any()


# --- inference -----------------------------------------------------------------------


def test_find_map(conjugate, calls):
    with conjugate, pytest.warns(FutureWarning):
        found = pm.find_MAP(compile_kwargs=COMPILE, progressbar=False)
    assert len(calls) > 2
    np.testing.assert_allclose(found["mu"], POSTERIOR.mean(), rtol=1e-5)


def test_fit(conjugate, calls):
    with conjugate:
        approximation = pm.fit(
            1500,
            random_seed=1,
            obj_optimizer=pm.adam(learning_rate=0.02),
            compile_kwargs=COMPILE,
            progressbar=False,
        )
    assert len(calls) >= 1500
    mean, std = approximation.mean.eval(), approximation.std.eval()
    np.testing.assert_allclose(mean, POSTERIOR.mean(), atol=0.1)
    np.testing.assert_allclose(std, POSTERIOR.std(), rtol=0.2)
    assert len(set(approximation.hist[-10:])) == 10


def test_fit_with_minibatches(calls):
    batch = pm.Minibatch(np.repeat(OBSERVED, 5), batch_size=4)
    with pm.Model():
        pm.Normal("y", pm.Normal("mu"), 1.0, observed=batch, total_size=20)
        approximation = pm.fit(
            50, random_seed=1, compile_kwargs=COMPILE, progressbar=False
        )
    assert len(calls) >= 50
    assert np.isfinite(approximation.hist).all()


def sample(model, compile_kwargs=COMPILE, **kwargs):
    with model:
        return pm.sample(
            **{"chains": 1, "cores": 1, **kwargs},
            random_seed=3,
            progressbar=False,
            compile_kwargs=compile_kwargs,
            compute_convergence_checks=False,
        ).posterior


def test_nuts(conjugate, calls):
    mu = sample(conjugate, draws=400, tune=200)["mu"].values.ravel()
    assert len(calls) > 600
    error = 5 * POSTERIOR.std() / np.sqrt(100)
    assert abs(mu.mean() - POSTERIOR.mean()) < error
    assert abs(mu.std() / POSTERIOR.std() - 1) < 0.3


# PyMC's samplers draw with NumPy, so with the same density a chain is the same.
def test_chains_of_several_step_methods(calls):
    with pm.Model() as model:
        mu, count = pm.Normal("mu"), pm.Poisson("count", 3.0)
        flag, kind = pm.Bernoulli("flag", 0.3), pm.Categorical("kind", [0.2, 0.3, 0.5])
        pm.Normal("y", mu + 0.1 * count + flag * kind, 1.0, observed=OBSERVED)
    settings = {"draws": 15, "tune": 10}
    posterior = sample(model, **settings)
    assert len(calls) > 100
    calls.clear()
    reference = sample(model, {}, **settings)
    assert not calls
    for name in ("mu", "count", "flag", "kind"):
        assert posterior[name].dtype == reference[name].dtype
        assert len(np.unique(posterior[name])) > 1
        np.testing.assert_allclose(posterior[name], reference[name], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mp_ctx", ["forkserver", "spawn"])
def test_chains_in_processes_of_their_own(conjugate, mp_ctx):
    settings = {"draws": 20, "tune": 20, "chains": 2}
    parallel = sample(conjugate, **settings, cores=2, mp_ctx=mp_ctx)
    sequential = sample(conjugate, **settings)
    np.testing.assert_array_equal(parallel["mu"], sequential["mu"])
