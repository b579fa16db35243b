"""Gradients are finite and right wherever PyTensor's or the true ones are.

PyTensor's are those of its default rewriting. Where they are not finite, or differ from
ours, difference quotients in high precision decide (see `high_precision`).
"""

from collections.abc import Callable
from typing import NamedTuple

import high_precision
import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from mpmath import mp
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import NullTypeGradError
from pytensor.scalar import math as psm
from pytensor.tensor.elemwise import Elemwise
from support import DEFAULT, SCALAR_OPS, reference, unoptimized
from tails import FUNCTIONS, INDETERMINATE, ROUNDING, TAILS, WITHOUT_SLOPE

import jaxlink
from jaxlink import rewrites
from jaxlink.rewrites.derivatives import settle_derivatives

# --- distributions -------------------------------------------------------------------

# What the default run sweeps.
BY_DEFAULT = {
    "normal": ("logcdf",),
    "censored_at_one_end": ("logp", "logccdf"),
    "pareto": ("logp", "logcdf"),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "functions"),
    [
        *BY_DEFAULT.items(),
        *(pytest.param(n, tuple(FUNCTIONS), marks=pytest.mark.slow) for n in TAILS),
    ],
)
def test_distribution(name, functions, dtype):
    tail = TAILS[name]
    swept = []
    for function in functions:
        if function in tail.without:
            continue
        try:
            inputs, output = tail.graph(function, dtype)
        except NotImplementedError:  # PyMC has none
            continue
        swept.append(function)
        wrt = inputs[1:] if tail.discrete and function != "icdf" else inputs
        points = tail.points(function, dtype)
        where, _ = INDETERMINATE.get(
            (name, function, dtype), INDETERMINATE.get((name, function, ""), (None, ""))
        )
        rounding = ROUNDING.get((name, function, dtype), 1)
        known = Known(where, WITHOUT_SLOPE.get((name, function)), rounding)
        assert_slopes(inputs, output, points, wrt, f"{function} of {name}", known)
    assert functions[0] in swept


class Known(NamedTuple):
    """At which points (`tails`) a slope is nan in both, or there is none, and how much
    larger its rounding error is than that of most."""

    indeterminate: Callable | None = None
    without_slope: Callable | None = None
    rounding: float = 1


def assert_slopes(inputs, output, points, wrt, where, known):
    """Of each element of a vector with respect to the same element of inputs."""
    seen = known.indeterminate is None
    fn = jaxlink.function(inputs, output, on_unused_input="ignore")

    def value_and_slopes(*args):
        value, pullback = jax.vjp(fn, *args)
        return value, pullback(jnp.ones_like(value))

    value, slopes = unoptimized(value_and_slopes)(*points)
    in_pytensor = pytensors(inputs, output, points, wrt)
    single = points[0].dtype == np.float32
    rtol, atol = (2e-3, 1e-5) if single else (1e-6, 1e-12)
    atol *= known.rounding
    for var, pytensors_ in zip(wrt, in_pytensor, strict=True):
        which = inputs.index(var)
        got = np.asarray(slopes[which], float)
        close = np.isclose(got, pytensors_, rtol=rtol, atol=atol)
        rest = np.flatnonzero(~close)
        if not len(rest):
            continue
        at = [p[rest] for p in points]
        wanted = np.isfinite(pytensors_[rest])
        right = np.zeros(len(rest), bool)
        try:
            true = high_precision.slopes(inputs, output, at, which)
        except high_precision.NotInHighPrecisionError:
            true = high_precision.Slopes(*np.full((2, len(rest)), np.nan))
        wanted |= true.known & np.isfinite(np.asarray(value)[rest])
        right |= true.admit(got[rest], rtol, atol)
        # Without a bound at an end of the support, as x ** 0.5 at zero.
        one_side = np.isfinite(true.left) != np.isfinite(true.right)
        right |= np.isinf(got[rest]) & one_side
        if known.indeterminate:
            listed = known.indeterminate(*at) & wanted & ~right
            both = np.isnan(got[rest]) & np.isnan(pytensors_[rest])
            seen = seen or (listed & both).any()
            right |= listed & both
        if known.without_slope:
            infinite = np.isneginf(np.asarray(value)[rest])
            right |= known.without_slope(*at) & infinite & np.isnan(got[rest])
        wrong = np.flatnonzero(wanted & ~right)
        lines = [
            f"  at {[float(p[j]) for p in at]}: {got[rest][j]}, "
            f"PyTensor's {pytensors_[rest][j]}, "
            f"the true one {true.left[j]} or {true.right[j]}"
            for j in wrong[:5]
        ]
        assert not len(wrong), (
            f"{where} with respect to {var}, {len(wrong)} of {len(got)} slopes:\n"
            + "\n".join(lines)
        )
    assert seen, f"{where} is finite now: remove it from INDETERMINATE"


