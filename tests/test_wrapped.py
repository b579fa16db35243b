"""JAX functions and prints in a graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor import wrap_jax
from pytensor.link.jax.ops import JAXOp
from pytensor.printing import Print

import jaxlink

X = jnp.array([1.0, -2.0, 3.0])


@wrap_jax
def sine_and_count(x, k):
    return {"sine": jnp.sin(x) * k.astype(x.dtype), "count": (x > 0).sum(dtype="int32")}


def test_a_jax_function_is_one_in_the_graph_too():
    x, k = pt.vector("x", shape=(3,)), pt.iscalar("k")
    out = sine_and_count(x, k)
    fn = jaxlink.function([x, k], [out["sine"] + 1, out["count"]])
    sine, count = jax.jit(fn)(X, np.int32(2))
    np.testing.assert_allclose(sine, 2 * np.sin(X) + 1)
    assert (count, count.dtype) == (2, "int32")
    grad = jax.grad(lambda x: fn(x, np.int32(2))[0].sum())(X)
    np.testing.assert_allclose(grad, 2 * np.cos(X))
    batch = jax.vmap(fn, (0, None))(jnp.stack([X, -X]), np.int32(2))
    np.testing.assert_array_equal(batch[1], [2, 1])


def test_pytensors_gradient_of_a_jax_function_compiles():
    x, k = pt.vector("x", shape=(3,)), pt.iscalar("k")
    grad = pt.grad(sine_and_count(x, k)["sine"].sum(), x)
    fn = jaxlink.function([x, k], grad)
    np.testing.assert_allclose(fn(X, np.int32(2)), 2 * np.cos(X))


def test_a_jax_function_of_another_shape_is_an_error():
    op = JAXOp([pt.dvector], [pt.TensorType("float64", (2,))], lambda x: (x,), "same")
    x = pt.dvector("x")
    fn = jaxlink.function([x], op(x))
    np.testing.assert_array_equal(fn(X[:2]), X[:2])
    with pytest.raises(jaxlink.RuleError, match="`same` returned an array of shape"):
        fn(X)


def test_prints_happen_at_each_call(capsys):
    x = pt.vector("x")
    fn = jaxlink.function([x], Print("x is", attrs=("shape", "max"))(x) * 2)
    for _ in range(2):
        np.testing.assert_array_equal(fn(X), 2 * X)
        jax.effects_barrier()
        assert capsys.readouterr().out == "x is shape = (3,)\nx is max = 3.0\n"
    np.testing.assert_array_equal(jax.grad(lambda x: fn(x).sum())(X), [2.0, 2.0, 2.0])
    jax.effects_barrier()
    capsys.readouterr()
    jax.vmap(fn)(jnp.stack([X, 2 * X]))
    jax.effects_barrier()
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == ["x is max = 3.0", "x is max = 6.0"] + 2 * ["x is shape = (3,)"]


def test_a_print_of_what_is_known_is_printed_too(capsys):
    length = Print("length")(pt.constant(3))
    fn = jaxlink.function([], length * 2)
    assert fn() == fn() == 6
    jax.effects_barrier()
    assert capsys.readouterr().out == 2 * "length __str__ = 3\n"
