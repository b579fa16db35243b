"""The contract of `jaxlink.function`: what goes in, what comes out."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import jaxlink

KEY = jax.random.key(0)


def draw(size=None, name=None):
    return pt.random.shared_rng(seed=0, name=name).normal(size=size)[1]


@pytest.fixture(scope="module")
def quadratic():
    x, y = pt.vector("x"), pt.scalar("y")
    return jaxlink.function([x, y], (x**2).sum() * y, name="quadratic")


# --- outputs -------------------------------------------------------------------------


def test_forms_of_the_outputs():
    x = pt.scalar("x")
    one = jaxlink.function([x], x + 1)(1.0)
    assert isinstance(one, jax.Array)
    for outputs in ([x + 1], (x + 1,)):
        out = jaxlink.function([x], outputs)(1.0)
        assert isinstance(out, tuple)
        assert len(out) == 1
    out = jaxlink.function([x], {"b": x + 1, "a": x})(1.0)
    assert out == {"a": 1.0, "b": 2.0}
    assert jaxlink.function([x], [], on_unused_input="ignore")(1.0) == ()


def test_only_jax_arrays_come_out():
    x = pt.matrix("x")
    n = pt.lscalar("n")
    outputs = [x.shape, x.shape[0], pt.constant(3), x, n, n + 1, pt.constant([1.5])]
    fn = jaxlink.function([x, n], [*outputs, pt.zeros(n)])
    for out, var in zip(fn(np.ones((2, 3)), 4), fn.fgraph.outputs, strict=True):
        assert isinstance(out, jax.Array)
        assert out.dtype == var.type.dtype
        assert not out.weak_type
    assert fn(np.ones((2, 3)), 4)[0].tolist() == [2, 3]


def test_no_inputs():
    assert jaxlink.function([], pt.constant(2.0) * 3)() == 6.0
    x = draw(size=(2,))
    assert jaxlink.function([], x)(KEY).shape == (2,)


def test_an_input_as_output_and_one_variable_twice():
    x = pt.scalar("x")
    y = x * 2
    fn = jaxlink.function([x], [x, y, y, x])
    assert fn(3.0) == (3.0, 6.0, 6.0, 3.0)
    assert jaxlink.function([x], x)(3) == 3.0


def test_compiling_twice_gives_two_equal_functions():
    x = draw()
    one, two = (jaxlink.function([], x) for _ in range(2))
    assert one is not two
    assert one != two
    assert one(KEY) == two(KEY) == one(KEY)


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (None, TypeError, "not NoneType"),
        ([1.0], TypeError, "output 0 must be a PyTensor variable, not float"),
        ({"a": np.ones(3)}, TypeError, "a must be a PyTensor variable, not ndarray"),
        ({1: pt.scalar()}, TypeError, "must be strings"),
        ("x", TypeError, "not str"),
        (
            pytensor.tensor.type_other.NoneConst,
            jaxlink.UnsupportedOpError,
            "which JAX does not have",
        ),
    ],
)
def test_outputs_that_are_none(outputs, error, message):
    with pytest.raises(error, match=message):
        jaxlink.function([], outputs)


# --- inputs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (pt.scalar("x"), TypeError, r"write jaxlink.function\(\[x\], ...\)"),
        ([1.0], TypeError, "input 0 must be a PyTensor variable, not float"),
        ([pt.constant(1.0)], TypeError, "constant"),
    ],
)
def test_inputs_that_are_none(inputs, error, message):
    with pytest.raises(error, match=message):
        jaxlink.function(inputs, pt.constant(1.0), on_unused_input="ignore")


def test_repeated_input():
    x = pt.scalar("x")
    with pytest.raises(ValueError, match="`x` more than once"):
        jaxlink.function([x, x], x)


def test_missing_inputs_are_all_named():
    x, y, z = pt.scalar("x"), pt.vector("y"), pt.matrix("z")
    with pytest.raises(jaxlink.MissingInputError) as error:
        jaxlink.function([x], x + y + z)
    assert "`y` (float64[?])" in str(error.value)
    assert "`z` (float64[?, ?])" in str(error.value)
    assert "`x`" not in str(error.value)


def test_missing_generator_input():
    _, x = pt.random.rng("r").normal()
    with pytest.raises(jaxlink.MissingInputError, match="`r`"):
        jaxlink.function([], x)


def test_unused_inputs():
    x, y = pt.scalar("x"), pt.scalar("y")
    with pytest.raises(ValueError, match="no output depends on `y`"):
        jaxlink.function([x, y], x)
    with pytest.warns(UserWarning, match="no output depends on `y`"):
        fn = jaxlink.function([x, y], x, on_unused_input="warn")
    assert fn(1.0, 2.0) == 1.0
    fn = jaxlink.function([x, y], x, on_unused_input="ignore")
    assert fn(1.0, 2.0) == 1.0
    with pytest.raises(ValueError, match="on_unused_input must be"):
        jaxlink.function([x, y], x, on_unused_input="never")


def test_an_inner_variable_as_input():
    x = pt.scalar("x")
    y = pt.exp(x)
    y.name = "y"
    fn = jaxlink.function([y], y * 2)
    assert fn(3.0) == 6.0
    # A draw too: what is upstream of it is not asked for, so there is no key.
    z = draw()
    assert jaxlink.function([z], z + 1)(1.0) == 2.0


def test_a_shared_variable_as_input():
    s = pytensor.shared(2.0, name="s")
    assert jaxlink.function([s], s * 3)(5.0) == 15.0
    assert s.get_value() == 2.0


def test_updates_are_refused_with_the_way_out():
    s = pytensor.shared(2.0, name="s")
    with pytest.raises(TypeError) as error:
        jaxlink.function([], s, updates={s: s + 1})
    assert "jaxlink.function([s, ...], [new_s, ...])" in str(error.value)
    with pytest.raises(TypeError, match="carry it"):
        jaxlink.function([], s, updates=[(s, s + 1)])


def test_givens():
    x, y = pt.scalar("x"), pt.scalar("y")
    s = pytensor.shared(2.0, name="s")
    out = x * s
    assert jaxlink.function([y], out, givens={x: y + 1})(2.0) == 6.0
    assert jaxlink.function([x, y], out, givens=[(s, y)])(2.0, 5.0) == 10.0
    assert jaxlink.function([], out, givens={x: 4.0})() == 8.0
    assert jaxlink.function([y], [x, out], givens={x: y})(3.0) == (3.0, 6.0)
    # The replacement may contain what it replaces.
    assert jaxlink.function([x], out, givens={s: s + x})(3.0) == 15.0
    with pytest.raises(ValueError, match="`x` is an input"):
        jaxlink.function([x], out, givens={x: y})
    with pytest.raises(TypeError):
        jaxlink.function([x], out, givens={s: pt.vector()})
    with pytest.raises(TypeError, match="givens replaces variables"):
        jaxlink.function([x], out, givens={"s": 1.0})


def test_givens_replace_a_generator():
    rng, key_input = pt.random.shared_rng(seed=1), pt.random.rng("r")
    _, x = rng.normal()
    fn = jaxlink.function([key_input], x, givens={rng: key_input})
    assert fn(KEY) == jax.random.normal(jax.random.fold_in(KEY, 0), (), float)


# --- calls ---------------------------------------------------------------------------


def test_kinds_of_arguments(quadratic):
    expected = 10.0
    for x in (np.array([1.0, 2.0]), jnp.array([1.0, 2.0]), np.array([1, 2])):
        for y in (2, 2.0, np.float32(2), np.float64(2), jnp.float64(2), np.array(2)):
            out = quadratic(x, y)
            assert out == expected
            assert out.dtype == jnp.float64
    assert jax.jit(lambda x: quadratic(x, 2.0))(np.array([1.0, 2.0])) == expected


def test_by_name(quadratic):
    x = np.array([1.0, 2.0])
    assert quadratic(x, y=2.0) == quadratic(y=2.0, x=x) == quadratic(x, 2.0)
    z = draw()
    key_input = pt.scalar("key")
    fn = jaxlink.function([key_input], z * key_input)
    # The key gives way to an input of that name.
    assert str(fn).startswith("JAXFunction fn(key_1: PRNG key, key: float64[])")
    assert fn(KEY, 2.0) == fn(key_1=KEY, key=2.0)


def test_transformations(quadratic):
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(jax.grad(quadratic)(x, 3.0), 6 * x)
    np.testing.assert_array_equal(jax.grad(quadratic, 1)(x, 3.0), 5.0)
    np.testing.assert_array_equal(jax.hessian(quadratic)(x, 3.0), 6 * np.eye(2))
    out, tangent = jax.jvp(quadratic, (x, 3.0), (x, 1.0))
    assert (out, tangent) == (15.0, 35.0)
    xs = np.stack([x, 2 * x])
    mapped = jax.vmap(quadratic, in_axes=(0, None))(xs, 1.0)
    np.testing.assert_array_equal(mapped, [5.0, 20.0])
    assert jax.eval_shape(quadratic, x, 1.0).shape == ()
    assert jax.checkpoint(quadratic)(x, 1.0) == 5.0
    _, outs = jax.lax.scan(lambda c, x: (c, quadratic(x, c)), 1.0, xs)
    np.testing.assert_array_equal(outs, [5.0, 20.0])
    value, grad = jax.value_and_grad(quadratic)(x, 3.0)
    assert value == 15.0
    assert grad.shape == (2,)


def test_no_tracer_leaks():
    x, n = pt.vector("x"), pt.lscalar("n")
    rng, z = pt.random.shared_rng(seed=0).normal(x, 1.0)
    _, w = rng.normal(size=(n,))
    fn = jaxlink.function([x, n], (z.sum() * w).sum())
    with jax.checking_leaks():
        jax.grad(fn, argnums=1)(KEY, np.ones(2), 3)
        jax.vmap(jax.jit(fn, static_argnums=2), (0, None, None))(
            jax.random.split(KEY, 2), np.ones(2), 3
        )


def test_shard_map():
    x = pt.vector("x")
    fn = jaxlink.function([x], pt.exp(x))
    mesh = jax.make_mesh((2,), ("i",))
    spec = jax.P("i")
    sharded = jax.shard_map(fn, mesh=mesh, in_specs=spec, out_specs=spec)
    data = jax.device_put(np.arange(4.0), jax.NamedSharding(mesh, spec))
    out = sharded(data)
    assert len(out.sharding.device_set) == 2
    np.testing.assert_allclose(out, np.exp(np.arange(4.0)))


def test_names_and_signature():
    a, b, c = pt.scalar("beta_log__"), pt.scalar("model::x"), pt.scalar()
    z = draw()
    fn = jaxlink.function([a, b], (z + a + b) * 2)
    assert fn.__name__ == "fn"
    assert list(inspect.signature(fn).parameters) == ["key", "beta_log__", "model__x"]
    assert fn(KEY, **{"model::x": 1.0, "beta_log__": 2.0}) == fn(KEY, 2.0, 1.0)
    fn = jaxlink.function([a, c], [a, c])
    assert str(inspect.signature(fn)) == "(beta_log__, arg0, /)"
    out = a + 1
    out.name = "my out"
    assert jaxlink.function([a], out).__name__ == "my_out"
    assert jaxlink.function([a], out, name="other").__name__ == "other"
    with pytest.raises(TypeError, match="name must be a string, not int"):
        jaxlink.function([a], out, name=5)
    static = jax.jit(quadratic_of_n(), static_argnames="n")
    assert static(x=2.0, n=3).shape == (3,)


def quadratic_of_n():
    x, n = pt.scalar("x"), pt.lscalar("n")
    return jaxlink.function([x, n], pt.zeros(n) + x * n, name="of_n")


def test_repr():
    x, n = pt.matrix("x", shape=(None, 3)), pt.iscalar("n")
    fn = jaxlink.function([x, n], {"a": draw() + x, "b": pt.zeros(n)}, name="model")
    assert repr(fn) == (
        "JAXFunction model(key: PRNG key, x: float64[?, 3], n: static int32[]) -> "
        "{a: float64[?, 3], b: float64[?]}"
    )


def test_two_inputs_of_one_name():
    a, b = pt.scalar("x"), pt.scalar("x")
    fn = jaxlink.function([a, b], a - b)
    assert fn(3.0, 1.0) == 2.0
    with pytest.raises(jaxlink.ArgumentError, match="2 inputs named `x`"):
        fn(3.0, x=1.0)


# --- inspection ----------------------------------------------------------------------


def test_look_inside(quadratic):
    x = np.array([1.0, 2.0])
    names = [eqn.primitive.name for eqn in quadratic.jaxpr(x, y=1.0).eqns]
    assert "reduce_sum" in names
    assert names[-1] == "mul"
    spec = jax.ShapeDtypeStruct((2,), jnp.float64)
    compiled = quadratic.lower(spec, jax.ShapeDtypeStruct((), float)).compile()
    assert compiled((), x, 3.0) == 15.0
    assert "quadratic" in quadratic.lower(x, 1.0).as_text()
    # A copy: rewriting it changes nothing.
    fgraph = quadratic.fgraph
    assert fgraph.inputs[0].name == "x"
    assert fgraph is not quadratic.fgraph
    assert quadratic_of_n().lower(2.0, 3).as_text()


# --- static inputs -------------------------------------------------------------------


def test_one_input_as_shape_and_as_value():
    n, x = pt.lscalar("n"), pt.scalar("x")
    z = pt.random.shared_rng(seed=0).normal(size=(n,))[1]
    fn = jaxlink.function([n, x], (z * n * x).sum(), name="f")
    assert fn.static_argnums == (1,)
    expected = fn(KEY, 5, 2.0)
    sample = jax.random.normal(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), (5,))
    np.testing.assert_allclose(expected, sample.sum() * 10)
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(fn, in_axes=(0, None, None))(keys, 5, 2.0)
    np.testing.assert_allclose(mapped[1], fn(keys[1], 5, 2.0))
    np.testing.assert_allclose(jax.grad(fn, argnums=2)(KEY, 5, 2.0), expected / 2)
    np.testing.assert_allclose(jax.jit(fn, static_argnums=1)(KEY, 5, 2.0), expected)
    np.testing.assert_allclose(
        jax.jit(fn, static_argnums=fn.static_argnums)(KEY, 5, 2.0), expected
    )
    for five in (np.int32(5), np.array(5), jnp.array(5)):
        np.testing.assert_allclose(fn(KEY, five, 2.0), expected)
    for traced, n in [(jax.jit(fn), 5), (jax.vmap(fn, (None, 0, None)), np.arange(2))]:
        with pytest.raises(jaxlink.StaticArgumentError) as error:
            traced(KEY, n, 2.0)
        assert "argument `n` of f() fixes a shape" in str(error.value)
        assert "static_argnums" in str(error.value)


def test_static_vector():
    shape, x = pt.lvector("shape"), pt.scalar("x")
    fn = jaxlink.function([shape, x], pt.full((shape[0], shape[1]), x))
    for value in ([2, 3], (2, 3), np.array([2, 3])):
        assert fn(value, 1.0).shape == (2, 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.5, "cannot be converted without loss"),
        ("5", "must be an array"),
        (np.ones(2, int), "rank 1"),
        (2**40, "does not fit int32"),
    ],
)
def test_bad_static_values(value, message):
    n = pt.iscalar("n")
    fn = jaxlink.function([n], pt.zeros(n))
    with pytest.raises(jaxlink.ArgumentError, match=message):
        fn(value)


def test_shapes_of_arrays_are_static():
    x = pt.matrix("x")
    outputs = [
        pt.arange(x.shape[0] * 2),
        x.reshape((-1, x.shape[1] // 2)),
        x[: x.shape[0] // 2],
        pt.random.shared_rng(seed=0).normal(size=(2, x.shape[0] + 1))[1],
    ]
    fn = jaxlink.function([x], outputs)
    for trace in (fn, jax.jit(fn)):
        shapes = [out.shape for out in trace(KEY, np.ones((2, 4)))]
        assert shapes == [(4,), (4, 2), (1, 4), (2, 3)]
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(fn, (0, None))(keys, np.ones((2, 4)))
    assert mapped[3].shape == (3, 2, 3)


# --- obstacles -----------------------------------------------------------------------


def test_shape_from_a_draw():
    n_rng, z_rng = (pt.random.shared_rng(seed=i) for i in range(2))
    n = n_rng.poisson(3.0)[1]
    n.name = "n_events"
    z = z_rng.normal(size=(n,))[1]
    with pytest.raises(jaxlink.DynamicShapeError) as error:
        jaxlink.function([], z)
    message = str(error.value)
    assert "normal_rv" in message
    assert "`n_events`, which is a draw of poisson" in message
    assert "upper bound" in message


def test_shape_from_a_float_input():
    x = pt.scalar("x")
    with pytest.raises(jaxlink.DynamicShapeError, match=r"`x`.* input of type float64"):
        jaxlink.function([x], pt.zeros(x.astype("int64")))


class Mystery(pytensor.graph.op.Op):
    """An Op without a rule."""

    def make_node(self, x):
        return pytensor.graph.basic.Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = inputs[0]


class Riddle(Mystery):
    """Another one."""


def test_one_error_lists_all_obstacles():
    x = pt.vector("x")
    y = Mystery()(x) + Mystery()(x * 2)
    y = Riddle()(y)
    n = pt.random.shared_rng(seed=1).poisson(3.0, name="n")[1]
    with pytest.raises(jaxlink.UnsupportedOpError) as error:
        jaxlink.function([x], [y, pt.zeros(n)])
    assert isinstance(error.value, jaxlink.DynamicShapeError)
    message = str(error.value)
    assert message.startswith("3 things keep this graph")
    assert "Mystery" in message
    assert "Riddle" in message
    assert "is a draw of poisson" in message
    assert "@jaxlink.rule(Riddle)" in message
    assert len(error.value.obstacles) == 3


def test_a_rule_of_ones_own():
    class Doubled(Mystery):
        pass

    @jaxlink.rule(Doubled)
    def doubled(op, node):
        return lambda x: 2 * x

    x = pt.vector("x")
    assert jaxlink.function([x], Doubled()(x).sum())(np.ones(3)) == 6.0
    with pytest.raises(jaxlink.RuleError, match="already has a rule"):
        jaxlink.rule(Doubled)(doubled)
    with pytest.raises(jaxlink.RuleError, match="takes Op classes"):
        jaxlink.rule(Doubled())


def test_a_weak_type_does_not_spread():
    class Weak(Mystery):
        pass

    jaxlink.rule(Weak)(lambda op, node: lambda x: jnp.asarray(2.0))
    x = pt.scalar("x")
    assert jnp.asarray(2.0).weak_type
    assert not jaxlink.function([x], Weak()(x))(1.0).weak_type


@pytest.mark.parametrize(
    "result",
    [
        lambda x: x.astype(jnp.float32),
        lambda x: x[0],
        lambda x: (x, x),
        lambda x: "x",
    ],
)
def test_a_rule_that_breaks_its_promise(result):
    class Broken(Mystery):
        pass

    jaxlink.rule(Broken)(lambda op, node: result)
    x = pt.vector("x")
    with pytest.raises(jaxlink.RuleError, match="rule of"):
        jaxlink.function([x], Broken()(x))(np.ones(3))
