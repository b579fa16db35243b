"""Gradients: PyTensor's, or the true one, and the choice at every tie and kink.

Wherever an elementwise Op has a finite value, its gradient is compared with PyTensor's
on a grid; where PyTensor's is nan or missing, with central differences.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from jax.scipy.special import erfc, logsumexp
from jax.test_util import check_grads
from pytensor.gradient import NullTypeGradError
from pytensor.graph.utils import MethodNotDefined
from pytensor.tensor.elemwise import CAReduce, Elemwise
from pytensor.tensor.math import MulWithoutZeros, ProdWithoutZeros
from support import (
    FINITE,
    SCALAR_OPS,
    compared,
    gradients_in_pytensor,
    grid,
    reference,
)

import jaxlink
from jaxlink.dispatch.scalar.rules import ARITHMETIC, RELATIONS

DOC = Path(__file__).parents[1] / "docs" / "gradients.md"


def gradients(fn, *args):
    """``jax.grad`` of the sum of the outputs with respect to all arguments."""
    which = tuple(range(len(args)))
    return jax.jit(jax.grad(lambda *args: fn(*args).sum(), which))(*args)


def pytensors(inputs, output, values):
    """PyTensor's gradient of the sum, or nan where it has none."""
    cost = output.astype("float64").sum()
    try:
        return gradients_in_pytensor(inputs, cost, values, inputs)
    except (NotImplementedError, MethodNotDefined, NullTypeGradError):
        return [np.full(np.shape(v), np.nan) for v in values]


def one_sided(inputs, output, values, which):
    """Difference quotients from the left and from the right, for each element."""
    with np.errstate(all="ignore"):
        step = 1e-6 * np.maximum(np.abs(values[which]), 1e-2)
        at, below, above = (
            reference(
                inputs,
                [output],
                [v + sign * step if i == which else v for i, v in enumerate(values)],
            )[0]
            for sign in (0, -1, 1)
        )
        return (at - below) / step, (above - at) / step


# --- elementwise ---------------------------------------------------------------------

FLOAT_ROWS = [
    row
    for row in (*ARITHMETIC, *RELATIONS, ps.Abs, ps.Second, ps.Switch)
    # No floats, or (the last) jumps that PyTensor does not differentiate.
    if row not in (ps.AND, ps.OR, ps.XOR, ps.Invert, MulWithoutZeros)
]
# Points that are not compared: PyTensor's gradient or the differences are wrong.
WRONG = {
    # Its gradient squares x, and so overflows or underflows.
    ps.ArcTan2: lambda x, y: np.hypot(x, y) < 1e-15,
    ps.TrueDiv: lambda x, y: np.abs(y) < 1e-15,
    # Underflows to zero beside points where it has no value.
    ps.Pow: lambda x, y: (x < 0) & ((np.abs(y) > 20) | (x > -1e-15) | np.isinf(x)),
    # Both bounds get the gradient of an x between them, if they are swapped.
    ps.Clip: lambda x, low, high: low > high,
}


