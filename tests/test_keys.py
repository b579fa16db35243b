"""All kinds of keys, under all transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest

import jaxlink

IMPLS = ["threefry2x32", "rbg", "unsafe_rbg"]


@pytest.fixture(scope="module")
def scaled():
    """x * z, with z a normal draw: its derivative is the draw itself."""
    x = pt.scalar("x")
    z = pt.random.shared_rng(seed=0).normal()[1]
    return jaxlink.function([x], x * z, name="scaled")


def expected(key):
    folded = jax.random.fold_in(jax.random.fold_in(key, 0), 0)
    return jax.random.normal(folded, (), jnp.float64)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("default", IMPLS)
def test_typed_keys(scaled, impl, default):
    key = jax.random.key(7, impl=impl)
    with jax.default_prng_impl(default):
        assert scaled(key, 1.0) == expected(key)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("default", IMPLS)
def test_raw_keys(scaled, impl, default):
    """A raw key is of the implementation that its width tells, whatever the default."""
    key = jax.random.key(7, impl=impl)
    raw = jax.random.key_data(key)
    with jax.default_prng_impl(default):
        width = {"threefry2x32": "threefry2x32"}.get(impl, "rbg")
        meant = jax.random.wrap_key_data(raw, impl=width)
        assert scaled(raw, 1.0) == expected(meant)
        assert scaled(np.asarray(raw), 1.0) == expected(meant)


@pytest.mark.parametrize("raw", [False, True])
def test_under_differentiation(scaled, raw):
    key = jax.random.key(3)
    z = expected(key)
    if raw:
        key = jax.random.key_data(key)
    assert jax.grad(scaled, argnums=1)(key, 2.0) == z
    out, pullback = jax.vjp(scaled, key, 2.0)
    key_cotangent, x_cotangent = pullback(jnp.ones(()))
    assert (out, x_cotangent) == (2 * z, z)
    assert key_cotangent.dtype == jax.dtypes.float0
    zero = np.zeros(jnp.shape(key), jax.dtypes.float0)
    assert jax.jvp(scaled, (key, 2.0), (zero, 1.0)) == (2 * z, z)
    out, tangent_map = jax.linearize(lambda x: scaled(key, x), 2.0)
    assert (out, tangent_map(1.0)) == (2 * z, z)
    assert jax.hessian(lambda x: scaled(key, x) ** 2)(2.0) == 2 * z**2
    value, grad = jax.value_and_grad(scaled, argnums=1)(key, 2.0)
    assert (value, grad) == (2 * z, z)


@pytest.mark.parametrize("raw", [False, True])
def test_a_fresh_key_as_company_of_a_loss(raw):
    x, rng = pt.scalar("x"), pt.random.rng("rng")
    next_rng, z = rng.normal()
    fn = jaxlink.function([x, rng], [x * z, next_rng])
    key = jax.random.key(3)
    key_in = jax.random.key_data(key) if raw else key
    grad, fresh = jax.grad(fn, has_aux=True)(2.0, key_in)
    assert grad == jax.random.normal(jax.random.fold_in(key, 0), (), jnp.float64)
    fresh = fresh if raw else jax.random.key_data(fresh)
    np.testing.assert_array_equal(
        fresh, jax.random.key_data(jax.random.fold_in(key, 1))
    )


def test_keys_as_scan_and_map_elements(scaled):
    keys = jax.random.split(jax.random.key(1), 3)
    expect = np.array([expected(key) for key in keys])
    np.testing.assert_array_equal(jax.lax.map(lambda k: scaled(k, 1.0), keys), expect)
    _, outs = jax.lax.scan(lambda c, k: (c, scaled(k, 1.0)), None, keys)
    np.testing.assert_array_equal(outs, expect)
    raw = jax.random.key_data(keys)
    np.testing.assert_array_equal(jax.vmap(scaled, (0, None))(raw, 1.0), expect)


def test_scan_carries_an_explicit_key():
    rng = pt.random.rng("rng")
    next_rng, z = rng.normal()
    step = jaxlink.function([rng], [next_rng, z])
    for key in (jax.random.key(0), jax.random.key_data(jax.random.key(0))):
        _, zs = jax.lax.scan(lambda k, _: step(k), key, None, length=5)
        assert len(set(zs.tolist())) == 5


def test_reused_keys_are_found():
    """jax.debug_key_reuse accepts our use of keys: no key is consumed twice."""
    a, b = (pt.random.shared_rng(seed=i) for i in range(2))
    a1, x = a.normal(size=(2,))
    fn = jaxlink.function([], [x, a1.uniform()[1], b.normal()[1]])
    with jax.debug_key_reuse(True):
        fn(jax.random.key(0))