def pytensors(inputs, output, points, wrt):
    try:
        cost = output.astype("float64").sum()
        grads = pytensor.grad(cost, wrt, disconnected_inputs="ignore")
    except NullTypeGradError:
        return [np.full(points[0].shape, np.nan) for _ in wrt]
    return reference(inputs, grads, points, DEFAULT)


# --- branches that are not taken -----------------------------------------------------

SINGULAR = np.array(
    [0, 1, -1, 0.5, 2, -3.7, 1e-5, 120, -120, 820, -820, np.inf, -np.inf]
)
# Their reciprocals are not subnormal.
HUGE = {"float64": 1e300, "float32": 1e37}
# Of each: the graph of x and f(x), where nothing is chosen of f, and its slope in x.
NOT_TAKEN = {
    "switch": (lambda x, f, chosen: pt.switch(chosen, f, x), 1),
    "switch of the first": (lambda x, f, chosen: pt.switch(~chosen, 2 * x, f), 2),
    "function of a switch": (lambda x, f, chosen: pt.exp(pt.switch(chosen, f, 0)), 0),
    "product in a switch": (lambda x, f, chosen: pt.switch(chosen, f * f * x, x), 1),
    "set": (lambda x, f, chosen: pt.set_subtensor(f[~chosen], 0), 0),
    "set of a selection": (lambda x, f, m: pt.set_subtensor(x[m], f[m]), 1),
    "increment": (lambda x, f, m: pt.inc_subtensor(x[m], f[m]), 1),
    "masked sum": (lambda x, f, chosen: f[chosen].sum(), 0),
    "sum of a switch": (lambda x, f, chosen: pt.switch(chosen, f, 0).sum(), 0),
    "maximum of a switch": (lambda x, f, m: pt.switch(m, f, -1e30).max(), 0),
}
# Of what lies outside of the bounds, infinite values too.
LOW, HIGH = -1.25, 1.375
BOUNDED = {
    "clip": lambda f: pt.clip(f, LOW, HIGH),
    "maximum and minimum": lambda f: pt.maximum(LOW, pt.minimum(f, HIGH)),
    "switch of a comparison": lambda f: pt.switch(f > HIGH, 0, pt.maximum(f, LOW)),
}
# Without floats as results, of an integer order, or minutes to compile.
_NOT_SWEPT = (
    *(ps.AND, ps.OR, ps.XOR, ps.Invert, ps.Cast, ps.Complex),
    *(psm.PolyGamma, psm.BetaIncInv, psm.GammaIncInv, psm.GammaIncCInv),
)
ELEMENTWISE = [
    row
    for row, op in SCALAR_OPS.items()
    if op.nin in (1, 2, -1)
    and row not in _NOT_SWEPT
    and not isinstance(op, ps.LogicalComparison | ps.FixedLogicalComparison)
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "row",
    [
        row
        if row in (ps.Log, ps.Sqrt, ps.Pow)
        else pytest.param(row, marks=pytest.mark.slow)
        for row in ELEMENTWISE
    ],
)
def test_elementwise_in_a_branch_that_is_not_taken(row, dtype):
    op = SCALAR_OPS[row]
    axis = np.array([*SINGULAR, HUGE[dtype], -HUGE[dtype], 1 / HUGE[dtype]], dtype)
    columns = np.meshgrid(*[axis] * (1 if op.nin == 1 else 2))
    forms = len(NOT_TAKEN) + len(BOUNDED)
    values = [np.tile(c.ravel(), (forms, 1)) for c in columns]
    inputs = [pt.matrix(dtype=dtype, shape=(forms, None)) for _ in columns]
    chosen = pt.vector("chosen", dtype="bool")
    f = Elemwise(op)(*inputs)
    if not f.type.dtype.startswith("float"):
        pytest.fail(f"{row} gives no floats: put it into _NOT_SWEPT")
    outs = [
        build(inputs[0][k], f[k], chosen)
        for k, (build, _) in enumerate(NOT_TAKEN.values())
    ]
    outs += [bound(f[len(outs) + k]) for k, bound in enumerate(BOUNDED.values())]
    cost = sum(out.astype("float64").sum() for out in outs)
    fn = jaxlink.function([*inputs, chosen], cost, on_unused_input="ignore")
    gradient = jax.grad(fn, tuple(range(len(inputs))))
    got = unoptimized(gradient)(*values, np.zeros(values[0].shape[1], bool))
    ours = np.asarray(unoptimized(jaxlink.function(inputs, f))(*values))[0]
    for k, (form, (_, slope)) in enumerate(NOT_TAKEN.items()):
        for i, g in enumerate(got):
            wanted = slope if i == 0 else 0
            wrong = np.flatnonzero(g[k] != wanted)[:5]
            at = [[float(v[k][j]) for v in values] for j in wrong]
            assert not at, f"{form} of {row.__name__}, operand {i} at {at}"
    (value,) = reference(inputs, [f], values)
    # Some functions have no value far out, where SciPy has one.
    cut = ((value[0] < LOW) | (value[0] > HIGH)) & ~np.isnan(ours)
    for k, form in enumerate(BOUNDED, len(NOT_TAKEN)):
        for g in got:
            where = f"{form} of {row.__name__}"
            np.testing.assert_array_equal(g[k][cut], 0, err_msg=where)


