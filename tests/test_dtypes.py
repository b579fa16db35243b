"""Value and dtype of everything equal PyTensor's, for every pair of dtypes."""

import itertools

import jax
import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from pytensor.tensor.elemwise import Elemwise
from support import DTYPES, SCALAR_OPS, compare, reference

import jaxlink
from jaxlink.values.static import canonical

SOME = ("bool", "int8", "int64", "uint8", "uint64", "float32", "float64", "complex64")
REAL = [dtype for dtype in DTYPES if not dtype.startswith("complex")]
# Small, so that every dtype holds them; whole, since some pairs compute in float32.
VALUES = np.array([0, 1, 2, 3, 5, 7]), np.array([1, 2, 0, 4, 5, 3])

BINARY = [
    *(ps.Add, ps.Sub, ps.Mul, ps.TrueDiv, ps.IntDiv, ps.Mod, ps.Pow, ps.ArcTan2),
    *(ps.Maximum, ps.Minimum, ps.LT, ps.EQ, ps.AND, ps.XOR, ps.Second, ps.Complex),
]


def holds(op, dtypes):
    """Whether PyTensor can compute the Op with operands of these dtypes."""
    kinds = {np.dtype(dtype).kind for dtype in dtypes}
    if type(op) in (ps.IntDiv, ps.Mod, ps.ArcTan2) and "c" in kinds:
        return False
    if type(op) in (ps.AND, ps.XOR) and np.result_type(*dtypes).kind == "f":
        return False  # of int64 and uint64
    try:
        op.make_node(*[ps.get_scalar_type(dtype)() for dtype in dtypes])
    except (TypeError, NotImplementedError):
        return False
    return True


def agrees(inputs, outputs, values):
    values = [np.asarray(v, x.type.dtype) for x, v in zip(inputs, values, strict=True)]
    expected = reference(inputs, outputs, values)
    fn = jaxlink.function(inputs, outputs)
    compare("call", outputs, fn(*values), expected, (1e-12, 1e-5, 0))


@pytest.mark.parametrize(
    "dtypes", [SOME, pytest.param(DTYPES, marks=pytest.mark.slow)], ids=["some", "all"]
)
@pytest.mark.parametrize("row", BINARY)
def test_pairs(row, dtypes):
    """All pairs in one program."""
    op = SCALAR_OPS[row]
    xs = {dtype: pt.vector(f"x_{dtype}", dtype=dtype) for dtype in dtypes}
    ys = {dtype: pt.vector(f"y_{dtype}", dtype=dtype) for dtype in dtypes}
    pairs = [p for p in itertools.product(dtypes, dtypes) if holds(op, p)]
    assert len(pairs) >= len(dtypes)
    outputs = [Elemwise(op)(xs[a], ys[b]) for a, b in pairs]
    xs = [x for a, x in xs.items() if any(a == pair[0] for pair in pairs)]
    ys = [y for b, y in ys.items() if any(b == pair[1] for pair in pairs)]
    agrees([*xs, *ys], outputs, [VALUES[0]] * len(xs) + [VALUES[1]] * len(ys))


def test_choices():
    """`Switch` and `Clip` of three dtypes."""
    some = ["bool", "int8", "uint8", "int64", "uint64", "float32", "float64"]
    xs = [pt.vector(dtype, dtype=dtype) for dtype in some]
    outputs = [pt.switch(xs[1], x, y) for x, y in itertools.product(xs, xs)]
    outputs += [pt.clip(x, y, xs[2]) for x, y in itertools.product(xs[1:], xs[1:])]
    agrees(xs, outputs, [VALUES[0]] * len(xs))


CONSTANTS = [1, -1, 300, 2**40, 0.5, 0.1, np.int8(3), np.int64(3), np.uint8(3)]
CONSTANTS += [np.float32(0.5), np.float64(0.5), np.bool_(1)]


@pytest.mark.parametrize("name", ["add", "mul", "true_div", "maximum", "lt"])
def test_constants(name):
    """Python numbers take the least dtype that holds them; NumPy's keep theirs."""
    xs = [pt.vector(dtype, dtype=dtype) for dtype in SOME[:-1]]
    fn = getattr(pt, name)
    outputs = [fn(x, c) for x in xs for c in CONSTANTS]
    agrees(xs, outputs, [VALUES[0]] * len(xs))


