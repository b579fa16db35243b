"""Elementwise Ops: the rows of the tables are the tests.

Values here; gradients in test_gradients.py, pairs of dtypes in test_dtypes.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from jax.experimental import checkify
from jax.test_util import check_grads
from pytensor.scalar.loop import ScalarLoop
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import MulWithoutZeros
from support import (
    DTYPES,
    FINITE,
    GRID,
    INTEGERS,
    SCALAR_OPS,
    check,
    compare,
    grid,
    reference,
)

import jaxlink
from jaxlink.dispatch.scalar.rules import ARITHMETIC, RELATIONS
from jaxlink.errors import UnsupportedOpError

RULES = (ps.Abs, ps.Real, ps.Imag, ps.Complex, ps.Second)
TABLE = (*ARITHMETIC, *RELATIONS, *RULES)
# Classes of scalar Ops that are tested by themselves, or that are no Ops.
OTHERS = {
    ps.Switch: "test_switch",
    ps.Clip: "test_clip",
    ps.Cast: "test_cast",
    ps.Composite: "test_composite",
    ps.ScalarOp: "a base class",
    ps.UnaryScalarOp: "a base class",
    ps.BinaryScalarOp: "a base class",
    ps.LogicalComparison: "a base class",
    ps.FixedLogicalComparison: "a base class",
    ps.UnaryBitOp: "a base class",
    ps.BinaryBitOp: "a base class",
    ps.basic.ScalarInnerGraphOp: "a base class",
}


def test_every_scalar_op_is_tested():
    classes = {
        cls
        for cls in vars(ps.basic).values()
        if isinstance(cls, type) and issubclass(cls, ps.ScalarOp)
    }
    assert not classes - {*TABLE, *OTHERS}
    tests = {name for name in OTHERS.values() if name.startswith("test_")}
    assert tests <= set(globals())
    assert {*ARITHMETIC} <= classes | {MulWithoutZeros}


ROWS = [row for row in TABLE if row not in OTHERS]
MIXED = [
    ("int8", "int64"),
    ("int8", "uint8"),
    ("uint8", "int8"),
    ("int64", "uint64"),
    ("uint64", "int64"),
    ("uint32", "int32"),
    ("bool", "int8"),
    ("int16", "float32"),
    ("int64", "float32"),
    ("float32", "float64"),
    ("float64", "complex64"),
]
# Combinations that PyTensor builds, but cannot compute: why.
NO_REFERENCE = {
    ps.Mod: {"complex64", "complex128"},  # NumPy has none
    ps.IntDiv: {"complex64", "complex128"},
    ps.ArcTan2: {"complex64", "complex128"},
    # The Python implementation overflows instead of wrapping.
    MulWithoutZeros: {dtype for dtype in DTYPES if "int" in dtype or dtype == "bool"},
}
BITS = (ps.AND, ps.OR, ps.XOR)
# Points that are not compared: why.
LEFT_OUT = {
    # PyTensor's Python adds 0.5 and rounds up; its C, and JAX, do not.
    ps.RoundHalfAwayFromZero: [0.49999999999999994],
}


def combinations(row):
    """The dtypes that PyTensor's Op can be computed with."""
    arity = 2 if SCALAR_OPS[row].nin == -1 else SCALAR_OPS[row].nin
    for dtypes in [(d,) * arity for d in DTYPES] + (MIXED if arity == 2 else []):
        if NO_REFERENCE.get(row, set()) & {*dtypes}:
            continue
        if row in BITS and {*dtypes} == {"int64", "uint64"}:
            continue  # their common dtype is a float
        if row is ps.Pow and dtypes == ("float64", "complex64"):
            continue  # overflows, see below
        try:
            SCALAR_OPS[row].make_node(*[ps.get_scalar_type(d)() for d in dtypes])
        except (TypeError, NotImplementedError):
            continue
        yield dtypes


def points(row, dtype):
    if row is ps.Pow and dtype.startswith("int"):
        # A negative power is an error: see test_negative_powers_of_integers.
        return np.abs(grid(dtype).astype("float64")).clip(0, 120).astype(dtype)
    values = grid(dtype)
    if row is ps.Pow and dtype.startswith("complex"):
        values = values[abs(values) < 10]  # JAX has nan where a part overflows
    return values[~np.isin(values, LEFT_OUT.get(row, []))]


def outer(op, args):
    """``op`` of all combinations of the elements of ``args``."""
    if len(args) == 2:
        args = args[0][:, None], args[1][None, :]
    return Elemwise(op)(*args)


