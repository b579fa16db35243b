"""Reductions: the rows of the table are the tests."""

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
from pytensor.tensor.elemwise import CAReduce
from pytensor.tensor.math import Argmax, Max, Min, ProdWithoutZeros
from support import check

import jaxlink

TINY = ("int8", "uint8", "int16")
RNG = np.random.default_rng(0)
FLOATS = RNG.normal(size=(2, 3, 4))
# Small whole numbers, of which many are equal and some are zero.
WHOLE = RNG.integers(-3, 4, size=(2, 3, 4))
AXES = (None, 0, -1, (0, 2), (0, 1, 2), ())


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint8", "int64"])
def test_numbers(name, dtype):
    x = pt.tensor3("x", dtype=dtype)
    fn = getattr(pt, name)
    outputs = [fn(x, axis=axis) for axis in AXES[:-1]]
    outputs.append(fn(x, axis=1, keepdims=True))
    values = FLOATS if dtype.startswith("float") else abs(WHOLE)
    check([x], outputs, [values], rtol=1e-12)


@pytest.mark.parametrize("name", ["all", "any", "sum", "prod", "max", "min"])
def test_booleans(name):
    x = pt.tensor3("x", dtype="bool")
    fn = getattr(pt, name)
    check([x], [fn(x, axis=axis) for axis in AXES[:-1]], [WHOLE > 0])


@pytest.mark.parametrize("scalar_op", [ps.and_, ps.or_, ps.xor])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool"])
def test_bits(scalar_op, dtype):
    x = pt.tensor3("x", dtype=dtype)
    outputs = [CAReduce(scalar_op, axis=axis)(x) for axis in (None, 1, (0, 2))]
    check([x], outputs, [(abs(WHOLE) > 1) if dtype == "bool" else abs(WHOLE)])


def test_dtypes_of_accumulator_and_output():
    x = pt.vector("x", dtype="float32")
    n = pt.vector("n", dtype="int8")
    outputs = [
        pt.sum(x, dtype="float64"),
        pt.sum(x),
        pt.sum(n, dtype="int8"),
        pt.sum(n),
        pt.sum(n, acc_dtype="float64", dtype="float32"),
        pt.prod(n, dtype="int16"),
    ]
    many = np.full(3000, 0.1, "float32")
    check([x, n], outputs, [many, np.full(100, 7)], grad=False, rtol32=1e-7)


def test_nan_and_infinities():
    x = pt.matrix("x")
    values = [[1, np.nan, 3], [np.inf, -np.inf, 0], [-0.0, 2, np.inf]]
    outputs = [fn(x, axis=1) for fn in (pt.max, pt.min, pt.sum, pt.prod, pt.argmax)]
    check([x], outputs, [values], grad=False)


def test_empty():
    x = pt.matrix("x")
    outputs = [pt.sum(x, axis=0), pt.prod(x, axis=0), pt.max(x, axis=1), pt.sum(x)]
    outputs += [pt.all(x, axis=0), pt.any(x, axis=0)]
    check([x], outputs, [np.ones((0, 3))])


def test_empty_with_an_initial_value():
    x, n = pt.matrix("x"), pt.matrix("n", dtype="int8")
    outputs = [Op((0,), initial=True)(v) for Op in (Max, Min) for v in (x, n)]
    check([x, n], outputs, [np.ones((0, 3)), np.ones((0, 3))])
    check([x, n], outputs, [FLOATS[0], WHOLE[0]])


def test_empty_maximum_raises():
    x = pt.vector("x")
    with pytest.raises(ValueError, match="zero-size"):
        jaxlink.function([x], pt.max(x))(np.ones(0))


def test_product_with_zeros_has_a_gradient():
    x = pt.matrix("x")
    values = [[1.0, 2, 3], [0, 2, 3], [0, 0, 3]]
    check([x], pt.prod(x, axis=1), [values])


def test_prod_without_zeros():
    x = pt.matrix("x")
    values = [[1.0, 2, 3], [0, 2, 3], [0, 0, 3], [0, 0, 0]]
    outputs = [ProdWithoutZeros(1)(x), ProdWithoutZeros()(x)]
    check([x], outputs, [values], grad=False)