REDUCTIONS = ["sum", "prod", "max", "min", "mean", "any", "all", "argmax", "cumsum"]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    fn = getattr(pt, name)
    xs = [pt.vector(dtype, dtype=dtype) for dtype in REAL]
    outputs = [fn(x) for x in xs]
    if name in ("sum", "prod", "mean"):
        for x, to in itertools.product(xs[::2], REAL[::2]):
            # The mean of an integer type is refused by PyTensor.
            if name != "mean" or "float" in to:
                outputs.append(fn(x, dtype=to))
    if name in ("sum", "prod"):
        outputs += [fn(x, acc_dtype="float64") for x in xs]
        outputs += [fn(x, acc_dtype="float64", dtype="int8") for x in xs]
    expected = [
        np.asarray(value, out.type.dtype)  # PyTensor's cumsum returns int64 for int8
        for out, value in zip(
            outputs,
            reference(xs, outputs, [VALUES[0].astype(d) for d in REAL]),
            strict=True,
        )
    ]
    got = jaxlink.function(xs, outputs)(*[VALUES[0].astype(d) for d in REAL])
    compare("call", outputs, got, expected, (1e-12, 1e-5, 0))


def test_x64_off():
    """Every 64-bit type is the 32-bit type of its kind, and nothing else changes."""
    xs = [pt.vector(dtype, dtype=dtype) for dtype in SOME[:-1]]
    outputs = [x + y for x, y in itertools.product(xs, xs)]
    outputs += [f(x) for x in xs for f in (pt.sum, pt.prod, pt.argmax, pt.exp)]
    outputs += [x.astype(dtype) for x in xs for dtype in SOME[:-1]]
    values = [VALUES[0].astype(dtype) for dtype in SOME[:-1]]
    expected = reference(xs, outputs, values)
    with jax.enable_x64(False):
        with pytest.warns(jaxlink.PrecisionWarning):
            fn = jaxlink.function(xs, outputs)
        got = fn(*[v.astype(canonical(v.dtype)) for v in values])
        for value, wanted in zip(got, expected, strict=True):
            assert value.dtype == canonical(wanted.dtype)
            np.testing.assert_allclose(value, wanted.astype(value.dtype), rtol=1e-5)


def _masked_products(y):
    """Of what is not finite, with a boolean that XLA could make a select of."""
    log, b = pt.log(y), y > 0
    mask, factor = ps.bool("mask"), ps.get_scalar_type(y.type.dtype)("factor")
    composite = Elemwise(ps.Composite([mask, factor], [ps.mul(mask, factor)]))
    float_, square = y.type.dtype, y[:, None] * pt.ones(y.shape[0])
    return [
        *(b * log, log * b, b.astype(float_) * log, b.astype("int8") * log),
        *(pt.and_(b, y < 5) * log, b * (y < 5) * log, ~b * log, 3 * b * log * y),
        *(pt.isnan(y) * log, pt.neq(y, 2) * (1 / (y - 2)), b / (1 / log)),
        *(pt.sqr(b) * log, b[::-1] * log, b[:, None] * log, composite(b, log)),
        *(pt.switch(b, np.array(True), y > 7) * log, pt.outer(b, log)),
        *(pt.prod(pt.stack([b, log]), axis=0), pt.concatenate([b, log])[:5] * log),
        *(pt.dot(b[:2], log[:2]), (b * log)[:3].mean(), (b.any() * log)),
        *(pt.zeros_like(y)[:3].set(b[:3]) * log, y[b].sum() * b),
        *(pt.eye(y.shape[0]) * square, pt.tri(y.shape[0]) * square),
    ]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_boolean_factor_is_one_or_zero(dtype):
    """Zero times infinity is nan, also under ``jit``."""
    y = pt.vector("y", dtype=dtype)
    outputs = _masked_products(y)
    agrees([y], outputs, [[-1, 0, np.inf, 2, np.nan]])


def test_an_input_that_a_boolean_is_given_for():
    x, y = pt.vectors("x", "y")
    fn = jaxlink.function([x, y], x * y)
    product = fn(np.array([False, True]), np.array([np.inf, np.inf]))
    np.testing.assert_array_equal(product, [np.nan, np.inf])


def test_gradient_of_a_masked_product():
    """That of what is masked is zero, for the other factor is."""
    x, y = pt.vectors("x", "y")
    fn = jaxlink.function([x, y], ((y > 0) * x + x * (y > 0)).sum())
    at = np.array([-1, 0, np.inf, 2, np.nan])
    gradient = jax.jit(jax.grad(fn))(np.full(5, 3.0), at)
    np.testing.assert_array_equal(gradient, [0, 0, 2, 2, 0])