@pytest.mark.parametrize("row", ROWS)
# PyTensor's own rewrite of the negative of unsigned integers fails, and says so.
def test_value(row, monkeypatch):
    """Of every combination of points of the grid, for all dtypes, in one program."""
    monkeypatch.setattr(pytensor.config, "on_opt_error", "ignore")
    found = list(combinations(row))
    assert found
    inputs = {d: pt.vector(d, dtype=d) for d in DTYPES if any(d in c for c in found)}
    outputs = [outer(SCALAR_OPS[row], [inputs[d] for d in c]) for c in found]
    values = [points(row, dtype) for dtype in inputs]
    expected = reference(inputs.values(), outputs, values)
    fn = jaxlink.function([*inputs.values()], outputs)
    compare("call", outputs, fn(*values), expected, (1e-12, 1e-5, 1e-305))


def test_batches():
    """All rows at once, under ``vmap``."""
    x, i, j = pt.vector("x"), pt.vector("i", dtype="int8"), pt.vector("j", dtype="int8")
    outputs = []
    for row in ROWS:
        arity = 2 if SCALAR_OPS[row].nin == -1 else SCALAR_OPS[row].nin
        # Not i twice: PyTensor makes a 1 of i / i.
        variables = [i, j, i] if ("int8",) * arity in combinations(row) else [x, x, x]
        if row is not MulWithoutZeros:
            outputs.append(Elemwise(SCALAR_OPS[row])(*variables[:arity]))
    values = [grid("float64")[:5], np.arange(5), np.arange(5)]
    check([x, i, j], outputs, values, grad=False, rtol=1e-12)


# --- rows with a story ---------------------------------------------------------------


HALVES = [0.5, 1.5, 2.5, 3.5, 0.49999999999999994, 2.0**52 + 1, 1e300, np.inf, np.nan]


def test_rounding():
    x = pt.vector("x")
    halves = np.array([*HALVES, *-np.array(HALVES), 0.0, -0.0])
    to_even, away = jaxlink.function(
        [x], [pt.round(x, mode="half_to_even"), pt.round(x, mode="half_away_from_zero")]
    )(halves)
    np.testing.assert_array_equal(to_even, np.round(halves))
    fraction = np.abs(np.modf(halves)[0])
    with np.errstate(invalid="ignore"):
        expected = np.trunc(halves) + np.where(fraction >= 0.5, np.sign(halves), 0)
    np.testing.assert_array_equal(away, expected)


def test_subnormal_numbers_count_as_zero():
    """On a CPU. A subnormal is a number below the least one of full precision."""
    for dtype in ("float64", "float32"):
        x, one = pt.vector("x", dtype=dtype), pt.vector("one", dtype=dtype)
        least = np.finfo(dtype).tiny
        values = [np.array([least / 4, -least / 4, least], dtype), np.ones(3, dtype)]
        outputs = [x * one, pt.eq(x, 0), x / (2 * one), pt.sign(x)]
        product, is_zero, half, sign = jaxlink.function([x, one], outputs)(*values)
        assert product.tolist() == [0, 0, least]
        assert is_zero.tolist() == [True, True, False]
        assert half.tolist() == [0, 0, 0]
        assert sign.tolist() == [0, 0, 1]


def test_powers():
    x, n = pt.vector("x"), pt.lvector("n")
    whole = [x**k for k in (0, 1, 2, 3, 4, 7, -1, -2, 0.5, 1.5)]
    check([x], whole, [FINITE], rtol=1e-12)
    small = np.array([-2, -1, 0, 1, 2, 3, 4])
    positive = np.array([3, 2, 0, 1, 5, 4, 0])
    k = pt.lvector("k")
    outputs = [*[n**k for k in (0, 1, 2, 3)], n**k]
    check([n, k], outputs, [small, positive])
    check([x, n], x**n, [small, positive])


def test_powers_of_integers_wrap():
    """JAX takes the last six bits of the exponent."""
    n, k = pt.vector("n", dtype="int8"), pt.vector("k", dtype="uint8")
    check([n, k], [n**k, k**k], [[3, -7, 2, -1, 1], [100, 255, 64, 129, 200]])


