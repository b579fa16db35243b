"""Inner graphs, conditions, checks and gradient modifiers."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from pytensor import ifelse
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import (
    disconnected_grad,
    grad_clip,
    grad_scale,
    grad_undefined,
    zero_grad,
)
from pytensor.raise_op import Assert

import jaxlink


@pytest.fixture
def x():
    return pt.scalar("x")


# --- gradients that authors set ------------------------------------------------------


def test_gradient_modifiers(x):
    outputs = [
        zero_grad(x**2) * x,
        disconnected_grad(x**2) * x,
        10 * grad_clip(x**2, -1.0, 1.0),
        10 * grad_clip(x**2, -2.0, 3.0),
        grad_scale(x**2, 0.5),
        grad_scale(x**2, -3.0),
    ]
    # All at once: those of different bounds must not be merged.
    fn = jaxlink.function([x], outputs)
    assert fn(2.0) == (8.0, 8.0, 40.0, 40.0, 4.0, 4.0)
    jacobian = jax.jacrev(fn)(2.0)
    expected = [pytensor.grad(out, x).eval({x: 2.0}) for out in outputs]
    np.testing.assert_array_equal(jacobian, expected)
    np.testing.assert_array_equal(expected, [4.0, 4.0, 4.0, 12.0, 2.0, -12.0])
    forward = jaxlink.function([x], [outputs[0], outputs[5]])
    assert jax.jacfwd(forward)(2.0) == (4.0, -12.0)


def test_undefined_gradient(x):
    fn = jaxlink.function([x], pytensor.gradient.UndefinedGrad()(x) * 2)
    assert fn(2.0) == 4.0
    with pytest.raises(jaxlink.ArgumentError, match="through `x` is undefined"):
        jax.grad(fn)(2.0)


def squared_with_pullback(inline=False):
    """x**2 + y, whose author says that its gradient is (1000 * g, undefined)."""
    x, y = pt.scalar("x"), pt.scalar("y")

    def pullback(inputs, outputs, cotangents):
        return [
            1000.0 * cotangents[0] * inputs[0],
            grad_undefined(OpFromGraph, 1, inputs[1]),
        ]

    return OpFromGraph([x, y], [x**2 + y], pullback=pullback, inline=inline)


@pytest.mark.parametrize("inline", [False, True])
def test_pullback_of_an_op_from_graph(x, inline):
    y = pt.scalar("y")
    out = squared_with_pullback(inline)(x, y) * 3
    fn = jaxlink.function([x, y], out)
    assert fn(2.0, 1.0) == 15.0
    assert jax.grad(fn)(2.0, 1.0) == 6000.0
    assert jax.jit(jax.grad(fn))(2.0, 1.0) == 6000.0
    assert jnp.isnan(jax.grad(fn, argnums=1)(2.0, 1.0))
    mapped = jax.vmap(jax.grad(fn), (0, None))(np.array([1.0, 2.0]), 1.0)
    np.testing.assert_array_equal(mapped, [3000.0, 6000.0])


def test_pullback_with_a_stream_and_a_static_operand():
    """The operands that are no numbers pass by the custom gradient."""
    a, r, n = pt.scalar("a"), pt.random.rng("r"), pt.lscalar("n")
    _, z = r.normal(size=(n,))

    def pullback(inputs, outputs, cotangents):
        gradient = 7.0 * cotangents[0].sum()
        others = [pytensor.gradient.disconnected_type() for _ in range(2)]
        return [gradient, *others]

    op = OpFromGraph([a, r, n], [z * a], pullback=pullback)
    x, m = pt.scalar("x"), pt.lscalar("m")
    rng = pt.random.shared_rng(seed=0)
    fn = jaxlink.function([x, m], op(x, rng, m).sum())
    assert fn.static_argnums == (2,)
    assert jax.grad(fn, argnums=1)(jax.random.key(0), 2.0, 3) == 21.0


def test_nested_op_from_graph(x):
    a = pt.scalar("a")
    inner = OpFromGraph([a], [pt.exp(a), a + 1])
    first, second = inner(a * 2)
    outer = OpFromGraph([a], [first * second])
    fn = jaxlink.function([x], outer(x))
    np.testing.assert_allclose(fn(0.5), np.e * 2)


def test_shape_inside_an_op_from_graph():
    v, n = pt.vector("v"), pt.lscalar("n")
    op = OpFromGraph([v, n], [v[:n] * n])
    y, m = pt.vector("y"), pt.lscalar("m")
    fn = jaxlink.function([y, m], op(y, m))
    assert fn.static_argnums == (1,)
    np.testing.assert_array_equal(fn(np.arange(4.0), 2), [0.0, 2.0])


# --- checks --------------------------------------------------------------------------


def test_checks_are_free_unless_checkified(x):
    fn = jaxlink.function([x], Assert("x must be {positive}")(x, x > 0) * 2)
    assert fn(-1.0) == -2.0
    checked = checkify.checkify(fn)
    error, out = checked(-1.0)
    assert out == -2.0
    with pytest.raises(
        checkify.JaxRuntimeError, match=r"AssertionError: x must be \{po"
    ):
        error.throw()
    checked(1.0)[0].throw()
    error, _ = checkify.checkify(jax.jit(jax.grad(fn.checked)))(-1.0)
    assert "x must be {positive}" in error.get()
    # No effect is left in a program without checks, so that JAX calls it fast.
    assert not fn.jaxpr(1.0).effects
    assert fn.checked.jaxpr(1.0).effects
    assert fn.checked(-1.0) == -2.0
    assert pickle.loads(pickle.dumps(fn.checked)).jaxpr(1.0).effects


def test_every_condition_of_a_check_counts(x):
    out = Assert("between 0 and 9")(x, x > 0, x < 9)
    checked = checkify.checkify(jaxlink.function([x], out))
    assert [bool(checked(value)[0].get()) for value in (-1.0, 5.0, 10.0)] == [1, 0, 1]


def test_checks_of_what_is_known(x):
    with pytest.raises(jaxlink.CompileError, match=r"always fails.*never so"):
        jaxlink.function([x], Assert("never so")(x, pt.constant(False)))
    v = pt.vector("v")
    fn = jaxlink.function([v], Assert("three!")(v, pt.eq(v.shape[0], 3)))
    assert fn(np.ones(3)).shape == (3,)
    with pytest.raises(AssertionError, match="three!"):
        fn(np.ones(2))


# --- ifelse --------------------------------------------------------------------------


def test_ifelse(x):
    y = pt.vector("y")
    fn = jaxlink.function([x, y], ifelse(x, y.sum(), pt.exp(y).sum()))
    values = np.array([1.0, 2.0])
    assert fn(1.0, values) == 3.0
    assert fn(-2.0, values) == 3.0
    np.testing.assert_allclose(fn(0.0, values), np.exp(values).sum())
    np.testing.assert_allclose(jax.grad(fn, 1)(0.0, values), np.exp(values))
    mapped = jax.vmap(fn, (0, None))(np.array([0.0, 1.0]), values)
    np.testing.assert_allclose(mapped, [np.exp(values).sum(), 3.0])


def test_ifelse_is_lazy(x):
    """Work that one branch alone needs is inside that branch of ``lax.cond``."""
    y = pt.vector("y")
    fn = jaxlink.function([x, y], ifelse(x > 0, pt.sin(y).sum(), pt.exp(y).sum()))
    jaxpr = str(fn.jaxpr(1.0, np.ones(3)))
    assert "cond[" in jaxpr
    assert "sin" not in jaxpr.split("cond[")[0]
    assert "exp" not in jaxpr.split("cond[")[0]


def test_ifelse_with_a_known_condition():
    v = pt.vector("v")
    branches = ifelse(pt.gt(v.shape[0], 2), v.sum(), v.prod())
    fn = jaxlink.function([v], branches)
    assert fn(np.full(2, 3.0)) == 9.0
    assert fn(np.full(3, 3.0)) == 9.0
    assert "cond" not in str(fn.jaxpr(np.ones(3)))


def test_ifelse_of_different_shapes(x):
    y = pt.vector("y")
    fn = jaxlink.function([x, y], ifelse(x, y, pt.concatenate([y, y])))
    with pytest.raises(jaxlink.ArgumentError, match=r"shapes \(2,\) and \(4,\)"):
        fn(1.0, np.ones(2))
