"""Ops that no area's tests compare with PyTensor: a row each, value and gradient."""

import jax
import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from pytensor import wrap_jax
from pytensor.assumptions.specify import assume
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.ops import DeepCopyOp, ViewOp
from pytensor.conditional.op import ifelse
from pytensor.gradient import (
    disconnected_grad,
    grad_clip,
    grad_scale,
    undefined_grad,
    zero_grad,
)
from pytensor.printing import Print
from pytensor.raise_op import Assert
from pytensor.tensor.basic import PermuteRowElements
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.extra_ops import CpuContiguous
from pytensor.tensor.math import MulWithoutZeros, ProdWithoutZeros
from pytensor.tensor.special import logaddexp, xlog1py, xlogy
from support import check, compared

import jaxlink

VECTOR = np.array([0.5, -2.0, 3.0])
MATRIX = np.array([[2.0, -1.0, 0.5], [0.25, 3.0, 1.0], [1.0, 0.5, -4.0]])

x, y, m = pt.vector("x"), pt.vector("y"), pt.matrix("m")
fixed = pt.vector("fixed", shape=(3,))


@wrap_jax
def twice(a):
    return 2 * a


def _square_of_complex(a, b):
    z = pt.complex(a, b)
    return pt.real(z) ** 2 + 3 * pt.imag(z) * pt.real(z)


EXAMPLES = {
    "Assert": ([x], Assert("too small")(x, (x > -9).all()) ** 2),
    "Complex": ([x, y], _square_of_complex(x, y)),
    "CpuContiguous": ([m], CpuContiguous()(m.T) * 2),
    "DeepCopyOp": ([x], DeepCopyOp()(x) * 2),
    "DisconnectedGrad": ([x], disconnected_grad(x) * x),
    "GradClip": ([x], grad_clip(x, -1.0, 2.0) ** 2),
    "GradScale": ([x], grad_scale(x, 3.0) ** 2),
    "IfElse": ([x, y], ifelse(x.sum() > 0, x * y, y - x)),
    "JAXOp": ([fixed], twice(fixed) * fixed),
    "LogAddExp": ([x, y], logaddexp(x, y)),
    "MulWithoutZeros": ([x, y], Elemwise(MulWithoutZeros(ps.upcast_out))(x, y)),
    "OpFromGraph": ([x, y], OpFromGraph([x, y], [pt.exp(x) * y])(y, x)),
    "PermuteRowElements": (
        [m],
        PermuteRowElements(inverse=False)(m, pt.constant([2, 0, 1])),
    ),
    "Print": ([x], Print("x")(x) ** 2),
    "ProdWithoutZeros": ([m], ProdWithoutZeros(axis=0)(m)),
    "SLogDet": ([m], pt.linalg.slogdet(m)[1] * pt.linalg.slogdet(m)[0]),
    "SpecifyAssumptions": ([m], assume(m, symmetric=True) * 2),
    "UndefinedGrad": ([x], undefined_grad(x) ** 2),
    "ViewOp": ([x], ViewOp()(x) ** 2),
    "XLog1PY": ([x, y], xlog1py(x, abs(y))),
    "XLogY": ([x, y], xlogy(x, abs(y))),
    "ZeroGrad": ([x], zero_grad(x) * x),
}

# In PyTensor.
WITHOUT_GRADIENT = (
    "Complex",
    "DeepCopyOp",
    "MulWithoutZeros",
    "ProdWithoutZeros",
    "UndefinedGrad",
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name):
    inputs, output = EXAMPLES[name]
    values = {x: VECTOR, y: VECTOR[::-1] + 0.25, m: MATRIX, fixed: VECTOR}
    grad = name not in WITHOUT_GRADIENT
    check(inputs, output, [values[var] for var in inputs], grad=grad)


def test_parts_of_complex_numbers_have_gradients():
    output = _square_of_complex(x, y).sum()
    fn = jaxlink.function([x, y], output)
    a, b = VECTOR, VECTOR[::-1]
    by_a, by_b = jax.grad(fn, (0, 1))(a, b)
    np.testing.assert_allclose(by_a, 2 * a + 3 * b)
    np.testing.assert_allclose(by_b, 3 * a)
    compared([output], gradients=True)
