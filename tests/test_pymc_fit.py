"""Variational fits of PyMC models: the optimum and the ELBO in closed form, the trees
that PyMC returns, the law of keys, and what is said of mistakes."""

import importlib.util
import logging
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import jaxlink
from jaxlink.pymc.vi.advi import Parameters, negative_elbo
from jaxlink.pymc.vi.approximation import Approximation
from jaxlink.pymc.vi.fit import fit

KEY = jax.random.key(5)
QUIET = {"progressbar": False}
METHODS = ["advi", "fullrank_advi"]

# A linear regression with known noise: its posterior is normal.
X = np.array([[1.0, 0.5], [1.0, 1.0], [1.0, 2.0], [1.0, 2.5]])
Y, NOISE, SCALE = np.array([0.3, 1.0, 2.2, 2.4]), 0.6, 3.0
PRECISION = X.T @ X / NOISE**2 + np.eye(2) / SCALE**2
COVARIANCE = np.linalg.inv(PRECISION)
MEAN = COVARIANCE @ X.T @ Y / NOISE**2
EVIDENCE = stats.multivariate_normal(
    np.zeros(4), NOISE**2 * np.eye(4) + SCALE**2 * X @ X.T
).logpdf(Y)


def regression():
    with pm.Model() as model:
        b = pm.Normal("b", 0.0, SCALE, shape=2)
        pm.Normal("y", X @ b, NOISE, observed=Y)
    return model


def divergence(mean, scale):
    """KL(q || posterior), of two normal distributions."""
    covariance = scale @ scale.T
    trace = jnp.trace(jnp.asarray(PRECISION) @ covariance)
    away = jnp.asarray(MEAN) - mean
    quadratic = away @ jnp.asarray(PRECISION) @ away
    logdets = np.linalg.slogdet(PRECISION)[1] + jnp.linalg.slogdet(covariance)[1]
    return 0.5 * (trace + quadratic - 2 - logdets)


@pytest.fixture(scope="module")
def fits():
    model = regression()
    fits = {}
    for method in METHODS:
        fits[method] = fit(4_000, method, model=model, key=KEY, **QUIET)
    return fits


# What is found


def test_mean_field_optimum(fits):
    approx = fits["advi"]
    std = 1 / np.sqrt(np.diag(PRECISION))
    np.testing.assert_allclose(approx.mean, MEAN, atol=0.05 * std.min())
    np.testing.assert_allclose(approx.std, std, rtol=0.03)
    np.testing.assert_allclose(approx.cov, np.diag(approx.std**2))
    assert approx.scale.shape == (2,)


def test_full_rank_optimum(fits):
    approx = fits["fullrank_advi"]
    std = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose(approx.mean, MEAN, atol=0.05 * std.min())
    np.testing.assert_allclose(approx.cov, COVARIANCE, rtol=0.05)
    np.testing.assert_allclose(approx.std, std, rtol=0.03)
    np.testing.assert_allclose(approx.scale @ approx.scale.T, approx.cov)
    assert np.triu(approx.scale, 1).max() == 0


def test_loss_at_the_optimum(fits):
    # The loss does not vary where q is the posterior.
    last = fits["fullrank_advi"].hist[-200:]
    assert last.std() < 0.15
    np.testing.assert_allclose(last.mean(), -EVIDENCE, atol=0.03)
    best = -EVIDENCE + divergence(
        jnp.asarray(MEAN), jnp.diag(1 / jnp.sqrt(jnp.diag(PRECISION)))
    )
    mean_field = fits["advi"].hist[-1000:]
    error = mean_field.std() / np.sqrt(len(mean_field))
    assert abs(mean_field.mean() - best) < 4 * error + 0.01


