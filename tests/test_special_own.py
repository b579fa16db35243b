"""Special functions that JAX has not, or not right: values, and all derivatives.

The reference is PyTensor, that is SciPy, where it is right; else central differences,
and closed forms.
"""

import functools

import jax
import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
import scipy.special as sp
from pytensor.scalar import math as psm
from special_slopes import SLOPES
from support import GRID, SCALAR_OPS, compared, reference

import jaxlink
from jaxlink.dispatch.special import OWN, SPECIAL
from jaxlink.numerics.special import calculus

INF, NAN = np.inf, np.nan


def grid(*axes):
    return [axis.ravel() for axis in np.meshgrid(*axes)]


def scattered(seed, n, *ranges):
    """Uniform points, of the logarithm where the range is positive."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(low, high, n)
        if low <= 0
        else np.exp(rng.uniform(np.log(low), np.log(high), n))
        for low, high in ranges
    ]


# Values with respect to SciPy. Points where SciPy fails are not among them: Bessel
# functions from 1e9 on and at infinity (nan), gammainc at 1e7 far from the mean.
ORDERS = [0, 1, -1, 2, 0.5, -0.5, -2.5, 3.3, -7.2, 30, 41.5, 150.3]
BESSEL = grid(ORDERS, [1e-5, 1e-3, 0.5, 2, 7.3, 19.9, 26, 60, 300, 1e4, -0.3, -40, NAN])
UNIT = np.array([0, 1e-20, 0.1, 0.5, 0.9, 1 - 1e-9, 1, 2, -1, NAN])
SIZES = np.array([0, 1e-5, 0.5, 1, 9.9, 30, 1e4, -1, NAN])
VALUES = {
    "gammainc": grid(SIZES, [0, 1e-9, 0.4, 1, 3, 30, 700, 1e4, 1.01e4, -1, INF, NAN]),
    "gammaincc": grid(SIZES, [0, 1e-9, 0.4, 1, 3, 30, 700, 1e4, 1.01e4, -1, INF, NAN]),
    "gammaincinv": grid(SIZES[1:], UNIT),
    "gammainccinv": grid(SIZES[1:], UNIT),
    "betainc": grid(SIZES, SIZES, UNIT),
    "betaincinv": grid(SIZES[2:], SIZES[2:], UNIT),
    "jv": BESSEL,
    "ive": BESSEL,
    "kve": BESSEL,
    "j0": [np.array([0, -0.0, 1, -2.5, 24.9, 25.1, -820, 1e4, NAN])],
    "j1": [np.array([0, -0.0, 1, -2.5, 24.9, 25.1, -820, 1e4, NAN])],
    "owens_t": grid(
        [0, 0.1, -1, 3, 10, -20, 37, INF, NAN],
        [0, 0.3, -0.9, 1, 1.1, -5, 1e3, INF, NAN],
    ),
    "psi": [np.array([0, -0.0, -1, -2, 1e-9, 0.3, -0.3, -9.9, 820, 1e300, INF, NAN])],
    "gammaln": [
        np.array([0, -0.0, -1, 1e-300, 0.3, -0.3, -9.9, 1e300, INF, -INF, NAN])
    ],
    "tri_gamma": [np.array([0, -1, -9.9, -0.5, 1e-9, 0.3, 7, 1e5, INF, NAN])],
    "hyp2f1": [
        np.concatenate(parts)
        for parts in zip(
            scattered(0, 200, (-4, 8), (-4, 8), (0.2, 10), (-1, 1)),
            scattered(1, 60, (-3, 5), (-3, 5), (0.2, 10), (-1e4, 0)),
            np.transpose(
                [
                    (1, 2, 3.5, 1.5),
                    (-2, 1, 3, 2),
                    (2, 1, 2, 3),
                    (-2, 1, -3, 0.5),
                    (-2, 1, -1, 0.5),
                    (1, 1, 0, 0.5),
                    (1, 2, 2, 1),
                    (1, 1, 3, 1),
                    (-1, 2, 1, 1),
                    (1, 1, 2, 0.99999),
                    (2, 3, 4, 0.999),
                    (100, 50, 20.5, 0.3),
                    (-30.5, 2, 4, 0.7),
                    (1, 1, -1, 0),
                    (1, 1, 2, NAN),
                ]
            ),
            strict=True,
        )
    ],
}
# In float32 the far tails have few digits: an exponent of 80 is known to 4e-6.
RTOL32 = {
    "gamma": 2e-5,
    "jv": 2e-5,
    "j0": 5e-5,
    "j1": 5e-5,
    "hyp2f1": 1e-3,
    "betaincinv": 5e-3,
    "betainc": 1e-5,
}
ATOL32 = {"jv": 1e-6, "hyp2f1": 1e-4, "j0": 1e-7, "j1": 1e-7}


# Arguments with respect to which PyTensor has no derivative, or a slow one.
BY_DIFFERENCES = {
    "gammainc": (0,),
    "gammaincc": (0,),
    "betainc": (0, 1),
    "jv": (0,),
    "ive": (0,),
    "kve": (0,),
    "gammaincinv": (0,),
    "gammainccinv": (0,),
    "betaincinv": (0, 1),
    "hyp2f1": (0, 1, 2),
}


# Arguments with respect to which PyTensor has no derivative.
UNDEFINED = {
    **dict.fromkeys(["jv", "ive", "kve", "gammaincinv", "gammainccinv"], (0,)),
    "betaincinv": (0, 1),
}
# Where terms cancel at an exact zero.
ATOL = {"jv": 1e-14, "hyp2f1": 1e-15, "kve": 1e-13, "betainc": 1e-29}


def program(op, n, dtype="float64"):
    """The values of an Op and all its derivatives, batched: one compilation."""
    inputs = [pt.scalar(dtype=dtype) for _ in range(n)]
    fn = jaxlink.function(inputs, op(*inputs))
    return jax.jit(jax.vmap(jax.value_and_grad(fn, argnums=tuple(range(n)))))


def difference(name, points, i):
    """A central difference of SciPy's function, nan where it is not exact to 1e-6."""
    fn = getattr(sp, name)
    step = 1e-4 * np.maximum(abs(points[i]), 1e-3)

    def at(h):
        up, down = (
            fn(*(x + s * h * step * (i == j) for j, x in enumerate(points)))
            for s in (1, -1)
        )
        return (up - down) / (2 * h * step)

    with np.errstate(all="ignore"):
        fine, coarse = at(1), at(2)
        best = fine + (fine - coarse) / 3
        noise = 1e-15 * abs(fn(*points)) / step
        known = abs(fine - coarse) + 10 * noise < 1e-6 * abs(best)
    return np.where(known & np.isfinite(best), best, NAN)