def test_negative_powers_of_integers():
    n, k = pt.lvectors("n", "k")
    fn = jaxlink.function([n, k], n**k)
    with pytest.raises(ValueError, match="negative integer powers"):
        reference([n, k], [n**k], [np.array([2]), np.array([-1])])
    checked = checkify.checkify(fn)
    error, _ = checked(jnp.array([2, 3]), jnp.array([3, -1]))
    with pytest.raises(
        checkify.JaxRuntimeError, match="negative power is not an integer"
    ):
        error.throw()
    error, out = checked(jnp.array([2, 3]), jnp.array([3, 0]))
    error.throw()
    assert out.tolist() == [8, 1]
    known = jaxlink.function([n], n ** np.array([-1, -3]))
    with pytest.raises(ValueError, match="negative power is not an integer"):
        known(jnp.array([2, 3]))


def test_switch():
    x, high, b = pt.vector("x"), pt.vector("high"), pt.bvector("b")
    low = -0.7
    outputs = [
        pt.switch(x > 0, x**2, low * x),
        pt.switch(x, b, 1),
        pt.switch(x, high, b),
        pt.switch(b, np.float32(2), 1),
        pt.switch(x > 0, np.nan, x),
        pt.switch(np.bool_(1), b, x),
    ]
    highs = np.linspace(-1, 3, GRID.size)
    values = [GRID, highs, np.arange(GRID.size)]
    check([x, high, b], outputs, values, grad=False)


def test_clip():
    x, high, b = pt.vector("x"), pt.vector("high"), pt.bvector("b")
    u = pt.vector("u", dtype="uint8")
    outputs = [
        pt.clip(x, -0.7, high),
        pt.clip(x, 0, 1),
        pt.clip(b, -1, 3),
        pt.clip(b, 3, -1),  # the lower bound wins
        pt.clip(u, b, 200),
        pt.clip(b, x, 2),
    ]
    bytes_ = np.arange(-3, GRID.size - 3)
    values = [GRID, np.linspace(-1, 3, GRID.size), bytes_, 10 * (bytes_ + 3)]
    check([x, high, b, u], outputs, values, grad=False)


@pytest.mark.parametrize("source", DTYPES)
def test_cast(source):
    x = pt.vector("x", dtype=source)
    values = grid(source)
    if source.startswith("float"):
        # Whatever fits 32 bits is defined on every machine.
        values = np.array([0, -0.0, 1, 127.6, -128.9, 255.2, 300, -1.5, -200, 70000.0])
    to = [d for d in DTYPES if "complex" in d or not source.startswith("complex")]
    outputs = [Elemwise(ps.Cast(ps.get_scalar_type(d)))(x) for d in to]
    expected = reference([x], outputs, [values.astype(source)])
    got = jaxlink.function([x], outputs)(values.astype(source))
    compare("call", outputs, got, expected, (0, 0, 0))


def test_cast_of_what_does_not_fit():
    """64 bits and no more are wrapped; C, and so NumPy, leave the rest open."""
    x = pt.vector("x")
    far = np.array([2.0**31, -(2.0**40) - 1, 1e30, -1e30, np.inf, np.nan])
    outputs = [x.astype("int32"), x.astype("int64"), x.astype("bool")]
    int32, int64, bools = jaxlink.function([x], outputs)(far)
    assert int32.tolist()[:2] == [-(2**31), -1]
    ends = [2**63 - 1, -(2**63), 2**63 - 1, 0]
    assert int64.tolist() == [2**31, -(2**40) - 1, *ends]
    assert bools.all()


def test_second_takes_only_the_shape_of_its_first_operand():
    x, y = pt.matrix("x"), pt.scalar("y", dtype="int8")
    outputs = [pt.second(x, y), pt.zeros_like(x), pt.ones_like(x, dtype="int8")]
    check([x, y], outputs, [np.full((2, 3), np.nan), 3])


def test_comparison_of_large_integers_of_both_signs_is_exact():
    x, y = pt.lvector("x"), pt.vector("y", dtype="uint64")
    large = 2**62
    fns = (pt.lt, pt.le, pt.gt, pt.ge, pt.eq, pt.neq)
    outputs = [fn(*pair) for fn in fns for pair in ((x, y), (y, x))]
    values = np.array([-1, 0, large, large, large + 1, -(2**63)])
    others = np.array([2**64 - 1, 0, large, large + 1, large, 2**63], "uint64")
    check([x, y], outputs, [values, others])


