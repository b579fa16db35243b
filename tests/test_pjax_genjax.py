"""Distributions of jaxlink in GenJAX's models, and the reverse.

GenJAX is not among the packages that jaxlink's tests install. So one slow test makes an
environment that has it, and runs this file, and the page about GenJAX, in there:

    uv run pytest -m slow tests/test_pjax_genjax.py
"""

import importlib.util
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import ROOT, make_environment
from test_docs import blocks, run_doctest

import jaxlink
from jaxlink import pjax
from jaxlink.errors import ArgumentError
from jaxlink.pjax.genjax import from_genjax, to_genjax

INSTALLED = importlib.util.find_spec("genjax") is not None
PYTEST = ["pytest", "-o", "addopts=", "--noconftest", "-p", "no:cacheprovider"]
# TensorFlow Probability, on which GenJAX is built, uses old names of JAX.
PYTEST += ["-W", "ignore::DeprecationWarning"]

if INSTALLED:
    import genjax
    import pymc as pm
    import pytensor.tensor as pt
    import scipy.stats as st

    from jaxlink import pymc as jp


def inside(test):
    there = "test_in_an_environment_with_genjax runs it there"
    return pytest.mark.slow(pytest.mark.skipif(not INSTALLED, reason=there)(test))


def test_without_genjax(monkeypatch):
    monkeypatch.setitem(sys.modules, "genjax", None)
    for function in (to_genjax, from_genjax):
        with pytest.raises(ImportError, match="pip install genjax"):
            function(lambda key: key)


@pytest.mark.slow
@pytest.mark.skipif(INSTALLED, reason="this is that environment")
def test_in_an_environment_with_genjax(tmp_path):
    packages = ["genjax", "pymc>=6.4", "pytest", "-e", ROOT]
    # GenJAX promotes dtypes as JAX does by default.
    printed = make_environment(tmp_path / "env", packages).run(
        *("-m", *PYTEST, Path(__file__)),
        JAX_ENABLE_X64="1",
        JAX_NUMPY_DTYPE_PROMOTION="standard",
    )
    assert " passed" in printed


KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 4000)


def draw_normal(key, mu, sigma):
    return mu + sigma * jax.random.normal(key, jnp.shape(mu))


def normal_density(value, mu, sigma):
    return jax.scipy.stats.norm.logpdf(value, mu, sigma).sum()


