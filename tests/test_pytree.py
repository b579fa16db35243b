"""JAXFunction as data: leaves, new data, ensembles, and pickles."""

import copy
import pickle
import subprocess
import sys
import textwrap

import cloudpickle
import dill
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import jaxlink

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def linear():
    """y = X w + b with X and w shared, and a large constant as offset."""
    X = pytensor.shared(np.arange(6.0).reshape(3, 2), name="X")
    w = pytensor.shared(np.array([1.0, 2.0]), name="w")
    offset = pt.constant(np.arange(2000) / 1999)
    b = pt.scalar("b")
    return jaxlink.function([b], X @ w + (b + offset).max(), name="linear")


def with_rng():
    x = pt.vector("x")
    rng = pt.random.shared_rng(seed=0, name="rng")
    scale = pytensor.shared(2.0, name="scale")
    rng, a = rng.normal(x, scale)
    _, b = rng.normal(size=(2,))
    return jaxlink.function([x], {"a": a, "b": b}, name="with_rng")


def traces(fn):
    """How often the code of ``fn`` was traced."""
    return fn._program.jitted._cache_size()


def test_leaves_are_the_captured_data(linear):
    leaves = jax.tree.leaves(linear)
    assert {leaf.shape for leaf in leaves} == {(3, 2), (2,), (2000,)}
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(linear)]
    assert {".X", ".w"} < set(paths)
    assert set(linear.data) == {"X", "w", "data0"}
    doubled = jax.tree.map(lambda leaf: 2 * leaf, linear)
    np.testing.assert_allclose(doubled(0.0) - 2, 4 * (linear(0.0) - 1))


def test_small_constants_stay_in_the_program():
    x = pt.vector("x")
    assert jax.tree.leaves(jaxlink.function([x], x + np.arange(10.0))) == []


def test_hashes_by_identity(linear):
    other = linear.with_data(w=[0.0, 0.0])
    assert len({linear, other, linear}) == 2
    assert linear != other
    assert hash(jax.tree.structure(linear)) == hash(jax.tree.structure(other))
    assert jax.tree.structure(linear) == jax.tree.structure(other)
    assert copy.copy(linear) is linear
    assert copy.deepcopy(linear) is linear


def test_gradient_with_respect_to_data(linear):
    grad = jax.grad(lambda fn: fn(0.0).sum())(linear)
    assert isinstance(grad, jaxlink.JAXFunction)
    np.testing.assert_allclose(grad.data["w"], [6.0, 9.0])


def test_as_argument_of_jit_and_as_carry(linear):
    np.testing.assert_allclose(jax.jit(lambda f, b: f(b))(linear, 1.0), linear(1.0))

    def step(fn, _):
        return jax.tree.map(lambda leaf: leaf + 1, fn), fn(0.0)[0]

    final, outs = jax.lax.scan(step, linear, None, length=3)
    np.testing.assert_allclose(final.data["w"], [4.0, 5.0])
    assert outs[0] == linear(0.0)[0]


def test_ensemble_under_vmap_is_one_trace():
    w = pytensor.shared(np.array([1.0, 2.0]), name="w")
    x = pt.vector("x")
    fn = jaxlink.function([x], (w * x).sum())
    members = [fn.with_data(w=[i, i + 1.0]) for i in range(4)]
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    before = traces(fn)
    outs = jax.vmap(lambda f, x: f(x), in_axes=(0, None))(ensemble, np.ones(2))
    np.testing.assert_allclose(outs, [1.0, 3.0, 5.0, 7.0])
    assert traces(fn) <= before + 1
    filtered = eqx.filter_vmap(lambda f, x: f(x), in_axes=(eqx.if_array(0), None))
    np.testing.assert_allclose(filtered(ensemble, np.ones(2)), outs)
    # Many values, one trace.
    before = traces(fn)
    for member in members:
        member(np.ones(2))
    assert traces(fn) == before + 1


def test_as_a_field_of_an_equinox_module(linear):
    class Model(eqx.Module):
        fn: jaxlink.JAXFunction
        scale: jax.Array

        def __call__(self, b):
            return self.scale * self.fn(b)

    model = Model(linear, jnp.array(2.0))
    np.testing.assert_allclose(eqx.filter_jit(model)(1.0), 2 * linear(1.0))
    grads = eqx.filter_grad(lambda m: m(1.0).sum())(model)
    np.testing.assert_allclose(grads.fn.data["w"], [12.0, 18.0])
    trainable, rest = eqx.partition(model, eqx.is_inexact_array)
    np.testing.assert_allclose(eqx.combine(trainable, rest)(1.0), model(1.0))


