"""`jaxlink.map_draws`: `jax.vmap` over keys, in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from compilation import compilations
from jax.extend.core import jaxprs_in_params

import jaxlink
import jaxlink.pymc as jlpm

KEYS = jax.random.split(jax.random.key(3), 7)


def process():
    """A draw that takes more memory than it returns."""
    mu = pt.vector("mu")
    root = pt.random.shared_rng(seed=1).normal(size=(4, 4))[1]
    z = pt.random.shared_rng(seed=2).normal(mu)[1]
    return jaxlink.function([mu], {"x": root @ z, "z": z})


def assert_same(got, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), got, wanted)


@pytest.mark.parametrize("batch_size", [None, 1, 3, 7, 100])
def test_it_is_vmap(batch_size):
    fn, mu = process(), jnp.arange(4.0)
    wanted = jax.vmap(fn, (0, None))(KEYS, mu)
    got = jaxlink.map_draws(fn, KEYS, mu, batch_size=batch_size)
    assert_same(got, wanted)


def test_plain_functions_raw_keys_and_functions_of_a_model():
    def plain(key, scale):
        return scale["s"] * jax.random.normal(key, (2,))

    scale = {"s": 3.0}
    wanted = jax.vmap(plain, (0, None))(KEYS, scale)
    assert_same(jaxlink.map_draws(plain, KEYS, scale), wanted)
    raw = jax.random.split(jax.random.PRNGKey(3), 5)
    assert_same(
        jaxlink.map_draws(plain, raw, scale), jax.vmap(plain, (0, None))(raw, scale)
    )
    with pm.Model():
        pm.Normal("y", pm.Gamma("x", 2, 1), 1)
        prior = jlpm.prior()
    assert_same(jaxlink.map_draws(prior, KEYS), jax.vmap(prior)(KEYS))
    assert jaxlink.map_draws(plain, KEYS[:1], scale).shape == (1, 2)


def test_transformations():
    fn, mu = process(), jnp.arange(4.0)

    def total(map_):
        return lambda mu: map_(mu)["x"].sum()

    def in_chunks(mu):
        return jaxlink.map_draws(fn, KEYS, mu, batch_size=2)

    def at_once(mu):
        return jax.vmap(fn, (0, None))(KEYS, mu)

    assert_same(jax.jit(jax.grad(total(in_chunks)))(mu), jax.grad(total(at_once))(mu))
    several = jnp.stack([mu, 2 * mu])
    assert_same(jax.vmap(in_chunks)(several), jax.vmap(at_once)(several))


def test_a_second_call_compiles_nothing():
    first = jaxlink.map_draws(process(), KEYS, jnp.arange(4.0))
    with compilations() as made:
        second = jaxlink.map_draws(process(), KEYS, jnp.arange(4.0))
    assert made == []
    assert_same(second, first)


def test_less_memory_than_vmap():
    def large(key):
        x = jax.random.normal(key, (200, 200))
        return jnp.linalg.cholesky(x @ x.T + jnp.eye(200)).sum()

    keys = jax.random.split(jax.random.key(0), 1000)
    ours = jax.jit(lambda keys: jaxlink.map_draws(large, keys)).lower(keys).compile()
    theirs = jax.jit(jax.vmap(large)).lower(keys).compile()
    mine, other = (c.memory_analysis().temp_size_in_bytes for c in (ours, theirs))
    assert mine < 0.1 * other


def test_errors():
    fn = process()
    with pytest.raises(jaxlink.ArgumentError, match="it is a single key"):
        jaxlink.map_draws(fn, KEYS[0], jnp.zeros(4))
    with pytest.raises(jaxlink.ArgumentError, match="at least 1, not 0"):
        jaxlink.map_draws(fn, KEYS, jnp.zeros(4), batch_size=0)
    with pytest.raises(jaxlink.ArgumentError, match="missing argument `mu`"):
        jaxlink.map_draws(fn, KEYS)


def test_what_does_not_depend_on_the_draw_is_computed_once():
    """A fixed covariance is factorized once, not for each key."""
    root, mean = pt.matrix("root", shape=(3, 3)), pt.vector("mean", shape=(3,))
    generator = pt.random.shared_rng(seed=1)
    x = generator.multivariate_normal(mean, root @ root.T)[1]
    fn = jaxlink.function([root, mean], x)
    mapped = jax.vmap(fn, (0, None, None))
    jaxpr = jax.make_jaxpr(mapped)(KEYS, jnp.eye(3), jnp.zeros(3))
    factorized = []

    def walk(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "cholesky":
                factorized.append(eqn.invars[0].aval.shape)
            for inner in jaxprs_in_params(eqn.params):
                walk(inner)

    walk(jaxpr.jaxpr)
    assert factorized == [(3, 3)]
