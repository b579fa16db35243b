"""Ops repeated over batches, where `jax.vmap` alone is not enough."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.blockwise import (
    Blockwise,
    BlockwiseWithCoreShape,
    OpWithCoreShape,
)
from pytensor.tensor.linalg import cholesky
from support import check

import jaxlink
from jaxlink.errors import CompileError

x, i = pt.matrix("x"), pt.lmatrix("i")


class Repeat(Op):
    """``x`` so many times: the number must be known."""

    __props__ = ()
    gufunc_signature = "(n),()->(k)"

    def make_node(self, x, times):
        return Apply(self, [x, times], [pt.vector()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = np.tile(inputs[0], int(inputs[1]))


@jaxlink.rule(Repeat, static=(1,))
def repeat(op, node):
    return lambda x, times: jnp.tile(x, int(times))


def test_an_operand_that_must_be_known_and_has_a_batch():
    repeated = Blockwise(Repeat())(x, pt.as_tensor([2, 2, 2]))
    value = np.arange(6.0).reshape(3, 2)
    fn = check([x], repeated, [value], grad=False)
    np.testing.assert_array_equal(jax.grad(lambda x: fn(x)[0].sum())(value), 2)
    times = pt.lvector("times")
    fn = jaxlink.function([x, times], Blockwise(Repeat())(x[None, 0], times))
    assert fn.static_argnums == (1,)
    np.testing.assert_array_equal(fn(value, np.array([1, 1])), [[0, 1], [0, 1]])


def test_elements_of_different_shapes():
    fn = jaxlink.function([x], Blockwise(Repeat())(x, pt.as_tensor([2, 3])))
    with pytest.raises(CompileError, match=r"different shapes .* \[\(4,\), \(6,\)\]"):
        fn(np.ones((2, 2)))


def test_a_batch_too_long_to_unroll():
    times = pt.as_tensor(np.full(1000, 2))
    fn = jaxlink.function([x], Blockwise(Repeat())(x[None, 0], times))
    with pytest.raises(CompileError, match="unrolls 1 to 64 elements"):
        fn(np.ones((1, 2)))


class Unmapped(Op):
    __props__ = ()
    gufunc_signature = "(n)->(n)"

    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = inputs[0] * 2


@jaxlink.rule(Unmapped)
def unmapped(op, node):
    @jax.custom_batching.custom_vmap
    def double(x):
        return x * 2

    @double.def_vmap
    def refuse(axis_size, in_batched, x):
        raise NotImplementedError("Batching rule for 'double' not implemented")

    return double


def test_an_op_that_jax_cannot_map():
    out = Blockwise(Unmapped())(pt.exp(x))
    check([x], out, [np.arange(6.0).reshape(3, 2)], grad=False, vmap=False)


@pytest.mark.parametrize("wrapper", [OpWithCoreShape, BlockwiseWithCoreShape])
def test_an_op_that_is_given_the_shape_of_its_output(wrapper):
    t, shape = pt.tensor3("t"), pt.lvector("shape")
    out = wrapper([t, shape], [cholesky(t)])(t, t.shape[1:])
    value = np.array([[[2.0, 0], [1, 3]], [[1.0, 0], [0, 2]]])
    check([t], out, [value], vmap=False, rtol=1e-8, atol=1e-10)
