"""Ops without a rule, run in Python on request."""

import importlib
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.breakpoint import PdbBreakpoint
from pytensor.compile.ops import wrap_py
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.random.op import RandomVariable
from scipy import stats

import jaxlink


class Powers(Op):
    """The powers 0 to n - 1 of each element, in columns."""

    __props__ = ()

    def make_node(self, x, n):
        return Apply(self, [pt.as_tensor(x), pt.as_tensor(n)], [pt.matrix()])

    def infer_shape(self, node, input_shapes):
        return [(input_shapes[0][0], node.inputs[1])]

    def perform(self, node, inputs, output_storage):
        x, n = inputs
        assert type(x) is np.ndarray
        assert x.dtype == "float64"
        output_storage[0][0] = x[:, None] ** np.arange(n)

    def pullback(self, inputs, outputs, cotangents):
        x, n = inputs
        slopes = pt.arange(n) * self(x, n) / x[:, None]
        return [(cotangents[0] * slopes).sum(axis=1), disconnected_type()]


class Halve(Op):
    """Without a gradient."""

    __props__ = ()

    def make_node(self, x):
        return Apply(self, [pt.as_tensor(x)], [x.type()])

    def infer_shape(self, node, input_shapes):
        return input_shapes

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] / 2


class UnknownShape(Halve):
    infer_shape = None


X = jnp.array([1.0, -2.0, 3.0])


@pytest.fixture(scope="module")
def powers():
    x, n = pt.vector("x"), pt.lscalar("n")
    return jaxlink.function([x, n], Powers()(x, n), host_callback=True)


def test_it_computes_what_python_does(powers):
    expected = np.asarray(X)[:, None] ** np.arange(4)
    np.testing.assert_array_equal(powers(X, 4), expected)
    np.testing.assert_array_equal(jax.jit(lambda x: powers(x, 4))(X), expected)
    batch = jax.vmap(powers, (0, None))(jnp.stack([X, 2 * X]), 4)
    np.testing.assert_array_equal(
        batch[1], (2 * np.asarray(X))[:, None] ** np.arange(4)
    )


def test_what_its_shape_depends_on_is_static(powers):
    assert powers.static_argnums == (1,)
    assert powers(X, 2).shape == (3, 2)


def test_its_gradient_is_pytensors(powers):
    grad = jax.jit(jax.grad(lambda x: powers(x, 3).sum()))(X)
    np.testing.assert_allclose(grad, 1 + 2 * np.asarray(X), rtol=1e-12)


def test_it_pickles(powers):
    again = pickle.loads(pickle.dumps(powers))
    np.testing.assert_array_equal(again(X, 3), powers(X, 3))


def test_without_a_pullback_differentiation_is_an_error():
    x = pt.vector("x")
    fn = jaxlink.function([x], Halve()(x).sum(), host_callback=True)
    assert fn(X) == 1.0
    with pytest.raises(jaxlink.ArgumentError, match="`Halve` runs in Python and has"):
        jax.grad(fn)(X)


def test_inside_of_a_loop_and_of_a_batch():
    x = pt.matrix("x")
    batched = Blockwise(Halve(), signature="(n)->(n)")(x)
    looped = pt.stack([Halve()(x[0]), x[1]])
    fn = jaxlink.function([x], [batched, looped], host_callback=True)
    values = jnp.arange(6.0).reshape(2, 3)
    halves, first = fn(values)
    np.testing.assert_array_equal(halves, np.asarray(values) / 2)
    np.testing.assert_array_equal(first, np.asarray(values) / np.array([[2], [1]]))


def test_pytensor_computes_what_depends_on_constants_and_shapes_alone():
    x = pt.vector("x")
    # JAX makes the ones, if nobody needs them before the call.
    fn = jaxlink.function([x], x * Halve()(pt.ones(x.shape)))
    np.testing.assert_array_equal(fn(X), np.asarray(X) / 2)


def test_an_unknown_shape_is_refused():
    x = pt.vector("x")
    with pytest.raises(jaxlink.UnsupportedOpError, match="an `infer_shape`"):
        jaxlink.function([x], UnknownShape()(x), host_callback=True)


def test_an_output_of_another_shape_is_an_error():
    class Liar(Halve):
        def perform(self, node, inputs, output_storage):
            output_storage[0][0] = inputs[0][:-1]

    x = pt.vector("x")
    fn = jaxlink.function([x], Liar()(x), host_callback=True)
    with pytest.raises(Exception, match=r"output of shape \(2,\), but"):
        fn(X).block_until_ready()