def test_with_data_compiles_nothing_again(linear):
    linear(1.0)
    before = traces(linear)
    new = linear.with_data(w=np.array([0.0, 1.0]))
    np.testing.assert_allclose(new(1.0) - 2, [1.0, 3.0, 5.0])
    assert traces(linear) == before
    longer = new.with_data({"X": np.ones((5, 2))})
    assert longer(1.0).shape == (5,)
    assert traces(linear) == before + 1
    assert linear(1.0).shape == (3,)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"v": 1.0}, "captured no shared variable named `v`; it captured: "),
        ({"w": 1.0}, r"data `w` of linear\(\) must be float64\[\?\]"),
        ({"w": [1j, 1j]}, "without loss"),
        ({"X": "abc"}, r"data `X`"),
    ],
)
def test_bad_data(linear, data, message):
    with pytest.raises(jaxlink.ArgumentError, match=message):
        linear.with_data(data)


def test_data_on_which_a_shape_depends():
    n = pytensor.shared(3, name="n")
    x = pt.scalar("x")
    fn = jaxlink.function([x], pt.zeros(n) + x * n)
    assert jax.tree.leaves(fn) == []
    np.testing.assert_array_equal(fn(1.0), np.full(3, 3.0))
    longer = fn.with_data(n=5)
    np.testing.assert_array_equal(longer(1.0), np.full(5, 5.0))
    assert fn(1.0).shape == (3,)
    # The same value gives the same code, so the pytrees agree.
    again = fn.with_data(n=5)
    assert jax.tree.structure(again) == jax.tree.structure(longer)
    assert fn.data["n"] == 3
    assert longer.data["n"] == 5


def test_the_value_at_compile_time_is_captured():
    s = pytensor.shared(np.ones(2), name="s")
    fn = jaxlink.function([], s * 1)
    s.set_value(np.zeros(2))
    np.testing.assert_array_equal(fn(), np.ones(2))
    value = np.ones(2)
    borrowed = pytensor.shared(value, borrow=True)
    fn = jaxlink.function([], borrowed * 1)
    value[:] = 5
    np.testing.assert_array_equal(fn(), np.ones(2))


# --- pickles -------------------------------------------------------------------------


@pytest.mark.parametrize("pickler", [pickle, cloudpickle, dill])
def test_round_trip(pickler, linear):
    again = pickler.loads(pickler.dumps(linear))
    np.testing.assert_array_equal(again(1.0), linear(1.0))
    assert repr(again) == repr(linear)
    fn = with_rng()
    again = pickler.loads(pickler.dumps(fn))
    for name, value in fn(KEY, np.zeros(2)).items():
        np.testing.assert_array_equal(again(KEY, np.zeros(2))[name], value)


def test_round_trip_of_new_data_and_shared_code(linear):
    new = linear.with_data(w=[0.0, 1.0])
    one, two = pickle.loads(pickle.dumps([linear, new]))
    np.testing.assert_array_equal(two(1.0), new(1.0))
    assert one._program is two._program


def test_round_trip_of_static_things():
    n = pytensor.shared(3, name="n")
    m = pt.lscalar("m")
    fn = jaxlink.function([m], pt.zeros((n, m))).with_data(n=2)
    again = pickle.loads(pickle.dumps(fn))
    assert again(4).shape == (2, 4)
    assert again.with_data(n=3)(4).shape == (3, 4)


def test_deep_graphs_pickle():
    x = y = pt.scalar("x")
    for i in range(600):
        y = pt.sin(y) if i % 2 else pt.exp(-y)
    fn = jaxlink.function([x], y)
    assert len(fn.fgraph.apply_nodes) > 600
    pickle.loads(pickle.dumps(fn))


def test_draws_are_the_same_in_another_process(tmp_path):
    fn = with_rng()
    path = tmp_path / "fn.pkl"
    path.write_bytes(pickle.dumps(fn))
    code = f"""
        import pickle, jax, numpy as np
        fn = pickle.load(open({str(path)!r}, "rb"))
        out = fn(jax.random.key(0), np.zeros(2))
        np.savez({str(tmp_path / "out.npz")!r}, **out)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    out = np.load(tmp_path / "out.npz")
    for name, value in fn(KEY, np.zeros(2)).items():
        np.testing.assert_array_equal(out[name], value)