@pytest.mark.parametrize("is_full", [False, True])
def test_elbo_and_its_gradient(is_full):
    """Against the closed form, far from the optimum."""
    mean, sigma = jnp.array([0.4, -0.3]), jnp.array([0.5, 0.8])
    parameters = Parameters.at(mean, sigma, is_full)
    if is_full:
        parameters = parameters._replace(rho=parameters.rho.at[1, 0].set(-0.7))
    np.testing.assert_allclose(jnp.diag(jnp.atleast_2d(parameters.scale))[0], 0.5)

    def exact(parameters):
        scale = parameters.scale
        scale = scale if is_full else jnp.diag(scale)
        return divergence(parameters.mean, scale) - EVIDENCE

    posterior = jax.scipy.stats.multivariate_normal.logpdf

    def log_p(key, z):
        return EVIDENCE + posterior(z, jnp.asarray(MEAN), jnp.asarray(COVARIANCE))

    def estimate(parameters, key):
        return negative_elbo(parameters, log_p, 50, key)

    estimate = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))
    keys = jax.random.split(KEY, 500)
    found = jax.tree.leaves(estimate(parameters, keys))
    expected = jax.tree.leaves(jax.value_and_grad(exact)(parameters))
    for ours, theirs in zip(found, expected, strict=True):
        error = ours.std(axis=0) / np.sqrt(len(keys))
        np.testing.assert_array_less(jnp.abs(ours.mean(0) - theirs), 4 * error + 1e-9)


def test_noise_of_the_mean_field_vanishes():
    """At a posterior of independent variables the gradient is exact."""
    parameters = Parameters.at(jnp.array([1.0, 2.0]), jnp.array([0.5, 3.0]), False)

    def log_p(key, z):
        return jax.scipy.stats.norm.logpdf(z, *parameters[:1], parameters.scale).sum()

    slope = jax.jit(jax.grad(negative_elbo), static_argnums=(1, 2))
    gradient = slope(parameters, log_p, 1, KEY)
    np.testing.assert_allclose(jnp.concatenate(gradient), 0.0, atol=1e-12)


def test_start_and_samples():
    """A first loss of many draws is the ELBO of where it starts."""
    approx = fit(
        1,
        model=regression(),
        key=KEY,
        start={"b": [0.4, -0.3]},
        start_sigma={"b": [0.5, 0.8]},
        optimizer=optax.sgd(0.0),
        mc_samples=20_000,
        **QUIET,
    )
    np.testing.assert_allclose(approx.mean, [0.4, -0.3])
    np.testing.assert_allclose(approx.std, [0.5, 0.8])
    scale = jnp.diag(jnp.array([0.5, 0.8]))
    exact = divergence(jnp.array([0.4, -0.3]), scale) - EVIDENCE
    np.testing.assert_allclose(approx.hist, [exact], rtol=0.02)


def test_other_optimizers():
    clipped = optax.chain(optax.clip(10.0), optax.sgd(1e-3))
    approx = fit(2_000, model=regression(), key=KEY, optimizer=clipped, **QUIET)
    np.testing.assert_allclose(approx.mean, MEAN, atol=0.1)


def test_minibatch():
    """Its fit is that of all data."""
    rng = np.random.default_rng(1)
    data = rng.normal(2.0, 1.0, 300)
    means = []
    for size in (None, 30):
        with pm.Model():
            mu = pm.Normal("mu", 0.0, 10.0)
            if size is None:
                pm.Normal("y", mu, 1.0, observed=data)
            else:
                batch = pm.Minibatch(data, batch_size=size)
                pm.Normal("y", mu, 1.0, observed=batch, total_size=len(data))
            approx = fit(3_000, key=KEY, **QUIET)
        means.append(approx)
    whole, parts = means
    exact = 1 / np.sqrt(300 + 0.01)
    np.testing.assert_allclose(whole.mean, data.sum() / (300 + 0.01), atol=0.002)
    np.testing.assert_allclose(whole.std, exact, rtol=0.05)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=0.5 * exact)
    np.testing.assert_allclose(parts.std, exact, rtol=0.2)
    # Each step has a minibatch of its own.
    assert parts.hist[-500:].std() > 5 * whole.hist[-500:].std()


def test_float32():
    with jax.enable_x64(False):
        with pytest.warns(jaxlink.PrecisionWarning):
            approx = fit(1_000, model=regression(), key=KEY, **QUIET)
        position = approx.draw(KEY)
    assert {x.dtype.name for x in (approx.mean, approx.std, approx.hist)} == {"float32"}
    assert position["b"].dtype == "float32"
    np.testing.assert_allclose(approx.mean, MEAN, atol=0.1)


# The trees that PyMC returns