class Declared(Halve):
    """Returns its input as it is, whatever dtype it declares."""

    __props__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype

    def make_node(self, x):
        return Apply(self, [x], [pt.vector(dtype=self.dtype)])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0]


@pytest.mark.parametrize(
    ("dtype", "held", "lost"),
    [
        ("float64", [1.0 + 0j, 2.0], [1.0 + 1j, 2.0]),
        ("int64", [1.0, 2.0], [1.5, 2.0]),
        ("int64", [1.0, -3.0], [np.nan, 2.0]),
        ("int8", [1, 127], [1, 128]),
        ("bool", [0, 1], [0, 2]),
        ("float32", [0.5, np.nan], None),
    ],
)
def test_a_dtype_that_cannot_hold_the_values_is_an_error(dtype, held, lost):
    x = pt.vector(dtype=np.asarray(held).dtype)
    fn = jaxlink.function([x], Declared(dtype)(x), host_callback=True)
    drawn = fn(np.asarray(held))
    assert drawn.dtype == dtype
    np.testing.assert_array_equal(drawn, np.asarray(held).real)
    if lost is not None:
        with pytest.raises(Exception, match=f"declares it as {dtype}, which cannot"):
            fn(np.asarray(lost)).block_until_ready()
        known = pt.constant(np.asarray(lost))
        with pytest.raises(jaxlink.ArgumentError, match="which cannot hold these"):
            jaxlink.function([], Declared(dtype)(known))()


def test_eigenvectors_that_pytensor_declares_as_real_are_no_wrong_result():
    x = pt.zmatrix("x")
    fn = jaxlink.function([x], list(pt.linalg.eigh(x)), host_callback=True)
    values, vectors = fn(np.diag([1.0 + 0j, 2.0]))
    np.testing.assert_array_equal(values, [1.0, 2.0])
    assert vectors.dtype == jnp.float64
    with pytest.raises(Exception, match="output 1 as complex128, but declares"):
        jax.block_until_ready(fn(np.array([[2.0, 1j], [-1j, 2.0]])))


def test_without_the_request_all_are_named():
    x = pt.vector("x")
    with pytest.raises(jaxlink.UnsupportedOpError, match="host_callback=True") as info:
        jaxlink.function([x], [Halve()(x), Powers()(x, 2)])
    assert len(info.value.obstacles) == 2
    assert all(f"made at {__file__}:" in str(o) for o in info.value.obstacles)


def test_known_operands_need_neither():
    x = pt.vector("x")
    fn = jaxlink.function([x], x + Halve()(pt.constant([2.0, 4.0, 6.0])))
    np.testing.assert_array_equal(fn(X), [2.0, 0.0, 6.0])


def test_it_must_be_said_by_a_bool():
    with pytest.raises(TypeError, match="host_callback must be True or False"):
        jaxlink.function([], pt.zeros(2), host_callback="yes")


@wrap_py(itypes=[pt.dvector], otypes=[pt.dscalar])
def largest_gap(x):
    return np.asarray(np.diff(np.sort(x)).max())


def test_a_python_function_in_the_graph():
    x = pt.dvector("x")
    with pytest.raises(jaxlink.UnsupportedOpError, match="FromFunctionOp"):
        jaxlink.function([x], largest_gap(x))
    fn = jaxlink.function([x], largest_gap(x), host_callback=True)
    assert fn(X) == 3.0
    np.testing.assert_array_equal(jax.vmap(fn)(jnp.stack([X, 2 * X])), [3.0, 6.0])


def test_a_breakpoint_opens_where_its_condition_holds(monkeypatch):
    opened = []
    monkeypatch.setattr("pdb.set_trace", lambda: opened.append(True))
    for debugger in ("pudb", "ipdb"):
        monkeypatch.setitem(__import__("sys").modules, debugger, None)
    x = pt.vector("x")
    watched = PdbBreakpoint("large")(x.sum() > 10, x)
    fn = jaxlink.function([x], watched * 2, host_callback=True)
    np.testing.assert_array_equal(fn(X), 2 * X)
    assert not opened
    np.testing.assert_array_equal(fn(10 * X), 20 * X)
    assert opened == [True]


class TriangleRV(RandomVariable):
    name = "triangle"
    signature = "()->()"
    dtype = "floatX"

    @classmethod
    def rng_fn(cls, rng, width, size):
        return rng.triangular(0, width / 4, width, size=size)