def assert_same(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def assert_lanes_differ(draws, n):
    for x in jax.tree.leaves(draws):
        assert len(np.unique(np.reshape(x, (n, -1)), axis=0)) == n


def key_of_draw(key):
    """The key that GenJAX gives to the only draw of a program."""
    return jax.random.split(key)[1]


def only_draw(distribution, key, *args):
    return genjax.seed(lambda *args: distribution.simulate(*args).get_choices())(
        key, *args
    )


# --- from jaxlink to GenJAX


@inside
def test_draws_and_scores_of_a_function():
    mu, sigma, value = pt.vector("mu"), pt.scalar("sigma"), pt.vector("value")
    y = pm.Laplace.dist(mu, sigma)
    draw = jaxlink.function([mu, sigma], y)
    density = jaxlink.function([value, mu, sigma], pm.logp(y, value).sum())
    reading = to_genjax(draw, logpdf=density)

    @genjax.gen
    def model(mu):
        sigma = genjax.half_normal(1.0) @ "sigma"
        return reading(mu, sigma) @ "y"

    at = np.array([-1.0, 3.0])
    traces = jax.jit(jax.vmap(genjax.seed(model.simulate), (0, None)))(KEYS, at)
    choices = traces.get_choices()
    standard = (choices["y"] - at) / choices["sigma"][:, None]
    for x in standard.T:
        assert st.kstest(x, st.laplace.cdf).pvalue > 1e-3
    log_density = st.halfnorm.logpdf(choices["sigma"]) + (
        st.laplace.logpdf(choices["y"], at, choices["sigma"][:, None]).sum(1)
    )
    scores = jax.vmap(lambda trace: trace.get_score())(traces)
    np.testing.assert_allclose(scores, -log_density)


@inside
def test_the_function_gets_the_key_of_genjax():
    normal = to_genjax(draw_normal, logpdf=normal_density)
    for args in [(0.0, 1.0), (np.arange(3.0), 2.0)]:
        wanted = draw_normal(key_of_draw(KEY), *args)
        assert_same(only_draw(normal, KEY, *args), wanted)
    assert normal.sample(0.0, 1.0) != normal.sample(0.0, 1.0)  # without a key


@inside
@pytest.mark.parametrize("axis", [0, 1])
def test_lanes_of_a_vmap(axis):
    """Also where GenJAX's own distributions would broadcast the parameters."""

    def draw(key, at, row):
        a, b = jax.random.split(key)
        noise = jax.random.normal(a, (*at["mu"].shape, *row.shape))
        return {"x": at["mu"][:, None] + 1e-3 * noise, "z": jax.random.normal(b)}

    def density(value, at, row):
        del at, row
        return -(value["z"] ** 2)

    pair = to_genjax(draw, logpdf=density)
    mu = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    at, row, n = {"mu": mu}, np.zeros(2), mu.shape[axis]
    mapped = genjax.modular_vmap(pair.simulate, in_axes=({"mu": axis}, None))
    traces = genjax.seed(mapped)(KEY, at, row)
    draws = traces.get_choices()
    wanted = np.moveaxis(mu, axis, 0)[..., None] + np.zeros(2)
    np.testing.assert_allclose(draws["x"], wanted, atol=1e-2)
    assert_lanes_differ(draws["z"], n)
    scores = jax.vmap(lambda trace: trace.get_score())(traces)
    np.testing.assert_allclose(scores, draws["z"] ** 2)
    nested = genjax.seed(pair.repeat(2).repeat(3).simulate)(KEY, {"mu": mu[0]}, row)
    assert nested.get_choices()["x"].shape == (3, 2, 3, 2)
    assert_lanes_differ(nested.get_choices(), 6)


@inside
def test_loops_and_branches():
    normal = to_genjax(draw_normal, logpdf=normal_density)

    @genjax.gen
    def step(x, _):
        x = normal(x, 1.0) @ "x"
        return x, x

    walk = genjax.Scan(step, length=genjax.const(4))
    trace = genjax.seed(walk.simulate)(KEY, 0.0, None)
    x = np.array([0.0, *trace.get_choices()["x"]])
    np.testing.assert_allclose(
        trace.get_score(), -st.norm.logpdf(np.diff(x)).sum(), rtol=1e-12
    )
    low, high = (genjax.gen(lambda mu=mu: normal(mu, 1e-3) @ "x") for mu in (0.0, 10.0))
    either = genjax.Cond(low, high).vmap(in_axes=(0,))
    draws = genjax.seed(either.simulate)(KEY, jnp.array([True, False, True]))
    np.testing.assert_allclose(draws.get_choices()["x"], [0, 10, 0], atol=0.02)
    assert_lanes_differ(draws.get_choices(), 3)


@inside
def test_a_sampler_with_its_density():
    @pjax.sampler(logpdf=lambda x, p, shape=(): jnp.log(jnp.where(x, p, 1 - p)).sum())
    def coin(key, p, shape=()):
        return jax.random.bernoulli(key, p, shape)

    tosses = genjax.gen(lambda p: to_genjax(coin)(p, shape=(5,)) @ "tosses")
    trace = genjax.seed(tosses.simulate)(KEY, 0.3)
    x = trace.get_choices()["tosses"]
    assert x.shape == (5,)
    np.testing.assert_allclose(trace.get_score(), -st.bernoulli.logpmf(x, 0.3).sum())
    assert to_genjax(coin).name.value == "coin"
    assert to_genjax(coin, name="toss").name.value == "toss"


@inside
def test_a_program_of_jaxlink():
    def program(sigma):
        x = pjax.normal(0.0, 1.0, name="x")
        return pjax.normal(x, sigma, shape=(2,), name="y")

    def draw(key, sigma):
        return jaxlink.seed(pjax.record(program))(key, sigma)[1]

    both = to_genjax(draw, logpdf=pjax.log_density(program))
    trace = genjax.seed(both.simulate)(KEY, 0.5)
    x, y = (trace.get_choices()[name] for name in "xy")
    log_density = st.norm.logpdf(x) + st.norm.logpdf(y, x, 0.5).sum()
    np.testing.assert_allclose(trace.get_score(), -log_density)


@inside
def test_weights_of_generate_and_update():
    normal = to_genjax(draw_normal, logpdf=normal_density)

    @genjax.gen
    def model():
        mu = normal(0.0, 1.0) @ "mu"
        return normal(mu, 0.5) @ "y"

    trace, weight = genjax.seed(model.generate)(KEY, {"y": 2.0})
    mu = float(trace.get_choices()["mu"])
    np.testing.assert_allclose(weight, st.norm.logpdf(2.0, mu, 0.5))
    _, change, _ = model.update(trace, {"y": 1.0})
    wanted = st.norm.logpdf(1.0, mu, 0.5) - st.norm.logpdf(2.0, mu, 0.5)
    np.testing.assert_allclose(change, wanted)


@inside
@pytest.mark.parametrize("move", ["mh", "mala"])
def test_markov_chains(move):
    """GenJAX draws again, and differentiates the density."""
    normal = to_genjax(draw_normal, logpdf=normal_density)

    @genjax.gen
    def model():
        mu = normal(0.0, 1.0) @ "mu"
        return normal(mu, 1.0) @ "y"

    def step(trace):
        options = {"mala": (0.8,)}.get(move, ())
        return getattr(genjax, move)(trace, genjax.sel("mu"), *options)

    def run(trace):
        return genjax.chain(step)(trace, genjax.const(20_000)).traces

    start, _ = genjax.seed(model.generate)(KEY, {"y": 2.0})
    mu = jax.jit(genjax.seed(run))(KEY, start).get_choices()["mu"]
    # The posterior is normal, with mean 1 and variance 1 / 2.
    assert abs(mu.mean() - 1) < 0.05
    assert abs(mu.var() - 0.5) < 0.05


# --- PyMC models


def prior_of(model):
    free = [rv.name for rv in model.free_RVs]
    density = jp.logdensity(model, free, jacobian=False)
    position = jp.unconstrain(model)
    prior = jp.prior(model, free)
    return prior, to_genjax(prior, logpdf=lambda draw: density(position(draw)))


@inside
def test_a_pymc_model():
    with pm.Model() as model:
        slope = pm.Normal("slope", 0.0, 2.0)
        noise = pm.HalfNormal("noise", 1.5, shape=2)
        pm.Dirichlet("weights", np.array([1.0, 2.0, 3.0]))
        pm.Poisson("count", 4.0)
        pm.Normal("y", slope, noise, observed=[1.0, 2.0])
    prior, parameters = prior_of(model)

    @genjax.gen
    def line(x):
        draw = parameters() @ "parameters"
        return genjax.normal(draw["slope"] * x, draw["noise"][0]) @ "y"

    trace = jax.jit(genjax.seed(line.simulate))(KEY, 3.0)
    draw = trace.get_choices()["parameters"]
    log_prior = (
        st.norm.logpdf(draw["slope"], 0, 2)
        + st.halfnorm.logpdf(draw["noise"], scale=1.5).sum()
        + st.dirichlet.logpdf(draw["weights"], [1, 2, 3])
        + st.poisson.logpmf(draw["count"], 4)
    )
    y = trace.get_choices()["y"]
    log_y = st.norm.logpdf(y, 3 * draw["slope"], draw["noise"][0])
    np.testing.assert_allclose(trace.get_score(), -log_prior - log_y)
    # The draw is that of the prior with the same key.
    wanted = prior(key_of_draw(KEY))
    got = only_draw(parameters, KEY)
    for name in prior.outputs:
        np.testing.assert_array_equal(got[name], wanted[name])
    many = genjax.seed(line.repeat(50).simulate)(KEY, 3.0).get_choices()["parameters"]
    shapes = {"slope": (50,), "noise": (50, 2), "weights": (50, 3), "count": (50,)}
    assert jax.tree.map(jnp.shape, many) == shapes
    del many["count"]
    assert_lanes_differ(many, 50)


# --- from GenJAX to jaxlink


def generative_functions():
    @genjax.gen
    def model(sigma):
        mu = genjax.normal(0.0, 1.0) @ "mu"
        return {"twice": 2 * (genjax.normal(mu, sigma) @ "y")}

    return {
        "distribution": (genjax.normal, (np.arange(3.0), 2.0)),
        "function": (model, (0.5,)),
        "vmap": (genjax.normal.vmap(in_axes=(0, None)), (np.arange(3.0), 2.0)),
        "discrete": (genjax.flip, (0.3,)),
    }


@inside
@pytest.mark.parametrize("kind", ["distribution", "function", "vmap", "discrete"])
def test_a_sampler_draws_what_genjax_draws(kind):
    distribution, args = generative_functions()[kind]
    sampler = from_genjax(distribution)

    def program(*args):
        return sampler(*args)

    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    wanted = only_draw(distribution, key, *args)
    got = jaxlink.seed(program)(KEY, *args)
    assert_same(got, wanted)
    np.testing.assert_allclose(
        sampler.logpdf(got, *args), distribution.log_density(wanted, *args)
    )


@inside
def test_names_of_samplers():
    samplers = [from_genjax(fn) for fn, _ in generative_functions().values()]
    assert [s.name for s in samplers] == ["Normal", "model", "Vmap", "Flip"]
    assert from_genjax(genjax.normal, name="bell").name == "bell"


@inside
def test_a_sampler_in_a_program():
    model, _ = generative_functions()["function"]
    sampler = from_genjax(model)
    draws = jax.jit(jax.vmap(jaxlink.seed(sampler), (0, None)))(KEYS, 0.5)
    assert st.kstest(draws["mu"], st.norm.cdf).pvalue > 1e-3
    assert st.kstest((draws["y"] - draws["mu"]) / 0.5, st.norm.cdf).pvalue > 1e-3
    log_density = st.norm.logpdf(draws["mu"]) + (
        st.norm.logpdf(draws["y"], draws["mu"], 0.5)
    )
    got = jax.vmap(sampler.logpdf, (0, None))(draws, 0.5)
    np.testing.assert_allclose(got, log_density)
    lanes = jaxlink.seed(lambda x: jax.vmap(sampler)(x))(KEY, np.ones(4))
    assert_lanes_differ(lanes, 4)
    density = pjax.log_density(lambda: sampler(0.5, name="it"))
    one = jax.tree.map(lambda x: x[0], draws)
    np.testing.assert_allclose(density({"it": one}), log_density[0])
    # Keyword arguments stay static, and derivatives are GenJAX's.
    flip = from_genjax(genjax.bernoulli)
    assert jaxlink.seed(lambda: flip(probs=1.0))(KEY) == 1
    normal = from_genjax(genjax.normal)
    slope = jax.grad(jaxlink.seed(lambda mu: normal(mu, 1.0)), argnums=1)(KEY, 2.0)
    assert slope == 1


@inside
@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_other_implementations(impl):
    normal = jaxlink.seed(lambda: from_genjax(genjax.normal)(0.0, 1.0))
    one, two = (normal(jax.random.key(i, impl=impl)) for i in (0, 1))
    assert one != two
    assert one == normal(jax.random.key(0, impl=impl))


@inside
def test_there_and_back():
    bell = to_genjax(from_genjax(genjax.normal))
    inner = only_draw(genjax.normal, key_of_draw(KEY), 1.0, 2.0)
    trace = genjax.seed(bell.simulate)(KEY, 1.0, 2.0)
    assert_same(trace.get_choices(), inner)
    np.testing.assert_allclose(trace.get_score(), -st.norm.logpdf(inner, 1, 2))
    again = from_genjax(to_genjax(draw_normal, logpdf=normal_density))
    assert again.name == "draw_normal"
    assert again.logpdf(0.5, 1.0, 2.0) == normal_density(0.5, 1.0, 2.0)


# --- errors


@inside
def test_errors():
    with pytest.raises(ArgumentError, match=r"density of `draw_normal`.*Pass logpdf="):
        to_genjax(draw_normal)
    with pytest.raises(ArgumentError, match=r"density of `coin`"):
        to_genjax(pjax.sampler(draw_normal, name="coin"))
    with pytest.raises(ArgumentError, match="function of a key or a Sampler, not a"):
        to_genjax(3, logpdf=normal_density)
    with pytest.raises(ArgumentError, match="generative function of GenJAX, not a"):
        from_genjax(draw_normal)


# --- the page


@inside
def test_page():
    session = "\n".join(blocks(ROOT / "docs" / "genjax.md", "pycon"))
    run_doctest(session, "genjax.md", {"__name__": "__main__"})