def test_complex():
    z, w, x = pt.zvector("z"), pt.zvector("w"), pt.vector("x", dtype="float32")
    n = pt.vector("n", dtype="int64")
    outputs = [abs(z), z.real, z.imag, pt.conj(z), pt.angle(z), pt.eq(z, w), pt.sqr(z)]
    outputs += [pt.complex(x, x), pt.complex(x, n)]
    outputs += [z + w, z * w, z / w, z - w, -z, z * x, z + n, pt.sinh(z), pt.isnan(z)]
    values = [
        np.array([1 + 2j, -0.5j, 0, 3, 1e-5, np.nan]),
        np.array([2 - 1j, 1, 1j, -2, 1, 1]),
        np.array([0.5, -1, 0, 2, 1e3, 7]),
        np.arange(6),
    ]
    check([z, w, x, n], outputs, values, grad=False)


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
    with pytest.raises(ValueError, match="would broadcast dimension 0 of `y`"):
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
    values = [[0.5, 1, -2], [1, 2, 3]]
    fn = check([x, y], outputs, values, grad=False)
    # PyTensor has no gradient of it.
    y = jnp.array(values[1], "int8")
    check_grads(lambda x: fn(x, y)[:2], (jnp.array(values[0]),), order=2, rtol=1e-5)


def loop(until=False):
    """a, b -> a * c + b, b for some steps; ends once a is greater than 3, if asked."""
    a, b, c = ps.float64("a"), ps.int8("b"), ps.float64("c")
    new = ps.add(ps.mul(a, c), b)
    return ScalarLoop(
        init=[a, b],
        update=[new, ps.identity(b)],
        constant=[c],
        until=ps.gt(new, ps.constant(3.0)) if until else None,
    )


POINTS = [[1.0, 2.0, -1.0], [1, 0, -2], [0.3, 1.2, 0.0]]


@pytest.mark.parametrize("until", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_scalar_loop(until, known):
    x, c, n = pt.vector("x"), pt.vector("c"), pt.vector("n", dtype="int64")
    b = pt.vector("b", dtype="int8")
    steps = np.array([4, 3, 0])
    outputs = Elemwise(loop(until))(steps if known else n, x, b, c)
    inputs, values = [x, b, c, n], [*POINTS, steps]
    check(inputs[: 4 - known], outputs, values[: 4 - known], grad=False)


@pytest.mark.parametrize("until", [False, True])
def test_gradient_of_a_scalar_loop_with_a_known_number_of_steps(until):
    x, c = pt.vectors("x", "c")
    b = np.array(POINTS[1], "int8")
    fn = jaxlink.function([x, c], Elemwise(loop(until))(np.int64(4), x, b, c)[0])
    args = jnp.array(POINTS[0]), jnp.array(POINTS[2])
    check_grads(fn, args, order=2, modes=["fwd", "rev"], rtol=1e-5)
    assert all(jnp.isfinite(g).all() for g in jax.grad(sum_of(fn), (0, 1))(*args))


def sum_of(fn):
    return lambda *args: fn(*args).sum()


def test_gradient_of_a_scalar_loop_with_a_traced_number_of_steps():
    """Forwards as before; backwards JAX refuses, and says why."""
    x, c, n = pt.vector("x"), pt.vector("c"), pt.vector("n", dtype="int64")
    b = np.array(POINTS[1], "int8")
    fn = jaxlink.function([x, c, n], Elemwise(loop())(n, x, b, c)[0])
    x, c, n = jnp.array(POINTS[0]), jnp.array(POINTS[2]), jnp.array([4, 3, 0])
    check_grads(lambda x, c: fn(x, c, n), (x, c), order=1, modes=["fwd"], rtol=1e-5)
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(sum_of(fn))(x, c, n)


def test_negative_number_of_steps():
    x, c, n = pt.vector("x"), pt.vector("c"), pt.lscalar("n")
    b = np.array(POINTS[1], "int8")
    fn = jaxlink.function([x, c, n], Elemwise(loop())(n, x, b, c)[0])
    error, _ = checkify.checkify(fn)(jnp.ones(3), jnp.ones(3), -1)
    with pytest.raises(checkify.JaxRuntimeError, match="negative number of steps"):
        error.throw()


class Unknown(ps.UnaryScalarOp):
    def impl(self, x):
        return x


def test_unknown_scalar_ops_are_named():
    x = pt.vector("x")
    y = Elemwise(Unknown(ps.upgrade_to_float, name="unknown"))(x)
    with pytest.raises(UnsupportedOpError, match="no rule for the scalar Op unkn"):
        jaxlink.function([x], y)


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
