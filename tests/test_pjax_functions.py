"""Functions that were compiled without a key: seeded, they are those with a key."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from models import MODELS
from pytensor.raise_op import Assert
from pytensor.scan.utils import until

import jaxlink
from jaxlink import pjax
from jaxlink import pymc as jp
from jaxlink.errors import ArgumentError, UnseededDrawError, UnsupportedOpError

KEY = jax.random.key(20)
IMPLS = ("threefry2x32", "rbg", "unsafe_rbg")


def graph():
    """Two generators, of which one draws twice, in a loop and outside."""
    mu = pt.vector("mu")
    one, two = pt.random.shared_rng(seed=1), pt.random.shared_rng(seed=2)
    one, x = one.normal(mu, 0.1, size=(2, mu.shape[0]))
    one, y = one.gamma(2.0, scale=1 + x**2)

    def step(last, rng):
        rng, new = rng.normal(last / 2, 1)
        return new, rng

    walk, _ = pytensor.scan(
        step, outputs_info=[pt.zeros(()), two], n_steps=5, return_updates=False
    )
    x.name, walk.name = "x", "walk"
    return [mu], [x, y, walk]


# Draws of vectors and matrices, counts, mixtures, and loops.
NAMES = ["varying_slopes", "ordered_mixture", "hurdle", "gp_latent", "autoregression"]
MU = np.array([0.5, -1.0, 2.0])


@pytest.fixture(scope="module")
def functions():
    inputs, outputs = graph()
    return [jaxlink.function(inputs, outputs, name="f", key=k) for k in (True, False)]


def assert_equal(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("impl", IMPLS)
def test_seeded_it_is_the_function_with_a_key(functions, impl):
    keyed, keyless = functions
    key = jax.random.key(3, impl=impl)
    assert_equal(jaxlink.seed(keyless)(key, MU), keyed(key, MU))
    # As a part of a program, its draws are those of the program.
    assert_equal(jax.jit(jaxlink.seed(lambda x: keyless(x)))(key, MU), keyed(key, MU))


def test_positions_follow_those_of_the_program(functions):
    """Root i is position p + i, where p draws came before."""
    _, keyless = functions
    before, (x, _, walk) = jaxlink.seed(lambda: (pjax.normal(0.0, 1.0), keyless(MU)))(
        KEY
    )

    def key(position, draw):
        stream = jax.random.fold_in(KEY, position)
        return jax.random.fold_in(stream, np.uint32(draw))

    np.testing.assert_array_equal(before, jax.random.normal(key(0, 0)))
    assert_equal(x, MU + 0.1 * jax.random.normal(key(1, 0), (2, 3)))
    last = 0.0
    for t in range(5):
        last = last / 2 + jax.random.normal(key(2, t))
        np.testing.assert_allclose(walk[t], last, rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_models(name):
    model = MODELS[name].build()
    keyed, keyless = jp.prior(model), jp.prior(model, key=False)
    got = jax.jit(jaxlink.seed(lambda: keyless()))(KEY)
    wanted = jax.jit(keyed)(KEY)
    assert list(got) == list(wanted)
    for var, value in wanted.items():
        # Bits are equal; digits may differ in the last place.
        np.testing.assert_allclose(got[var], value, rtol=1e-13, err_msg=var)


def test_posterior_predictive():
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    keyed, keyless = (jp.posterior_predictive(model, key=k) for k in (True, False))
    assert str(keyless) == "posterior_predictive(draw) -> {y}"
    draw = {"mu": 2.0}
    assert_equal(jaxlink.seed(keyless)(KEY, draw), keyed(KEY, draw))
    assert_equal(jaxlink.seed(lambda d: keyless(d))(KEY, draw), keyed(KEY, draw))


def test_lanes_draw_their_own(functions):
    _, keyless = functions
    x, y, walk = jaxlink.seed(jax.vmap(keyless, in_axes=1))(KEY, jnp.zeros((3, 4)))
    assert (x.shape, y.shape, walk.shape) == ((4, 2, 3), (4, 2, 3), (4, 5))
    for draws in (x, y, walk):
        assert len(np.unique(np.asarray(draws))) == draws.size
    lane = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), 2)
    wanted = 0.1 * jax.random.normal(lane, (2, 3))
    np.testing.assert_allclose(x[2], wanted, rtol=1e-15)


def test_lanes_that_stop_at_different_steps():
    """A lane that goes on draws from its own count, not from that of a stopped one."""
    limit, rng = pt.scalar("limit"), pt.random.shared_rng(seed=1)

    def step(total, rng):
        rng, wait = rng.exponential(1.0)
        total = total + wait
        return [total, rng], until(total > limit)

    totals, _ = pytensor.scan(
        step, outputs_info=[pt.zeros(()), rng], n_steps=50, return_updates=False
    )
    keyless = jaxlink.function([limit], totals[-1], key=False)
    limits = jnp.array([0.1, 5.0, 9.0])
    got = jaxlink.seed(jax.vmap(lambda limit: keyless(limit)))(KEY, limits)
    root, wanted = jax.random.fold_in(KEY, 0), []
    for i, limit in enumerate(limits):
        total, t = 0.0, 0
        while total <= limit:
            key = jax.random.fold_in(jax.random.fold_in(root, np.uint32(t)), i)
            total, t = total + pjax.exponential.keyed(key, 1.0), t + 1
        wanted.append(total)
    np.testing.assert_allclose(got, wanted, rtol=1e-14)


def test_gradients(functions):
    """In a loop, the roots of each step stay in the step."""
    keyed, keyless = functions

    def program(scale):
        def step(total, _):
            x, y, walk = keyless(scale * MU)
            return total + (x * y[0]).sum() * scale + walk.sum(), None

        return jax.lax.scan(jax.checkpoint(step), 0.0, length=3)[0]

    def by_hand(key, scale):
        total = 0.0
        for t in range(3):
            scope = jax.random.fold_in(jax.random.fold_in(key, 0), np.uint32(t))
            x, y, walk = keyed(scope, scale * MU)
            total += (x * y[0]).sum() * scale + walk.sum()
        return total

    value, slope = jax.value_and_grad(by_hand, argnums=1)(KEY, 0.7)
    seeded = jaxlink.seed(program)
    np.testing.assert_allclose(seeded(KEY, 0.7), value, rtol=1e-12)
    outside = jax.grad(seeded, argnums=1)(KEY, 0.7)
    np.testing.assert_allclose(outside, slope, rtol=1e-10)
    inside = jaxlink.seed(jax.grad(program))(KEY, jnp.asarray(0.7))
    np.testing.assert_allclose(inside, slope, rtol=1e-10)


def test_eager_calls_draw_anew(functions):
    _, keyless = functions
    assert not np.array_equal(keyless(MU)[0], keyless(MU)[0])
    with pjax.set_seed(4):
        first = keyless(MU)
    with pjax.set_seed(4):
        assert_equal(keyless(MU), first)


def test_a_program_without_a_key_is_not_compiled(functions):
    _, keyless = functions
    for _ in range(2):
        with pytest.raises(UnseededDrawError, match=r"`normal`.*test_pjax_functions"):
            jax.jit(keyless)(MU)
    # What reads bits without a sampler, too.
    with pytest.raises(UnseededDrawError, match="key=False"):
        jax.jit(jax.random.bits)(jaxlink.sampling.unseeded.unseeded_key())


def test_what_it_shows(functions):
    keyed, keyless = functions
    assert repr(keyless).startswith("JAXFunction f(mu: float64[?]) -> (x: ")
    assert list(keyless.__signature__.parameters) == ["mu"]
    assert "key" not in keyless.__doc__.split("Returns")[0]
    assert keyless.static_argnums == ()
    assert "sample[site=normal x]" in str(keyless.jaxpr(MU))
    assert_equal(jaxlink.seed(keyless)(KEY, mu=MU), keyed(KEY, MU))
    assert keyless.is_keyless
    assert not keyed.is_keyless
    assert repr(keyless.with_key()) == repr(keyed)


@pytest.mark.parametrize("make", [copy.copy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies(functions, make):
    _, keyless = functions
    again = make(keyless)
    assert repr(again) == repr(keyless)
    assert_equal(jaxlink.seed(again)(KEY, MU), jaxlink.seed(keyless)(KEY, MU))
    assert jax.tree.map(lambda x: x, keyless).is_keyless


def test_new_data():
    loc = pytensor.shared(np.array([1.0, 2.0]), name="loc")
    _, x = pt.random.shared_rng(seed=1).normal(loc, 1e-9)
    f = jaxlink.function([], x, key=False).with_data(loc=[5.0, 6.0, 7.0])
    np.testing.assert_allclose(jaxlink.seed(f)(KEY), [5, 6, 7], atol=1e-6)


def test_checks():
    p = pt.scalar("p")
    _, x = pt.random.shared_rng(seed=1).normal(pm.math.sqrt(p))
    f = jaxlink.function([p], Assert("p is large")(x, p < 1), key=False)
    seeded = jax.jit(jaxlink.seed(lambda p: f.checked(p)))
    error, _ = checkify.checkify(seeded)(KEY, 2.0)
    assert "p is large" in error.get()
    error, _ = checkify.checkify(seeded)(KEY, 0.5)
    assert error.get() is None


def test_host_callback():
    """A draw in Python takes its bits from the key that it is given."""

    class PythonRV(pt.random.op.RandomVariable):
        name = "python"
        signature = "()->()"
        dtype = "floatX"

        @classmethod
        def rng_fn(cls, rng, scale, size=None):
            return rng.normal(0, scale, size)

    _, x = PythonRV()(2.0, rng=pt.random.shared_rng(seed=1), return_next_rng=True)
    keyed, keyless = (
        jaxlink.function([], x, host_callback=True, key=k) for k in (True, False)
    )
    assert_equal(jaxlink.seed(lambda: keyless())(KEY), keyed(KEY))
    with pytest.raises(UnseededDrawError, match="key=False"):
        jax.jit(lambda: keyless())()


def test_a_graph_without_randomness():
    x = pt.vector("x")
    f = jaxlink.function([x], x.sum(), key=False)
    assert f(MU) == MU.sum()
    assert not f.is_keyless


def test_wrong_use(functions):
    _, keyless = functions
    with pytest.raises(ArgumentError, match=r"key=False: write jaxlink\.seed\(fn\)"):
        keyless(KEY, MU)
    with pytest.raises(ArgumentError, match="`mu`"):
        keyless()
    with pytest.raises(ArgumentError, match="float64"):
        jaxlink.seed(lambda: keyless(["a"]))(KEY)
    x = pt.scalar()
    with pytest.raises(TypeError, match="first argument"):
        jaxlink.function([x], x, key=KEY)
    rng, y = pt.random.shared_rng(seed=1).normal(name="y")
    with pytest.raises(UnsupportedOpError, match="key=False has no key to return"):
        jaxlink.function([], [y, rng], key=False)