def test_the_sweep_fails_without_masks(monkeypatch, request):
    # No program with masks may be found, and none without may stay.
    jaxlink.clear_cache()
    request.addfinalizer(jaxlink.clear_cache)
    steps = [step for step in rewrites.STEPS if step is not settle_derivatives]
    monkeypatch.setattr(rewrites, "STEPS", tuple(steps))
    monkeypatch.setattr(rewrites, "settle_derivatives", lambda fgraph: None)
    with pytest.raises(AssertionError, match="switch of Sqrt, operand 0"):
        test_elementwise_in_a_branch_that_is_not_taken(ps.Sqrt, "float64")
    with pytest.raises(AssertionError, match="logp of censored_at_one_end"):
        test_distribution("censored_at_one_end", ("logp",), "float64")


# --- all orders and transformations --------------------------------------------------


def _log_erfc(z):
    return mp.log(mp.erfc(z))


# Graphs of x, points, and the first and second derivative there.
GRAPHS = {
    "root": (lambda x: pt.where(x > 0, pt.sqrt(x), x), (-1.0, 0.0), (1, 1), (0, 0)),
    "log of erfc": (
        lambda x: pt.log(pt.erfc(x)),
        (0.0, 2.0, 30.0),
        tuple(float(mp.diff(_log_erfc, z)) for z in (0, 2, 30)),
        tuple(float(mp.diff(_log_erfc, z, 2)) for z in (0, 2, 30)),
    ),
    "product": (
        lambda x: x * pt.where(x > 0, pt.log(x), 0),
        (0.0, -1.0, 2.0),
        (0, 0, np.log(2) + 1),
        (0, 0, 0.5),
    ),
    "bound": (
        lambda x: pt.clip(pt.sqrt(x + 1), 0.5, 2) + pt.clip(1 / x, -2, 2),
        (0.0, -1.0),
        (0.5, -1),
        (-0.25, -2),
    ),
    "write": (
        lambda x: pt.set_subtensor(pt.log(x)[x < 1], 0.0),
        (0.0, -1.0, 2.0),
        (0, 0, 0.5),
        (0, 0, -0.25),
    ),
}
INSIDE = {
    "itself": lambda build, x: build(x),
    "Scan": lambda build, x: pytensor.scan(
        build, sequences=[x[None]], return_updates=False
    )[0],
    "OpFromGraph": lambda build, x: OpFromGraph([x], [build(x)])(x),
}
BOTH = (jax.jacfwd, jax.jacrev)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        (name, inside)
        if inside == "itself"
        else pytest.param(name, inside, marks=pytest.mark.slow)
        for name in GRAPHS
        for inside in INSIDE
    ],
)
def test_all_orders(name, inside):
    build, points, first, second = GRAPHS[name]
    x = pt.vector("x", shape=(len(points),))
    fn = jaxlink.function([x], INSIDE[inside](build, x))
    points = jnp.array(points)

    def cost(x):
        return fn(x).sum()

    @unoptimized
    def everything(points):
        several = jnp.stack([points, points])
        once = {d.__name__: d(cost)(points) for d in BOTH}
        once["vmap"] = jax.vmap(jax.grad(cost))(several)[1]
        twice = {
            f"{d.__name__} of {e.__name__}": d(e(cost))(points)
            for d in BOTH
            for e in BOTH
        }
        twice["vmap"] = jax.vmap(jax.hessian(cost))(several)[1]
        return once, twice

    once, twice = everything(points)
    once["eager"] = jax.grad(cost)(points)
    for how, got in once.items():
        np.testing.assert_allclose(got, first, 1e-9, 1e-12, err_msg=how)
    for how, got in twice.items():
        np.testing.assert_allclose(got, np.diag(second), 1e-9, 1e-12, err_msg=how)


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize(
    "points",
    [
        (0.0, 5, 9, 30, 1e4),
        # Here erfc underflows in 32 bits, but not in 64.
        pytest.param((10.5, 14, 25), marks=pytest.mark.slow),
    ],
)
def test_log_of_erfc_in_32_bits(points):
    wanted = [float(mp.diff(_log_erfc, z)) for z in points]
    with jax.enable_x64(False):
        x = pt.dvector("x")
        fn = jaxlink.function([x], pt.log(pt.erfc(x)))
        got = unoptimized(jax.grad(lambda x: fn(x).sum()))(jnp.array(points))
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
