"""Convolution, and the window that goes with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.signal import convolve1d, convolve2d
from pytensor.tensor.signal.conv import Convolve1d
from support import check

import jaxlink
from jaxlink.dispatch.signal import MANY_TAPS
from jaxlink.errors import DynamicShapeError

RNG = np.random.default_rng(3)
A, B = RNG.normal(size=7), RNG.normal(size=3)
IMAGE, KERNEL = RNG.normal(size=(5, 6)), RNG.normal(size=(2, 3))
MODES = ["full", "valid", "same"]
CLOSE = {"rtol": 1e-9, "atol": 1e-12}

x, y = pt.vector("x"), pt.vector("y")
m, n = pt.matrix("m"), pt.matrix("n")


@pytest.mark.parametrize(
    ("a", "b"),
    [(A, B), (B, A), (A[:1], B), (A, A), (A[:1], A[:1])],
    ids=["longer", "shorter", "one", "same", "ones"],
)
def test_convolve1d(a, b):
    check([x, y], [convolve1d(x, y, mode) for mode in MODES], [a, b], **CLOSE)


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool", "complex128", "uint16"])
def test_dtypes(dtype):
    u, v = pt.vector("u", dtype=dtype), pt.vector("v", dtype=dtype)
    a, b = (A * 60).astype(dtype), np.array([100, 0, 77]).astype(dtype)
    if dtype == "complex128":
        a, b = a + 1j, b - 2j
    outputs = [convolve1d(u, v, "full"), convolve1d(v, u, "valid")]
    check([u, v], outputs, [a, b], **CLOSE)


def test_mixed_dtypes():
    u, v = pt.vector("u", dtype="int16"), pt.vector("v", dtype="float32")
    check([u, v, x], [convolve1d(u, v), convolve1d(v, x)], [A * 60, B, A], **CLOSE)


def test_batches():
    outputs = [convolve1d(m, n[:, :2]), convolve1d(m, x, "same"), convolve1d(x, m)]
    check([m, n, x], outputs, [IMAGE, IMAGE, B], **CLOSE)


@pytest.mark.parametrize("mode", ["full", "valid"])
def test_what_is_not_finite_stays_where_it_is(mode):
    """No zero of a padding meets an infinite tap."""
    b = np.array([np.inf, 1, np.nan, -np.inf, 2])
    check([x, y], convolve1d(x, y, mode), [A, b], grad=False)
    grads = pt.grad(convolve1d(x, y, mode)[0], [x, y])
    check([x, y], grads, [A, b], grad=False)


def test_the_pullback_compiles():
    cost = sum((convolve1d(x, y, mode) ** 2).sum() for mode in MODES)
    cost += sum((convolve2d(m, n, mode) ** 2).sum() for mode in MODES)
    outputs = pt.grad(cost, [x, y, m, n])
    values = [A, B, IMAGE, KERNEL]
    check([x, y, m, n], outputs, values, grad=False, vmap=False, rtol=1e-9, atol=1e-11)


def test_the_mode_may_be_an_argument():
    full = pt.scalar("full", dtype="bool")
    out = Blockwise(Convolve1d())(x, y, full)
    fn = jaxlink.function([x, y, full], out)
    assert fn.static_argnums == (2,)
    for mode in (True, False):
        expected = np.convolve(A, B, "full" if mode else "valid")
        np.testing.assert_allclose(fn(A, B, mode), expected)
        check([x, y], out.owner.op(x, y, x.shape[0] > 3 * mode), [A, B], **CLOSE)


def test_a_mode_that_depends_on_data_is_refused():
    with pytest.raises(DynamicShapeError, match="before the function runs"):
        jaxlink.function([x, y], Convolve1d()(x, y, (x[0] > 0)))


@pytest.mark.parametrize("mode", MODES)
def test_convolve2d(mode):
    outputs = [
        convolve2d(m, n, mode),
        convolve2d(n, m, mode) if mode != "same" else convolve2d(m, n, mode, "wrap"),
        convolve2d(m, n, mode, boundary="symm"),
        convolve2d(m, n, mode, fillvalue=1.5),
        convolve2d(m, n, mode, method="fft"),
    ]
    check([m, n], outputs, [IMAGE, KERNEL], vmap=False, rtol=1e-9, atol=1e-11)


def test_convolve2d_of_other_dtypes():
    i, f = pt.matrix("i", dtype="int8"), pt.matrix("f", dtype="float32")
    t = pt.tensor3("t")
    outputs = [convolve2d(i, i, method=method) for method in ("direct", "fft", "auto")]
    outputs += [convolve2d(t, m, "same")]
    values = [IMAGE * 60, np.stack([IMAGE, -IMAGE]), KERNEL]
    check([i, t, m], outputs, values, rtol=1e-9, atol=1e-11)
    # The error of an FFT is one of its largest element.
    check([f], convolve2d(f, f, method="fft"), [np.abs(IMAGE)], rtol32=1e-4, atol=1e-5)


def test_many_taps():
    u, v = RNG.normal(size=(30, 30)), RNG.normal(size=(25, 25))
    assert v.size > MANY_TAPS
    outputs = [convolve2d(m, n, mode) for mode in ("full", "valid")]
    check([m, n], outputs, [u, v], vmap=False, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("a", [(2, 5), (5, 2)])
def test_a_valid_convolution_needs_one_to_contain_the_other(a):
    fn = jaxlink.function([m, n], convolve2d(m, n, "valid"))
    with pytest.raises(ValueError, match="one must be at least as long as the other"):
        fn(np.ones(a), np.ones((3, 3)))


def test_nothing_is_refused():
    fn = jaxlink.function([x, y], convolve1d(x, y))
    with pytest.raises(ValueError, match="cannot convolve an empty array"):
        fn(np.ones(0), np.ones(2))


def test_transforms():
    fn = jaxlink.function([x, y], convolve1d(x, y, "valid"))
    jacobian = jax.jacfwd(fn, argnums=(0, 1))(jnp.asarray(A), jnp.asarray(B))
    reverse = jax.jacrev(fn, argnums=(0, 1))(jnp.asarray(A), jnp.asarray(B))
    for forward, backward in zip(jacobian, reverse, strict=True):
        np.testing.assert_allclose(forward, backward, atol=1e-14)


def test_bartlett():
    size = pt.lscalar("size")
    outputs = [pt.extra_ops.bartlett(size + i) for i in (-7, -4, 0, 3)]
    check([size], outputs, [5])
    outputs = x * pt.extra_ops.bartlett(x.shape[0])
    check([x], outputs, [A])
