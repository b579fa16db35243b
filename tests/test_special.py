"""Symbolic special functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest
from support import check

import jaxlink

ROWS = np.array([[1.0, 2, 3], [-820, 0, 820], [0.5, -np.inf, 0.5], [1e5, 1e5, 1e5]])
x, y = pt.matrix("x"), pt.matrix("y")


@pytest.mark.parametrize("fn", [pt.special.softmax, pt.special.log_softmax])
def test_softmax(fn):
    outputs = [fn(x, axis=axis) for axis in (0, 1, -1, None, (0, 1))]
    check([x], outputs, [ROWS[:2]])
    check([x], fn(x, axis=1), [ROWS])
    z = pt.matrix("z", dtype="float32")
    check([z], fn(z, axis=1), [ROWS[:2]])


def test_logsumexp():
    outputs = [pt.logsumexp(x, axis=axis) for axis in (0, 1, None)]
    outputs.append(pt.logsumexp(x, axis=1, keepdims=True))
    check([x], outputs, [ROWS])
    check([x], pt.logsumexp(x, axis=1), [np.full((2, 3), -np.inf)], grad=False)


def test_logaddexp():
    v = pt.vector("v")
    check([x, v], [pt.logaddexp(x, v), pt.logaddexp(v, x, x)], [ROWS, [0.0, 1, -3]])
    # PyTensor's gradient is a graph in an Op of its own, which may be differentiated.
    slopes = pt.grad(pt.logaddexp(x, v).sum(), [x, v])
    check([x, v], slopes, [ROWS[:2], [0.0, 1, -3]], grad_atol=1e-15)


def test_products_with_logarithms():
    points = np.array([0.0, 0.5, 2, 820])
    outputs = [pt.special.xlogy(x, y), pt.special.xlog1py(x, y)]
    check([x, y], outputs, np.meshgrid(points, points))
    a, b = pt.col("a"), pt.row("b")
    outputs = [pt.special.xlogy(a, b), pt.special.xlog1py(a, b)]
    # PyTensor's gradient does not sum over what was broadcast.
    check([a, b], outputs, [points[:, None], points[None]], grad=False)


def test_betaln_and_friends():
    v = pt.vector("v")
    outputs = [
        pt.special.betaln(v, v + 1),
        pt.special.beta(v, 2.0),
        pt.special.poch(v, 2),
        pt.special.factorial(v),
        pt.special.logit(v / 10),
    ]
    check([v], outputs, [[0.3, 1, 2.5, 7]], rtol=1e-8)


def test_gradients_far_out_are_finite():
    """Of the logarithms of sigmoid, of its complement, and of the normal tails."""
    v = pt.vector("v")
    far = jnp.array([-820.0, -40, -1, 0, 1, 40, 820])
    for out in (
        pt.log(pt.sigmoid(v)),
        pt.log(1 - pt.sigmoid(v)),
        pt.log1p(pt.exp(v)),
        pt.log1mexp(-pt.softplus(v) - 1e-3),
    ):
        fn = jaxlink.function([v], out)
        assert np.isfinite(fn(far)).all()
        assert np.isfinite(jax.grad(lambda v, fn=fn: fn(v).sum())(far)).all()
    fn = jaxlink.function([v], pt.ndtri_exp(v))
    tail = -jnp.array([1e-12, 0.5, 19.9, 20.1, 800, 1e6])
    assert np.isfinite(jax.grad(lambda v: fn(v).sum())(tail)).all()
