"""Standard draws of a graph are made together, with the bits that each has alone."""

from collections import Counter

import jax
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from jax.extend.core import jaxprs_in_params
from support import assert_same

import jaxlink
import jaxlink.pymc as jp
from jaxlink.dispatch.random import standard_draws

KEY = jax.random.key(23)
# XLA rounds a product and a sum in one step or in two.
LAST_DIGIT = 1e-15


def rng():
    return pt.random.shared_rng(seed=1)


# Each family at awkward parameters: a draw of this size.
FAMILIES = {
    "normal": lambda size: rng().normal(-1.0, 0.3, size=size),
    "half normal": lambda size: rng().halfnormal(2.0, 0.3, size=size),
    "lognormal": lambda size: rng().lognormal(-1.0, 0.3, size=size),
    "cauchy": lambda size: rng().cauchy(-1.0, 0.3, size=size),
    "half cauchy": lambda size: rng().halfcauchy(0.0, 0.3, size=size),
    "gumbel": lambda size: rng().gumbel(-1.0, 0.3, size=size),
    "laplace": lambda size: rng().laplace(-1.0, 0.3, size=size),
    "logistic": lambda size: rng().logistic(-1.0, 0.3, size=size),
    "uniform": lambda size: rng().uniform(-1.0, 0.3, size=size),
    "exponential": lambda size: rng().exponential(0.3, size=size),
    "weibull": lambda size: rng().weibull(0.7, size=size),
    "pareto": lambda size: rng().pareto(1.5, 0.3, size=size),
    "illegal": lambda size: rng().normal(-1.0, -0.3, size=size),
    "empty range": lambda size: rng().uniform(0.3, 0.3, size=size),
}
SIZES = ((), (3,), (2, 1, 2), (0,), (300,))


def together_and_alone(monkeypatch, inputs, outputs):
    """The function, and the one that makes each draw alone."""
    fn = jaxlink.function(inputs, outputs)
    jaxlink.clear_cache()
    alone = jaxlink.function(inputs, outputs)

    def run(*args, transform=lambda f: f):
        with monkeypatch.context() as patch:
            patch.setattr(standard_draws, "LARGEST", -1)
            return transform(alone)(*args)

    return fn, run


def generations(fn, *args):
    """How often random bits are generated, for keys and for numbers."""
    counts = Counter()

    def walk(jaxpr):
        for eqn in jaxpr.eqns:
            counts[eqn.primitive.name] += 1
            for inner in jaxprs_in_params(eqn.params):
                walk(inner)

    walk(jax.make_jaxpr(fn)(*args).jaxpr)
    return counts["random_bits"], counts["threefry2x32"]


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_keep_their_bits(monkeypatch, name):
    draws = [FAMILIES[name](size)[1] for size in SIZES]
    fn, alone = together_and_alone(monkeypatch, [], draws)
    assert_same(fn(KEY), alone(KEY), rtol=LAST_DIGIT)
    keys = jax.random.split(KEY, 3)
    one_by_one = alone(keys, transform=jax.vmap)
    assert_same(jax.vmap(fn)(keys), one_by_one, rtol=LAST_DIGIT)
    # The large one and the empty one are drawn alone.
    assert generations(fn, KEY) == (3, 1)


def test_families_dtypes_and_chains_keep_their_bits(monkeypatch):
    generator, outs = rng(), []
    for i in range(3):
        generator, x = generator.normal(i, 1.0 + i, size=(i,))
        generator, n = generator.poisson(3.0, size=(2,))  # not from a standard draw
        outs += [x, n]
    outs += [rng().normal(x.sum(), 2.0)[1] for x in outs[:3:2]]
    outs += [rng().uniform(size=(2,), dtype="float32")[1] for _ in range(2)]
    outs += [rng().uniform(size=(2,))[1] for _ in range(2)]
    fn, alone = together_and_alone(monkeypatch, [], outs)
    assert_same(fn(KEY), alone(KEY), rtol=LAST_DIGIT)
    assert generations(fn, KEY)[1] == 3


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg", "raw"])
def test_other_keys(monkeypatch, impl):
    draws = [FAMILIES["normal"](size)[1] for size in SIZES]
    fn, alone = together_and_alone(monkeypatch, [], draws)
    key = jax.random.PRNGKey(3) if impl == "raw" else jax.random.key(3, impl=impl)
    assert_same(fn(key), alone(key), rtol=LAST_DIGIT)


def test_bits_that_depend_on_the_number_of_draws(monkeypatch):
    draws = [FAMILIES["normal"](size)[1] for size in SIZES]
    fn, alone = together_and_alone(monkeypatch, [], draws)
    with jax.threefry_partitionable(False):
        assert_same(fn(KEY), alone(KEY), rtol=LAST_DIGIT)
        assert generations(fn, KEY) == (5, 0)


def test_sizes_that_are_known_before_the_call(monkeypatch):
    n, m = pt.lscalar("n"), pt.lscalar("m")
    x, y = (rng().normal(1.0, 2.0, size=size)[1] for size in ((n,), (m, n)))
    # PyTensor finds out that this is n.
    z = rng().normal(size=x.shape)[1]
    fn, alone = together_and_alone(monkeypatch, [n, m], [x, y, z])
    assert_same(fn(KEY, 3, 2), alone(KEY, 3, 2), rtol=LAST_DIGIT)
    assert fn(KEY, 4, 1)[1].shape == (1, 4)
    assert generations(lambda key: fn(key, 3, 2), KEY) == (1, 1)


def test_dims_of_a_model(monkeypatch):
    with pm.Model(coords={"group": range(5)}):
        mu = pm.Normal("mu")
        effect = pm.Normal("effect", mu, 2.0, dims="group")
        pm.LogNormal("scale", effect, 0.5, dims="group")
        prior = jp.prior()
    assert generations(prior, KEY) == (1, 1)
    together = prior(KEY)
    jaxlink.clear_cache()
    monkeypatch.setattr(standard_draws, "LARGEST", -1)
    with pm.Model(coords={"group": range(5)}):
        mu = pm.Normal("mu")
        effect = pm.Normal("effect", mu, 2.0, dims="group")
        pm.LogNormal("scale", effect, 0.5, dims="group")
        alone = jp.prior()
    assert_same(together, alone(KEY), rtol=LAST_DIGIT)
    assert generations(alone, KEY)[0] == 3


def test_draws_of_draws_have_derivatives():
    loc = pt.vector("loc", shape=(3,))
    x = rng().normal(loc, 0.5)[1]
    y = rng().uniform(x, x + 1)[1] + rng().normal(2 * x, 1.0)[1]
    fn = jaxlink.function([loc], y.sum())
    slope = jax.grad(fn, argnums=1)(KEY, np.array([0.1, -2.0, 0.0]))
    np.testing.assert_allclose(slope, 3.0, rtol=1e-12)


def test_a_graph_with_one_draw_is_as_before():
    n = pt.lscalar("n")
    fn = jaxlink.function([n], rng().normal(size=(n,))[1])
    [streams] = [node for node in fn.fgraph.toposort() if "RootStreams" in str(node.op)]
    assert len(streams.inputs) == 1