@pytest.mark.parametrize("name", VALUES)
def test_values(name):
    """In a batch, of what is differentiated; and called."""
    op, points = getattr(pt, name), VALUES[name]
    inputs = [pt.vector() for _ in points]
    out = op(*inputs)
    fn = jaxlink.function(inputs, out)
    compared([out, *fn.fgraph.outputs])
    (wanted,) = reference(inputs, [out], points)
    np.testing.assert_allclose(fn(*points), wanted, 1e-9, ATOL.get(name, 1e-290))


def test_an_order_that_is_out_of_reach_leaves_the_others():
    v, x = pt.vectors("v", "x")
    orders = np.array([-3.7, -1e300, 1e300, 5.5, 2.0**27 + 0.5])
    points = np.array([1.0, 1.0, 1e300, 30.0, 2.0**28])
    found = np.asarray(jaxlink.function([v, x], pt.jv(v, x))(orders, points))
    np.testing.assert_allclose(found[[0, 3]], sp.jv(orders, points)[[0, 3]], 1e-12)
    assert np.isnan(found[[2, 4]]).all()


@pytest.mark.parametrize("name", SLOPES)
def test_slopes(name):
    """The derivatives with respect to all arguments, jitted and batched."""
    inputs = [pt.scalar(dtype=d) for d in ("int64", "float64")]
    if name != "polygamma":
        inputs = [pt.scalar() for _ in range(len(SLOPES[name][0]) // 2)]
    n = len(inputs)
    by = tuple(i for i, x in enumerate(inputs) if x.type.dtype == "float64")
    out = getattr(pt, name)(*inputs)
    fn = jaxlink.function(inputs, out)
    compared([out, *fn.fgraph.outputs], gradients=True)
    columns = np.transpose(SLOPES[name])
    points = [z.astype(x.type.dtype) for z, x in zip(columns, inputs, strict=False)]
    value, slopes = jax.jit(jax.vmap(jax.value_and_grad(fn, by)))(*points)
    np.testing.assert_allclose(value, columns[n], 1e-9, ATOL.get(name, 1e-290))
    for i, slope, wanted in zip(by, slopes, columns[n + 1 :], strict=True):
        np.testing.assert_allclose(
            slope, wanted, 1e-8, ATOL.get(name, 1e-290), err_msg=f"argument {i}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_derivatives(name):
    op, points = getattr(pt, name), VALUES[name]
    value, slopes = program(op, len(points))(*points)
    inputs = [pt.vector() for _ in points]
    out = op(*inputs)
    wrt = [x for i, x in enumerate(inputs) if i not in BY_DIFFERENCES.get(name, ())]
    wanted, *grads = reference(inputs, [out, *pt.grad(out.sum(), wrt)], points)
    np.testing.assert_allclose(value, wanted, 1e-9, 1e-14 if name == "jv" else 1e-290)
    for i, x in enumerate(inputs):
        by_differences = i in BY_DIFFERENCES.get(name, ())
        exact = difference(name, points, i) if by_differences else grads.pop(0)
        # PyTensor's formulas are finite at some points without a value.
        known = ~np.isnan(exact) & ~np.isnan(wanted)
        assert known.sum() > 5
        rtol = 2e-6 if by_differences else 1e-7
        np.testing.assert_allclose(
            slopes[i][known], exact[known], rtol, 1e-12, err_msg=f"argument {i}, {x}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_float32(name):
    with np.errstate(over="ignore"):
        points = [x.astype("float32") for x in VALUES[name]]
    inputs = [pt.vector(dtype="float32") for _ in points]
    got = jaxlink.function(inputs, getattr(pt, name)(*inputs))(*points)
    assert got.dtype == "float32"
    exact = [x.astype("float64") for x in points]
    with np.errstate(all="ignore"):
        f = functools.partial(sp.polygamma, 1) if name == "tri_gamma" else None
        wanted = (f or getattr(sp, name))(*exact).astype("float32")
    np.testing.assert_allclose(
        got, wanted, RTOL32.get(name, 1e-5), ATOL32.get(name, 1e-36)
    )


def test_every_special_op_has_a_function():
    classes = {
        cls
        for cls in vars(psm).values()
        if isinstance(cls, type)
        and issubclass(cls, ps.ScalarOp)
        and cls.__module__ == psm.__name__
    }
    assert classes - {psm.Grad2F1Loop} == {*SPECIAL, *OWN}


LOOPS = {
    "gammaincc": [np.array([0.5, 3.0]), np.array([1.5, 2.0])],
    "betainc": [np.array([0.5, 3.0]), np.array([1.5, 2.0]), np.array([0.2, 0.9])],
    "hyp2f1": [np.array([z, z + 0.25]) for z in (0.5, 1.5, 2.5, 0.125)],
}
CLOSED_FORMS = {name: points for name, points in VALUES.items() if name not in LOOPS}


def compare_gradient_graph(name, points):
    inputs = [pt.vector() for _ in points]
    out = getattr(pt, name)(*inputs)
    wrt = [x for i, x in enumerate(inputs) if i not in UNDEFINED.get(name, ())]
    outputs = pt.grad(out.sum(), wrt)
    fn = jaxlink.function(inputs, outputs)
    compared([*outputs, *fn.fgraph.outputs])
    (value, *wanted) = reference(inputs, [out, *outputs], points)
    for got, exact in zip(fn(*points), wanted, strict=True):
        # As finite as PyTensor's, or more so: it has inf - inf at some points.
        known = ~np.isnan(exact) & ~np.isnan(value)
        got, exact = np.asarray(got)[known], exact[known]
        np.testing.assert_allclose(got, exact, 1e-8, ATOL.get(name, 1e-290))


@pytest.mark.parametrize("name", LOOPS)
def test_gradient_graphs_with_loops(name):
    """PyTensor's gradients hold a while loop for each element."""
    compare_gradient_graph(name, LOOPS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_gradient_graphs(name):
    compare_gradient_graph(name, CLOSED_FORMS[name])


def test_slope_that_is_not_finite_spoils_no_other():
    """Where a tangent, or a cotangent, is zero."""
    for bad in (np.nan, np.inf, -np.inf):
        partials = {0: lambda v, x, bad=bad: x * bad, 1: lambda v, x: v}
        fn = jax.jit(calculus.smooth(lambda v, x: v * x, partials))
        forward = jax.jacfwd(fn, (0, 1))(2.0, 3.0)
        backward = jax.grad(fn, (0, 1))(2.0, 3.0)
        for slopes in (forward, backward):
            np.testing.assert_array_equal(slopes, (bad, 2))
        masked = jax.grad(lambda v, fn=fn: jax.numpy.where(v > 0, v, fn(v, 3.0)))
        assert masked(2.0) == 1


@pytest.mark.parametrize("name", [pytest.param("jv", marks=pytest.mark.slow), "ive"])
def test_no_derivative_by_the_order_below_zero(name):
    """There, only whole orders have a value. The derivative by x is not spoilt."""
    inputs = pt.scalars("v", "x")
    fn = jaxlink.function(inputs, getattr(pt, name)(*inputs))
    args = (2.0, -1.5)
    by_order, by_x = jax.jit(jax.jacfwd(fn, argnums=(0, 1)))(*args)
    wanted = sp.jvp(*args)
    if name == "ive":
        wanted = sp.ivp(*args) * np.exp(-1.5) + sp.ive(*args)
    assert np.isnan(by_order)
    np.testing.assert_allclose(by_x, wanted, 1e-12)


UNARY = [row for row in SPECIAL if row not in (psm.GammaInc, psm.GammaIncC)]
UNARY += [psm.J0, psm.J1, psm.TriGamma]
# At infinity, SciPy's J0 and J1 are nan; as C's, and the limits, ours are zero.
POINTS = np.array([*GRID, 1 - 1e-9, 1e-300, -1e-300, 5, -5, 8.5, 0.1, 0.99, -20.5])


def unary(dtype):
    inputs = [pt.vector(dtype=dtype) for _ in UNARY]
    ops = [pt.elemwise.Elemwise(SCALAR_OPS[row]) for row in UNARY]
    outputs = [op(x) for op, x in zip(ops, inputs, strict=True)]
    points = [POINTS.astype(dtype)] * len(UNARY)
    return inputs, outputs, points, jaxlink.function(inputs, outputs)


def known_value(row):
    return ~np.isinf(POINTS) | (row not in (psm.J0, psm.J1))


def test_unary():
    """Values and slopes of all rows in one program, jitted and batched."""
    inputs, outputs, points, fn = unary("float64")
    compared([*outputs, *fn.fgraph.outputs], gradients=True)

    def total(*xs):
        values = [y[0] for y in fn(*(x[None] for x in xs))]
        return sum(values), values

    everywhere = tuple(range(len(inputs)))
    program = jax.jit(jax.vmap(jax.grad(total, everywhere, has_aux=True)))
    slopes, values = program(*points)
    grads = pt.grad(sum(out.sum() for out in outputs), inputs)
    exact = reference(inputs, [*outputs, *grads], points)
    exact, exact_slopes = exact[: len(UNARY)], exact[len(UNARY) :]
    for row, value, wanted, slope, wanted_slope in zip(
        UNARY, values, exact, slopes, exact_slopes, strict=True
    ):
        # GammaLn next to its zero at one, where SciPy has lost half of its digits.
        rtol = 1e-6 if row is psm.GammaLn else 1e-9
        known = known_value(row)
        np.testing.assert_allclose(
            value[known], wanted[known], rtol, 1e-290, err_msg=row.__name__
        )
        known &= ~np.isnan(wanted) & ~np.isnan(wanted_slope)
        np.testing.assert_allclose(
            slope[known], wanted_slope[known], 1e-9, 1e-290, err_msg=row.__name__
        )


def test_unary_float32():
    inputs, outputs, points, fn = unary("float32")
    exact = reference(inputs, outputs, points)
    for row, value, wanted in zip(UNARY, fn(*points), exact, strict=True):
        assert value.dtype == "float32"
        known = known_value(row)
        name = row.__name__.lower()
        rtol, atol = RTOL32.get(name, 1e-5), ATOL32.get(name, 1e-37)
        np.testing.assert_allclose(
            value[known], wanted[known], rtol, atol, err_msg=name
        )


def test_gammaln_next_to_its_zeros():
    x = pt.scalar()
    fn = jaxlink.function([x], pt.gammaln(x))
    step = 2.0**-30  # exact
    one, two = -np.euler_gamma * step, (1 - np.euler_gamma) * step
    np.testing.assert_allclose(fn(1 + step), one + np.pi**2 / 12 * step**2, 1e-12)
    np.testing.assert_allclose(
        fn(2 + step), two + (np.pi**2 / 12 - 0.5) * step**2, 1e-12
    )
