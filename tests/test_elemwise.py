"""Elementwise Ops: the rows of the tables are the tests."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from pytensor.scalar import math as psm
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import mul_without_zeros
from support import FINITE, GRID, INTEGERS, REFERENCE, check

import jaxlink
from jaxlink.dispatch.scalar import ARITHMETIC, RELATIONS
from jaxlink.dispatch.special import SPECIAL
from jaxlink.errors import UnsupportedOpError

# An instance of each class of scalar Op.
INSTANCES = {
    type(op): op
    for module in (ps, psm)
    for op in vars(module).values()
    if isinstance(op, ps.ScalarOp)
}
INSTANCES[type(mul_without_zeros)] = mul_without_zeros
ROWS = [*ARITHMETIC, *RELATIONS, *SPECIAL, ps.Abs, psm.TriGamma]
BIT_OPS = (ps.AND, ps.OR, ps.XOR, ps.Invert)
FLOATS_ONLY = (ps.RoundHalfToEven, ps.RoundHalfAwayFromZero)
NO_BOOL = (ps.Neg, ps.Sub, ps.Sign)


def arity(row):
    op = INSTANCES[row]
    return 2 if op.nin == -1 else op.nin


def vectors(row, *dtypes):
    """Vector variables of those dtypes that the row accepts."""
    refused = ()
    if row in BIT_OPS:
        refused = ("float32", "float64")
    if row in FLOATS_ONLY:
        refused = ("bool", "int8", "uint8", "int64")
    if row in NO_BOOL:
        refused = ("bool",)
    refused += REFERENCE_FAILS.get(row, ())
    return [pt.vector(dtype, dtype=dtype) for dtype in dtypes if dtype not in refused]


# Dtypes whose reference is wrong: float16 inside, or an overflow error.
REFERENCE_FAILS = {
    psm.Softplus: ("bool",),
    type(mul_without_zeros): ("bool", "int8", "uint8", "int64"),
}
# Points that are not compared, and why.
LEFT_OUT = {
    psm.GammaLn: [-np.inf],  # SciPy says -inf, C and JAX say inf
    psm.Psi: [-0.0],  # a pole: SciPy says inf, JAX -inf
}
RTOL = {
    psm.Gamma: 1e-8,
    psm.GammaInc: 1e-8,
    psm.GammaIncC: 1e-8,
    ps.Mod: 1e-5,  # the quotient of 820 and 1e-5 is not exact
}
RTOL32 = {psm.GammaInc: 1e-3, psm.GammaIncC: 0.1}


def values_of(row, dtype, among=GRID):
    if dtype == "bool":
        return [False, True]
    if dtype.startswith("float"):
        left_out = [(v, np.signbit(v)) for v in LEFT_OUT.get(row, [])]
        return np.array([v for v in among if (v, np.signbit(v)) not in left_out])
    return INTEGERS.astype(dtype)


def tolerances(row):
    return {"rtol": RTOL.get(row, 1e-10), "rtol32": RTOL32.get(row, 1e-5)}


@pytest.mark.parametrize("row", [r for r in ROWS if arity(r) == 1])
def test_unary(row):
    inputs = vectors(row, "float64", "float32", "int8", "int64", "bool")
    values = [values_of(row, x.type.dtype) for x in inputs]
    outputs = [Elemwise(INSTANCES[row])(x) for x in inputs]
    check(inputs, outputs, values, grad=False, **tolerances(row))


@pytest.mark.parametrize("row", [r for r in ROWS if arity(r) == 2])
def test_binary(row):
    inputs = vectors(row, "float64", "float32", "int8", "uint8", "int64", "bool")
    pairs = [(x, x) for x in inputs]
    pairs += [(x, y) for x, y in itertools.pairwise(inputs)]
    dtypes = [{x.type.dtype, y.type.dtype} for x, y in pairs]
    # A negative power of an integer raises. The others are slow to compile.
    if row in (ps.Pow, psm.GammaInc, psm.GammaIncC):
        pairs = pairs[:2]
    if row in BIT_OPS:
        pairs = [
            p for p, d in zip(pairs, dtypes, strict=True) if len(d | {"bool"}) != 2
        ]
    outputs = [Elemwise(INSTANCES[row])(x[:, None], y[None, :]) for x, y in pairs]
    inputs = [x for x in inputs if any(x in pair for pair in pairs)]
    values = [values_of(row, x.type.dtype) for x in inputs]
    vmap = row not in (psm.GammaInc, psm.GammaIncC)
    check(inputs, outputs, values, grad=False, vmap=vmap, **tolerances(row))


NO_PULLBACK = (*BIT_OPS, ps.Conj, ps.Clip, type(mul_without_zeros))
GRAD_ROWS = [row for row in ROWS if row not in NO_PULLBACK]


@pytest.mark.parametrize("row", GRAD_ROWS)
def test_gradient(row):
    """Wherever the value is finite."""
    op = INSTANCES[row]
    x, y = pt.vector("x"), pt.vector("y")
    args = (x, y)[: arity(row)]
    points = np.array(np.meshgrid(*[values_of(row, "float64", FINITE)] * len(args)))
    points = points.reshape(len(args), -1)
    with np.errstate(all="ignore"):
        value = Elemwise(op)(*map(pt.constant, points)).eval(mode=REFERENCE)
    points = points[:, np.isfinite(value)]
    check(args, Elemwise(op)(*args), points, vmap=False, **tolerances(row))


# --- rules that are no rows ----------------------------------------------------------


def test_clip_and_switch():
    x, low, high, b = pt.vectors("x", "low", "high"), None, None, pt.bvector("b")
    x, low, high = x
    lows, highs = np.full(FINITE.shape, -0.7), np.linspace(-1, 3, FINITE.size)
    outputs = [
        pt.clip(x, low, high),
        pt.switch(x > 0, x**2, low * x),
        pt.switch(x, b, 1),
        pt.switch(x, high, b),
    ]
    check([x, low, high, b], outputs, [FINITE, lows, highs, np.arange(FINITE.size)])
    check(
        [x, b],
        [pt.clip(x, 0, 1), pt.clip(b, -1, 3), pt.switch(x, x, b)],
        [GRID, np.arange(GRID.size)],
        grad=False,
    )


FROM = ("bool", "int8", "uint8", "int64", "float32", "float64")
TO = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
)


@pytest.mark.parametrize("source", FROM)
def test_cast(source):
    x = pt.vector("x", dtype=source)
    values = np.array([0, 1, 3, 100, 127.6, 255.2, 300, -1, -1.5, -200, 70000.0])
    if source in ("uint8", "int8", "bool"):
        values = values.astype("int64").astype(source)
    outputs = [Elemwise(ps.Cast(ps.get_scalar_type(to)))(x) for to in TO]
    check([x], outputs, [values])


def test_second_takes_only_the_shape_of_its_first_operand():
    x, y = pt.matrix("x"), pt.scalar("y", dtype="int8")
    outputs = [pt.second(x, y), pt.zeros_like(x), pt.ones_like(x, dtype="int8")]
    check([x, y], outputs, [np.full((2, 3), np.nan), 3])


def test_comparison_of_large_integers_of_both_signs_is_exact():
    x, y = pt.lvector("x"), pt.vector("y", dtype="uint64")
    large = 2**62
    outputs = [fn(x, y) for fn in (pt.lt, pt.le, pt.gt, pt.ge, pt.eq, pt.neq)]
    values = np.array([-1, 0, large, large, large + 1, -(2**63)])
    others = np.array([2**64 - 1, 0, large, large + 1, large, 2**63], "uint64")
    check([x, y], outputs, [values, others])
    outputs = [fn(y, x) for fn in (pt.lt, pt.le, pt.gt, pt.ge, pt.eq, pt.neq)]
    check([x, y], outputs, [values, others])


def test_powers():
    x, n = pt.vector("x"), pt.lvector("n")
    whole = [x**k for k in (0, 1, 2, 3, 4, 7, -1, -2, 0.5, 1.5)]
    check([x], whole, [FINITE], rtol=1e-12)
    small = np.array([-2, -1, 0, 1, 2, 3, 4])
    positive = np.array([3, 2, 0, 1, 5, 4, 0])
    check([n], [n**k for k in (0, 1, 2, 3)], [small])
    k = pt.lvector("k")
    check([n, k], n**k, [small, positive])
    check([x, n], x**n, [small, positive])


def test_gradient_of_a_power_is_finite_at_zero():
    x = pt.vector("x")
    for power in (0, 1, 2, 3):
        fn = jaxlink.function([x], x**power)
        grad = jax.grad(lambda x, fn=fn: fn(x).sum())(jnp.zeros(2))
        assert (np.asarray(grad) == (power == 1)).all()


def test_complex():
    z, w = pt.zvector("z"), pt.zvector("w")
    values = [np.array([1 + 2j, -0.5j, 0, 3]), np.array([2 - 1j, 1, 1j, -2])]
    outputs = [z + w, z * w, z / w, z - w, -z, abs(z), z.real, z.imag, pt.conj(z)]
    outputs += [pt.exp(z), pt.eq(z, w), pt.sqr(z), pt.complex(z.real, w.imag)]
    check([z, w], outputs, values, grad=False)


def test_far_out():
    """Finite gradients where naive formulas overflow."""
    x = pt.vector("x")
    far = np.array([-820.0, -40, -1, 1, 40, 820])
    check([x], [pt.softplus(x), pt.sigmoid(x)], [far])
    check([x], [pt.log1mexp(-abs(x))], [far])


# --- broadcasting, arity, types ------------------------------------------------------


def test_many_operands_and_broadcasting():
    x, y, z = pt.matrix("x"), pt.vector("y"), pt.scalar("z")
    row = pt.row("row")
    values = [np.arange(6.0).reshape(2, 3) + 1, np.array([1.0, 2, 4]), 3.0, [[1, 2, 5]]]
    outputs = [pt.add(x, y, z, row), pt.mul(x, y, z, row), x - y[:, None].T]
    check([x, y, z, row], outputs, values)


def test_empty():
    x, y = pt.matrix("x"), pt.vector("y")
    check([x, y], [x + y, pt.exp(x), pt.second(x, y)], [np.ones((0, 3)), np.ones(3)])


def test_broadcasting_that_the_types_do_not_allow_is_an_error():
    x, y = pt.vectors("x", "y")
    fn = jaxlink.function([x, y], x + y)
    with pytest.raises(ValueError, match="would broadcast dimension 0 of y"):
        fn(np.ones(3), np.ones(1))


def test_small_integers_meet_wide_constants():
    x = pt.vector("x", dtype="int8")
    outputs = [x + np.int64(1000), x * np.float32(0.5), x / 2, x // 3, x % 3, x**2]
    check([x], outputs, [INTEGERS])


def test_whole_division_by_zero():
    x, y = pt.lvectors("x", "y")
    check([x, y], [x // y, x % y], [[5, -5, 0, -7, 7], [0, 0, 0, 2, -2]])
    a, b = pt.vector("a", dtype="bool"), pt.vector("b", dtype="bool")
    pairs = [[True, True, False], [True, False, True]]
    check([a, b], [pt.int_div(a, b), pt.mod(a, b)], pairs)


# --- scalar graphs -------------------------------------------------------------------


def test_scalar_variables():
    x = pt.vector("x")
    i = pt.scalar_from_tensor(pt.cast(x[0], "int64"))
    y = pt.tensor_from_scalar(ps.add(i, ps.constant(2)))
    check([x], [y, x * y], [[3.5, 1.0]], grad=False)


def test_composite():
    a, b = ps.float64("a"), ps.int8("b")
    inner = ps.Composite(
        [a, b], [ps.exp(a) * b, ps.add(a, ps.constant(2.0)), ps.identity(b)]
    )
    x, y = pt.vector("x"), pt.vector("y", dtype="int8")
    outputs = Elemwise(inner)(x, y)
    check([x, y], outputs, [[0.5, 1, -2], [1, 2, 3]], grad=False)


def test_scalar_loop():
    """The gradient graph of `betainc` is a while loop for each element."""
    a, b, x = pt.vectors("a", "b", "x")
    grads = pt.grad(pt.betainc(a, b, x).sum(), [a, b, x])
    values = [[0.5, 2, 30], [1.5, 3, 0.2], [0.3, 0.9, 0.99]]
    check([a, b, x], grads, values, grad=False, rtol=1e-7)


def test_betainc():
    a, b, x = pt.vectors("a", "b", "x")
    values = [[0.5, 2, 30, 0.1], [1.5, 3, 0.2, 5], [0.3, 0.9, 0.99, 0.0]]
    check([a, b, x], pt.betainc(a, b, x), values, rtol=1e-9, grad_rtol=1e-7)


def test_polygamma_and_scaled_bessel():
    n, x = pt.vector("n", dtype="int64"), pt.vector("x")
    points = [0.1, 1, 2.5, 820, -0.5]
    check([n, x], pt.polygamma(n, x), [[0, 1, 2, 3, 1], points], rtol=1e-8)
    check([x], [pt.ive(0, x), pt.ive(1, x)], [points])


def test_unknown_scalar_ops_are_named():
    x = pt.vector("x")
    with pytest.raises(UnsupportedOpError, match="no function for the scalar Op"):
        jaxlink.function([x], pt.kve(1, x))


def test_half_precision_setting():
    """With x64 off everything is computed in 32 bits."""
    x, n = pt.vector("x"), pt.vector("n", dtype="int64")
    y = [pt.exp(x) * n, n // 3, pt.switch(x > 0, n, x), x.astype("int64"), x.sum()]
    with jax.enable_x64(False):
        with pytest.warns(jaxlink.PrecisionWarning):
            fn = jaxlink.function([x, n], y)
        outs = fn(np.float32([1.5, -2]), np.int32([2, 7]))
    dtypes = "float32 int32 float32 int32 float32"
    assert " ".join(str(out.dtype) for out in outs) == dtypes