def mesh(row, dtype):
    """All combinations of points, where the value is finite."""
    op = SCALAR_OPS[row]
    arity = 2 if op.nin == -1 else op.nin
    axis = grid(dtype) if arity < 3 else FINITE[:8].astype(dtype)
    points = np.array(np.meshgrid(*[axis] * arity)).reshape(arity, -1)
    inputs = [pt.vector(dtype=dtype) for _ in range(arity)]
    output = Elemwise(op)(*inputs)
    value = reference(inputs, [output], points)[0]
    return inputs, output, points[:, np.isfinite(value)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", FLOAT_ROWS)
def test_elementwise(row, dtype):
    inputs, output, points = mesh(row, dtype)
    if not output.type.dtype.startswith("float"):
        assert output.type.dtype == "bool"  # no gradient
        return
    compared([output], gradients=True)
    got = gradients(jaxlink.function(inputs, output, on_unused_input="ignore"), *points)
    wanted = pytensors(inputs, output, points)
    assert {g.dtype.name for g in got} == {dtype}
    for i, (g, w) in enumerate(zip(got, wanted, strict=True)):
        g = np.asarray(g)
        known = ~np.isnan(w)
        if row in WRONG:
            known &= ~WRONG[row](*points)
        rtol, tiny = (1e-10, 1e-300) if dtype == "float64" else (2e-5, 1e-37)
        np.testing.assert_allclose(
            g[known], w[known].astype(dtype), rtol=rtol, atol=tiny
        )
        if dtype == "float32" or known.all():
            continue
        # PyTensor's is nan: if the function is smooth there, ours is right.
        left, right = one_sided(inputs, output, points, i)
        with np.errstate(all="ignore"):
            smooth = ~known & np.isclose(left, right, rtol=1e-3, atol=1e-3)
        if row in WRONG:
            smooth &= ~WRONG[row](*points)
        np.testing.assert_allclose(g[smooth], right[smooth], rtol=1e-3, atol=1e-3)


def test_forward_mode_agrees():
    """All rows of one operand at once: their Jacobians are diagonal."""
    x = pt.vector("x")
    rows = [
        row
        for row in FLOAT_ROWS
        if SCALAR_OPS[row].nin == 1 and row not in (*RELATIONS, ps.ArcCosh)
    ]
    fn = jaxlink.function([x], pt.stack([Elemwise(SCALAR_OPS[row])(x) for row in rows]))
    points = jnp.array([0.3, 0.4, 0.9])
    forward = jax.jvp(fn, (points,), (jnp.ones(3),))[1]
    backward = jax.jacrev(fn)(points)
    np.testing.assert_allclose(
        forward, np.diagonal(backward, axis1=1, axis2=2), rtol=1e-12
    )


# --- reductions ----------------------------------------------------------------------

ROWS = np.array(
    [[1.0, 2, 3, 4], [0, 2, 3, -1], [0, 0, 3, 2], [2, 2, -1, 2], [-0.0, 0, -1, -1]]
)
REDUCTIONS = {
    "sum": lambda x: pt.sum(x, axis=1),
    "prod": lambda x: pt.prod(x, axis=1),
    "max": lambda x: pt.max(x, axis=1),
    "min": lambda x: pt.min(x, axis=1),
    "max of all": lambda x: pt.max(x),
    "max of axis 0": lambda x: pt.max(x, axis=0),
    "max of two axes": lambda x: pt.max(x[:, None], axis=(0, 2)),
    "max with an initial value": lambda x: pt.max(x, axis=1, initial=-np.inf),
    "ptp": lambda x: pt.ptp(x, axis=1),
    "mean": lambda x: pt.mean(x, axis=1),
    "var": lambda x: pt.var(x, axis=1),
    "cumsum": lambda x: pt.cumsum(x, axis=1),
    "cumprod": lambda x: pt.cumprod(x, axis=1),
    "sort": lambda x: pt.sort(x, axis=1, kind="stable"),
    "sum in single": lambda x: pt.sum(x, axis=1, dtype="float32"),
    "sum in integers": lambda x: pt.sum(x, axis=1, dtype="int64") * x[:, 0],
    "argmax": lambda x: pt.argmax(x, axis=1) * x[:, 0],
    "logsumexp": lambda x: pt.logsumexp(400 * x, axis=1),
    "softmax": lambda x: pt.special.softmax(400 * x, axis=1),
    "log_softmax": lambda x: pt.special.log_softmax(400 * x, axis=1),
    # Without a gradient in PyTensor:
    "CAReduce{maximum}": lambda x: CAReduce(ps.maximum, axis=1)(x),
    "CAReduce{add}": lambda x: CAReduce(ps.add, axis=1)(x),
    "CAReduce{mul}": lambda x: CAReduce(ps.mul, axis=1)(x),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_reductions(dtype):
    """Of each row, with weights that tell elements apart; all rows in one program."""
    x = pt.matrix("x", dtype=dtype)
    values = ROWS.astype(dtype)
    outputs = {name: fn(x) for name, fn in REDUCTIONS.items()}
    weights = {
        name: np.cos(np.arange(v.size)).reshape(v.shape) + 1.5
        for name, v in zip(
            outputs, reference([x], outputs.values(), [values]), strict=True
        )
    }
    costs = {name: (out * weights[name]).sum() for name, out in outputs.items()}
    fn = jaxlink.function([x], pt.stack([c.astype("float64") for c in costs.values()]))
    compared(list(costs.values()), gradients=True)
    got = dict(zip(outputs, jax.jit(jax.jacrev(fn))(values), strict=True))
    (forward,) = jax.jit(lambda t: jax.jvp(fn, (values,), (t,))[1:])(values)
    rtol = 1e-9 if dtype == "float64" else 1e-5
    for name, cost in costs.items():
        (wanted,) = pytensors([x], cost, [values])
        g = np.asarray(got[name])
        known = ~np.isnan(wanted)
        assert g.dtype == dtype
        np.testing.assert_allclose(
            g[known], wanted[known].astype(dtype), rtol=rtol, atol=rtol, err_msg=name
        )
        if known.all() or dtype == "float32":
            continue
        for i, j in np.argwhere(~known):
            step = 1e-6 * (np.arange(20).reshape(5, 4) == 4 * i + j)
            at, below, above = (
                reference([x], [cost], [values + sign * step])[0] for sign in (0, -1, 1)
            )
            if np.isclose(at - below, above - at, rtol=1e-3, atol=1e-12):
                np.testing.assert_allclose(g[i, j], (above - at) / 1e-6, rtol=1e-3)
    # Sums of many terms that may cancel: what counts is how large the terms are.
    terms = np.stack([np.asarray(g, "float64") * values for g in got.values()])
    error = np.abs(np.asarray(forward) - terms.sum((1, 2)))
    assert (error <= 10 * rtol * (1 + np.abs(terms).sum((1, 2)))).all()


def test_product_without_zeros():
    x = pt.matrix("x")
    fn = jaxlink.function([x], ProdWithoutZeros(1)(x))
    (got,) = gradients(fn, ROWS[1:3])
    np.testing.assert_allclose(got, [[0, -3, -2, 6], [0, 0, 2, 3]])


def test_second_derivatives():
    """Of the rules that have a derivative of their own."""
    x, y = pt.vectors("x", "y")
    outputs = [x**y, pt.arctan2(x, y), x % y, pt.expm1(x), pt.max(x) * y]
    fn = jaxlink.function([x, y], pt.stack([out.sum() for out in outputs]))
    args = jnp.array([0.5, 2.3]), jnp.array([1.5, 0.7])
    check_grads(fn, args, order=2, modes=["fwd", "rev"], rtol=1e-4)


def test_power_at_zero_under_a_second_derivative():
    x = pt.vector("x")
    y = pt.vector("y")
    fn = jaxlink.function([x, y], x**y)
    second = jax.hessian(lambda x, y: fn(x, y).sum())
    powers = jnp.array([0.0, 1, 2, 3])
    got = jnp.diagonal(second(jnp.zeros(4), powers))
    np.testing.assert_array_equal(got, [0, 0, 2, 0])


# --- conventions: the rows of the tables of docs/gradients.md ------------------------


def documented():
    for line in DOC.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            numbers = [[float(n) for n in cell.split(",")] for cell in cells[1:]]
            yield pytest.param(
                cells[0].strip("`"), *numbers, id=f"{cells[0]} {cells[1]}"
            )


@pytest.mark.parametrize(
    ("expression", "point", "ours", "pytensors_", "jaxs"), list(documented())
)
def test_convention(expression, point, ours, pytensors_, jaxs):
    point = np.array(point)
    x = pt.vector("x")
    output = evaluate(expression, x, pt)
    for wanted, got in (
        (ours, gradients(jaxlink.function([x], output), point)[0]),
        (pytensors_, pytensors([x], output, [point])[0]),
        (jaxs, gradients(lambda x: evaluate(expression, x, jnp), point)[0]),
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


def evaluate(expression, x, module):
    names = {"logsumexp": logsumexp, "erfc": erfc, **vars(module)}
    return eval(expression, {**names, "x": x})