@pytest.fixture(scope="module")
def wide():
    """A bit of all that an approximation can hold."""
    coords = {"city": ["Rome", "Oslo", "Bonn"], "year": [2001, 2002]}
    with pm.Model(coords=coords) as model:
        x = pm.Data("x", [0.5, 1.0, 2.0], dims="city")
        mu = pm.Normal("mu", dims=("year", "city"))
        sigma = pm.HalfNormal("sigma", dims="year")
        raw = pm.Normal("beta[0]", shape=2)
        weights = pm.Dirichlet("w", np.ones(3), dims="city")
        pm.Normal("none", shape=0)
        pm.Deterministic("rate", mu * x + raw[0], dims=("year", "city"))
        with pm.Model("part"):
            pm.HalfNormal("z", 1.0)
        pm.Potential("pull", -(weights[0] ** 2))
        pm.Normal("y", mu.sum(1), sigma, observed=np.ones(2), dims="year")
    return model


@pytest.fixture(scope="module")
def both(wide):
    logging.disable(logging.INFO)
    with wide:
        theirs = pm.fit(2, random_seed=1, progressbar=False)
    logging.disable(logging.NOTSET)
    return fit(2, model=wide, random_seed=1, **QUIET), theirs


@pytest.mark.parametrize("include_transformed", [False, True])
def test_sample_is_as_in_pymc(both, include_transformed):
    kwargs = {"random_seed": 2, "include_transformed": include_transformed}
    ours, theirs = (approx.sample(3, **kwargs) for approx in both)
    assert list(ours.children) == list(theirs.children)
    for name, group in theirs.children.items():
        mine = ours[name]
        assert list(mine.data_vars) == list(group.data_vars)
        for label, variable in group.variables.items():
            assert mine[label].dims == variable.dims, label
            assert mine[label].dtype == variable.dtype, label
            assert mine[label].shape == variable.shape, label
            if label in group.coords:
                assert mine[label].identical(group[label]), label
        attributes = dict(mine.attrs)
        assert attributes.pop("jaxlink_version") == jaxlink.__version__
        attributes.pop("jaxlink_key", None)  # tests/test_pymc_keys.py has it
        assert list(attributes) == list(group.attrs)
    rate = ours["posterior"]["mu"] * ours["constant_data"]["x"]
    rate = rate + ours["posterior"]["beta[0]"][..., 0]
    xr.testing.assert_allclose(
        ours["posterior"]["rate"]
        .drop_attrs()
        .drop_vars("beta[0]_dim_0", errors="ignore"),
        rate.drop_attrs().drop_vars("beta[0]_dim_0"),
    )


def test_vectors_are_as_in_pymc(both, wide):
    """The same entries in the same order, and the same start."""
    ours, theirs = both
    np.testing.assert_allclose(ours.mean, theirs.mean.eval(), atol=0.2)
    assert ours.std.shape == theirs.std.eval().shape
    assert ours.cov.shape == theirs.cov.eval().shape
    assert ours.hist.shape == theirs.hist.shape
    assert [name for name, _ in ours.entries] == [v.name for v in wide.value_vars]


def test_data_of_mean_and_std(both):
    approx, _ = both
    mean, std = approx.mean_data, approx.std_data
    assert mean["mu"].dims == ("year", "city")
    assert mean["city"].values.tolist() == ["Rome", "Oslo", "Bonn"]
    # A transform that shortens leaves no labels.
    assert mean["w_simplex__"].shape == (2,)
    assert "city" not in mean["w_simplex__"].dims
    assert mean["part::z_log__"].shape == ()
    for data, vector in ((mean, approx.mean), (std, approx.std)):
        flat = [np.ravel(data[name]) for name, _ in approx.entries]
        np.testing.assert_array_equal(np.concatenate(flat), vector)


def test_repr(fits):
    assert repr(fits["advi"]) == "Approximation(mean field; b: float64[2])"
    assert repr(fits["fullrank_advi"]) == "Approximation(full rank; b: float64[2])"


# A plain JAX function


@pytest.mark.parametrize("method", METHODS)
def test_draws_have_the_distribution(fits, method):
    approx = fits[method]
    draws = jax.vmap(approx.draw)(jax.random.split(KEY, 20_000))["b"]
    error = np.asarray(approx.std) / np.sqrt(20_000)
    np.testing.assert_array_less(jnp.abs(draws.mean(0) - approx.mean), 4 * error)
    np.testing.assert_allclose(jnp.cov(draws.T), approx.cov, atol=0.01)