@pytest.mark.parametrize("dtype", ["float64", "int8", "bool"])
def test_argmax(dtype):
    x = pt.tensor3("x", dtype=dtype)
    outputs = [Argmax(axis)(x) for axis in (None, (0,), (1, 2), (0, 2))]
    outputs += [pt.argmin(x, axis=1)] if dtype != "bool" else []
    # Ties go to the first.
    check([x], outputs, [WHOLE > 0 if dtype == "bool" else WHOLE])


def test_argmax_is_the_first_nan():
    x = pt.matrix("x")
    values = [[1, np.nan, np.inf], [np.nan, np.nan, 0], [-0.0, 0.0, -1]]
    check([x], pt.argmax(x, axis=1), [values])


def test_argmax_of_complex_numbers():
    x = pt.matrix("x", dtype="complex128")
    values = [[1 + 2j, 1 + 3j, 1 + 3j], [2, np.nan, 3], [-1j, -2j, -3j]]
    check([x], [pt.argmax(x, axis=1), pt.max(x[::2], axis=1)], [values])


def test_sums_in_small_integers_wrap():
    x, n = pt.vector("x"), pt.vector("n", dtype="int64")
    outputs = [fn(v, dtype=d) for fn in (pt.sum, pt.prod) for v in (x, n) for d in TINY]
    check([x, n], outputs, [[100.5, 27, 3], [100, 27, -3]], grad=False)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "int32"])
def test_cumulative_ops_keep_their_dtype(dtype):
    """PyTensor's Python returns int64 against its own type; its C code wraps."""
    x = pt.vector("x", dtype=dtype)
    values = np.array([100, 27, 3]).astype(dtype)
    sums, products = jaxlink.function([x], [pt.cumsum(x), pt.cumprod(x)])(values)
    assert sums.dtype == products.dtype == dtype
    np.testing.assert_array_equal(sums, np.cumsum(values).astype(dtype))
    np.testing.assert_array_equal(products, np.cumprod(values).astype(dtype))


NUMBERS = {
    "float64": [3, np.nan, -0.0, 0, np.inf, 1, 1, -np.inf],
    "float32": [3, np.nan, 2, 0, np.inf, 1, 1, -np.inf],
    "int8": [3, -128, 127, 0, 0, 1, 1, -1],
    "uint64": [3, 2**64 - 1, 2**63, 0, 0, 1, 1, 2**53 + 1],
    "bool": [1, 0, 1, 1, 0, 0, 1, 0],
}


@pytest.mark.parametrize("dtype", NUMBERS)
def test_sorting(dtype):
    """Stable: PyTensor's default leaves the order of equal elements open."""
    x, m = pt.vector("x", dtype=dtype), pt.tensor3("m", dtype=dtype)
    outputs = [pt.sort(x), pt.argsort(x, kind="stable"), pt.sort(m, axis=None)]
    outputs += [pt.sort(m, axis=axis) for axis in (0, -1)]
    outputs += [pt.argsort(m, axis=axis, kind="stable") for axis in (0, 1)]
    values = np.array(NUMBERS[dtype], dtype)
    check([x, m], outputs, [values, values.reshape(2, 2, 2)], grad=False)


def test_searchsorted():
    x, v = pt.vector("x"), pt.matrix("v")
    n, u = pt.lvector("n"), pt.vector("u", dtype="uint8")
    order = pt.lvector("order")
    outputs = [
        *[pt.searchsorted(x, v, side=side) for side in ("left", "right")],
        *[pt.searchsorted(n, u), pt.searchsorted(n, v), pt.searchsorted(x, u)],
        pt.searchsorted(x[::-1], v, sorter=order),
        pt.searchsorted(x[:0], v),
    ]
    values = [
        [-np.inf, 0, 1, 1, 2, np.nan],
        [[1, np.nan, -1], [np.inf, 0.5, -np.inf]],
        [0, 3, 3, 2**53, 2**53 + 1],
        [0, 3, 255],
        [5, 4, 3, 2, 1, 0],
    ]
    check([x, v, n, u, order], outputs, values, grad=False)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_cumulative(dtype):
    x = pt.matrix("x", dtype=dtype)
    outputs = [pt.cumsum(x, axis=0), pt.cumprod(x, axis=1), pt.cumsum(x)]
    values = FLOATS[0] if dtype.startswith("float") else WHOLE[0]
    check([x], outputs, [values])


def test_statistics():
    x = pt.matrix("x")
    check([x], [pt.var(x, axis=0), pt.std(x), pt.logsumexp(x, axis=1)], [FLOATS[0]])