def test_a_random_variable_is_seeded_by_its_key():
    width = pt.vector("width")
    rng = pt.random.shared_rng(seed=1)
    next_rng, x = TriangleRV()(width, size=(500, 2), rng=rng, return_next_rng=True)
    _, y = TriangleRV()(width, size=(500, 2), rng=next_rng, return_next_rng=True)
    fn = jaxlink.function([width], [x, y], host_callback=True)
    widths = jnp.array([1.0, 4.0])
    keys = jnp.stack([jax.random.key(0), jax.random.key(7)])
    first, second = fn(keys[0], widths)
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first.mean(0), np.array([1.25, 5.0]) / 3, rtol=0.1)
    again, _ = jax.vmap(fn, (0, None))(keys, widths)
    np.testing.assert_array_equal(again[0], first)
    assert not np.array_equal(again[1], first)
    with pytest.raises(jaxlink.ArgumentError, match="`triangle` has no derivative"):
        jax.grad(lambda w: fn(jax.random.key(0), w)[0].sum())(widths)


# --- random variables that Python draws ----------------------------------------------


def normal_draw(mu, rng=None, size=None):
    return rng.normal(mu, 1.0, size)


def steps(mu, rng=None, size=None):
    return mu + rng.normal(size=(*(size or mu.shape[:-1]), 3)).cumsum(-1)


def counts(rng, mu, size):
    return rng.poisson(mu, size)