def test_draw_goes_through_transformations(fits):
    approx = fits["advi"]
    again = jax.jit(Approximation.draw)(approx, KEY)["b"]
    np.testing.assert_allclose(again, approx.draw(KEY)["b"])
    slope = jax.grad(lambda approx: approx.draw(KEY)["b"].sum(), allow_int=True)(approx)
    np.testing.assert_allclose(slope.mean, 1.0)
    e = (approx.draw(KEY)["b"] - approx.mean) / approx.std
    np.testing.assert_allclose(slope.scale, e)
    leaves, tree = jax.tree.flatten(approx)
    assert len(leaves) == 3
    assert jax.tree.unflatten(tree, leaves).model is approx.model


# The same key, the same result


def equal(one, other):
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.scale, other.scale)
    np.testing.assert_array_equal(one.hist, other.hist)


@pytest.fixture(scope="module")
def whole():
    return {
        method: fit(103, method, model=regression(), key=KEY, **QUIET)
        for method in METHODS
    }


@pytest.mark.parametrize("method", METHODS)
def test_pauses_change_nothing(whole, method):
    model = regression()
    equal(
        fit(103, method, model=model, random_seed=5, chunk=10, **QUIET), whole[method]
    )


def test_other_keys_give_other_results(whole):
    other = fit(103, model=regression(), random_seed=6, chunk=1, **QUIET)
    assert not np.isclose(other.hist, whole["advi"].hist).any()


def test_draws_of_sample(fits):
    """Each is a draw of a key of its own, whatever else is asked for."""
    approx = fits["advi"]
    whole = approx.sample(10, key=KEY)["posterior"]["b"].values[0]
    for i in (0, 9):
        key = jax.random.fold_in(jax.random.fold_in(KEY, 0), i)
        np.testing.assert_allclose(whole[i], approx.draw(key)["b"], rtol=1e-12)
    chunks = approx.sample(10, key=KEY, batch_size=3, var_names=["b"])
    np.testing.assert_array_equal(chunks["posterior"]["b"].values[0], whole)
    fewer = approx.sample(4, random_seed=5)["posterior"]["b"].values[0]
    np.testing.assert_array_equal(fewer, whole[:4])


def test_sample_to_disk(fits, tmp_path):
    approx = fits["advi"]
    tree = approx.sample(10, key=KEY, store=tmp_path / "draws.zarr", batch_size=4)
    memory = approx.sample(10, key=KEY)
    xr.testing.assert_equal(
        tree["posterior"].to_dataset(), memory["posterior"].to_dataset()
    )


# Callbacks, Ctrl-C and the bar


def test_callbacks():
    seen = []

    def record(approx, losses, i):
        seen.append((i, len(losses), approx.mean))
        if i >= 60:
            raise StopIteration

    approx = fit(
        1_000, model=regression(), key=KEY, callbacks=[record], chunk=25, **QUIET
    )
    assert [(i, n) for i, n, _ in seen] == [(25, 25), (50, 50), (75, 75)]
    assert len(approx.hist) == 75
    np.testing.assert_array_equal(approx.mean, seen[-1][2])


def test_interrupt(whole):
    """Ctrl-C leaves the steps so far, which are those of an uninterrupted run."""

    def interrupt(approx, losses, i):
        if i == 40:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="interrupted after 40 of 103 steps"):
        part = fit(
            103, model=regression(), key=KEY, callbacks=[interrupt], chunk=20, **QUIET
        )
    np.testing.assert_array_equal(part.hist, whole["advi"].hist[:40])
    assert not np.array_equal(part.mean, whole["advi"].mean)


def test_interrupt_before_the_first_step():
    def update(gradient, state, parameters=None):
        raise KeyboardInterrupt

    never = optax.GradientTransformation(lambda parameters: (), update)
    with pytest.raises(KeyboardInterrupt):
        fit(100, model=regression(), optimizer=never, **QUIET)


def test_progress_bar(capsys):
    fit(50, model=regression(), key=KEY)
    shown = capsys.readouterr().err
    assert "50/50" in shown
    assert "Average loss" in " ".join(shown.split())


# What is said of mistakes