def quietly(build, *args, **kwargs):
    """PyMC warns of its own alias, and of how it calls PyTensor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(*args, **kwargs)


HOSTED = {
    "random": lambda mu, size: pm.CustomDist.dist(mu, random=normal_draw, size=size),
    "alias": lambda mu, size: quietly(
        pm.DensityDist.dist, mu, random=normal_draw, size=size
    ),
    "simulator": lambda mu, size: quietly(pm.Simulator.dist, counts, mu, size=size),
}
MEANS = np.array([1.0, 30.0, 200.0])


def hosted(kind, size=None):
    mu = pt.vector("mu")
    return jaxlink.function([mu], HOSTED[kind](mu, size), host_callback=True)


@pytest.mark.parametrize("kind", HOSTED)
def test_draws_of_python_obey_the_key(kind):
    fn, key = hosted(kind), jax.random.key(5)
    draws = fn(key, MEANS)
    np.testing.assert_array_equal(draws, fn(key, MEANS))
    keys = jax.random.split(key, 4)
    lanes = jax.vmap(fn, (0, None))(keys, MEANS)
    assert len(np.unique(lanes[:, 2])) == 4
    for lane, one in zip(lanes, keys, strict=True):
        np.testing.assert_array_equal(lane, fn(one, MEANS))
    assert draws.dtype == jnp.float64
    assert hosted(kind, (4, 3))(key, MEANS).shape == (4, 3)
    assert hosted(kind, (0, 3))(key, MEANS).shape == (0, 3)


def test_the_seed_of_python_is_that_of_the_law():
    key = jax.random.key(5)
    drawn = jax.random.fold_in(jax.random.fold_in(key, 0), 0)
    bits = [int(b) for b in jax.random.bits(drawn, (4,), "uint32")]
    wanted = np.random.default_rng(bits).normal(MEANS, 1.0)
    np.testing.assert_array_equal(hosted("random")(key, MEANS), wanted)


def test_draws_of_python_have_the_right_distribution():
    draws = np.asarray(hosted("random", (20_000, 3))(jax.random.key(6), MEANS))
    for j, mean in enumerate(MEANS):
        assert stats.kstest(draws[:, j], stats.norm(mean, 1).cdf).pvalue > 1e-6
        assert stats.kstest(draws[:, j], stats.norm(mean + 0.1, 1).cdf).pvalue < 1e-6


def test_vectors_drawn_by_python():
    mu = pt.vector("mu")
    walk = pm.CustomDist.dist(mu, random=steps, signature="(n)->(n)", size=(5,))
    fn = jaxlink.function([mu], walk, host_callback=True)
    assert fn(jax.random.key(0), MEANS).shape == (5, 3)


@pytest.mark.parametrize("kind", HOSTED)
def test_a_draw_of_python_has_no_derivative(kind):
    fn = hosted(kind)
    name = "Simulator" if kind == "simulator" else "CustomDist"
    with pytest.raises(jaxlink.ArgumentError, match=f"`{name}` has no derivative"):
        jax.grad(lambda mu: fn(jax.random.key(0), mu).sum())(MEANS)


def test_the_derivative_of_a_count_drawn_by_python_is_zero():
    mu, key = pt.vector("mu"), jax.random.key(3)
    count = quietly(pm.Simulator.dist, counts, mu, dtype="int64")
    fn = jaxlink.function([mu], [count, count * mu], host_callback=True)
    drawn, _ = fn(key, MEANS)
    assert drawn.dtype == jnp.int64
    slope = jax.grad(lambda mu: fn(key, mu)[1].sum())(MEANS)
    np.testing.assert_array_equal(slope, drawn)


@pytest.mark.parametrize("kind", HOSTED)
def test_without_the_request_the_error_says_how(kind):
    mu = pt.vector("mu")
    with pytest.raises(jaxlink.UnsupportedOpError, match="host_callback=True"):
        jaxlink.function([mu], HOSTED[kind](mu, None))


class ShiftedPoissonRV(RandomVariable):
    """As a third party writes one: without a sampler for JAX."""

    name = "shifted_poisson"
    signature = "(),()->()"
    dtype = "int64"

    @classmethod
    def rng_fn(cls, rng, mu, shift, size):
        return rng.poisson(mu, size) + shift


def of_extras(name, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extras = importlib.import_module("pymc_extras.distributions")
    return getattr(extras, name).dist(*args, size=(2, 3))


THIRD_PARTY = {
    "own": lambda mu: ShiftedPoissonRV()(
        mu, 5, size=(2, 3), rng=pt.random.shared_rng(seed=0), return_next_rng=True
    )[1],
    "generalized_poisson": lambda mu: of_extras("GeneralizedPoisson", mu, 0.2),
    "extreme_value": lambda mu: of_extras("GenExtreme", mu, 1.0, 0.1),
}


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_a_random_variable_of_a_third_party_is_drawn_by_its_rng_fn(name):
    mu, key = pt.vector("mu"), jax.random.key(4)
    rv = THIRD_PARTY[name](mu)
    with pytest.raises(jaxlink.UnsupportedOpError, match="or pass host_callback=True"):
        jaxlink.function([mu], rv)
    fn = jaxlink.function([mu], [rv, rv.owner.outputs[0]], host_callback=True)
    keys = jax.random.split(key, 3)
    lanes, fresh = jax.jit(jax.vmap(fn, (0, None)))(keys, MEANS)
    # The first draw along the first root.
    drawn = jax.random.fold_in(jax.random.fold_in(keys[2], 0), 0)
    bits = [int(b) for b in jax.random.bits(drawn, (4,), "uint32")]
    rng, op = np.random.default_rng(bits), rv.owner.op
    given = pytensor.function([mu], rv.owner.inputs[2:], on_unused_input="ignore")
    operands = given(MEANS)
    wanted = op.rng_fn(rng, *operands, (2, 3))
    np.testing.assert_array_equal(lanes[2], wanted.astype(rv.type.dtype))
    assert len(np.unique(jax.random.key_data(fresh), axis=0)) == 3


class NothingRV(RandomVariable):
    name = "nothing"
    signature = "()->()"
    dtype = "floatX"


@pytest.mark.parametrize("host_callback", [False, True])
def test_python_is_not_advised_where_it_cannot_help(host_callback):
    x = pt.vector("x")
    for out in (
        NothingRV()(1.0, rng=pt.random.shared_rng(seed=1), return_next_rng=True)[1],
        pm.Flat.dist(),
        UnknownShape()(x),
    ):
        with pytest.raises(jaxlink.UnsupportedOpError) as info:
            jaxlink.function(
                [x], out, host_callback=host_callback, on_unused_input="ignore"
            )
        assert "host_callback" not in str(info.value)
        assert len(info.value.obstacles) == 1


def test_a_new_process_draws_the_same():
    program = (
        "import sys, jax, numpy as np\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "jax.config.update('jax_enable_x64', True)\n"
        "import test_callback as t\n"
        "draws = t.hosted('random')(jax.random.key(5), t.MEANS)\n"
        "print(np.asarray(draws).tobytes().hex())\n"
    )
    args = [sys.executable, "-c", program, str(Path(__file__).parent)]
    out = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    here = np.asarray(hosted("random")(jax.random.key(5), MEANS)).tobytes().hex()
    assert out.split()[-1] == here