def test_no_variables():
    with pm.Model() as model:
        pm.Normal("y", 0.0, 1.0, observed=[1.0])
    with pytest.raises(ValueError, match="no free random variables"):
        fit(model=model, **QUIET)
    with pytest.raises(TypeError, match="no model on the context stack"):
        fit(**QUIET)


def test_discrete_variables():
    with pm.Model() as model:
        pm.Normal("mu")
        pm.Poisson("n", 3.0)
        pm.Bernoulli("flag[0]", 0.5)
    with pytest.raises(ValueError, match="discrete variables `n`, `flag\\[0\\]`"):
        fit(model=model, **QUIET)


def test_start_that_is_not_finite():
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Potential("never", pm.math.switch(mu > 100.0, 0.0, -np.inf))
        pm.Uniform("u", observed=[0.5, 2.0])
        pm.Normal("fine", mu, observed=0.0)
    with pytest.raises(ValueError, match="cannot start at") as error:
        fit(10, model=model, key=KEY, **QUIET)
    assert "`never` is -inf; `u` is -inf in 1 of 2 entries" in str(error.value)
    assert "`fine`" not in str(error.value)


def test_nan_on_the_way():
    """A step that gives NaN is explained at the parameters before it."""
    with pm.Model() as model:
        pm.Normal("calm")
        a = pm.Flat("a", initval=1.0)
        pm.Potential("root", pm.math.sqrt(a))
    with pytest.raises(FloatingPointError, match="NaN occurred in step") as error:
        fit(2_000, model=model, key=KEY, optimizer=optax.sgd(-0.01), **QUIET)
    assert "gradient in `a` is not finite" in str(error.value)
    assert "`root` is nan" in str(error.value)


def test_nan_without_a_gradient():
    with pm.Model() as model:
        a = pm.Normal("a", 3.0)
        pm.Potential("gap", pm.math.switch(a > 1.0, np.nan, 0.0))
    with pytest.raises(FloatingPointError, match="the loss is nan, of the terms") as e:
        fit(2_000, model=model, key=KEY, start={"a": 0.0}, **QUIET)
    assert "`gap` is nan" in str(e.value)
    assert "the optimizer makes" not in str(e.value)


def test_optimizer_that_gives_nan():
    broken = optax.scale(np.nan)
    with pytest.raises(FloatingPointError, match=r"in step 1 .* the optimizer makes"):
        fit(10, model=regression(), key=KEY, optimizer=broken, **QUIET)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"method": "avdi"}, ValueError, "did you mean `advi`"),
        ({"n": 0}, ValueError, "n must be at least 1"),
        ({"n": 1.5}, TypeError, "n must be an int"),
        ({"mc_samples": 0}, ValueError, "mc_samples must be at least 1"),
        ({"chunk": 0}, ValueError, "chunk must be at least 1"),
        ({"optimizer": "adam"}, TypeError, "optax.GradientTransformation"),
        ({"start": {"bb": 1.0}}, ValueError, "did you mean `b`"),
        ({"start_sigma": {"bb": 1.0}}, ValueError, "did you mean `b`"),
        ({"start_sigma": {"b": [1.0, -1.0]}}, ValueError, "must be positive"),
        ({"start_sigma": {"b": [1.0] * 3}}, ValueError, r"it must be \(2,\)"),
        ({"key": KEY, "random_seed": 1}, TypeError, "either a key or a random_seed"),
    ],
)
def test_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        fit(**{"n": 5, "model": regression(), **QUIET, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"draws": 0}, ValueError, "at least 1"),
        ({"draws": 2.0}, TypeError, "draws must be an int"),
        ({"var_names": ["a"]}, ValueError, "`a`"),
        ({"key": KEY, "random_seed": 1}, TypeError, "either a key or a random_seed"),
        ({"memory_limit": 10}, MemoryError, "memory_limit"),
    ],
)
def test_arguments_of_sample(fits, kwargs, error, message):
    with pytest.raises(error, match=message):
        fits["advi"].sample(**kwargs)


def test_without_optax(monkeypatch):
    """Nothing but the default optimizer needs it."""
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(ImportError, match="pip install optax"):
        fit(5, model=regression(), **QUIET)
    for name in ("advi", "run", "approximation", "fit"):
        spec = importlib.util.find_spec(f"jaxlink.pymc.vi.{name}")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
