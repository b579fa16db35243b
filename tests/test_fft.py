"""Fourier transforms."""

import jax
import numpy as np
import pytensor.tensor as pt
import pytest
from jax.test_util import check_grads
from pytensor.tensor.fft import irfft, irfft_op, rfft, rfft_op
from pytensor.tensor.fourier import fft
from support import check

import jaxlink
from jaxlink.errors import DynamicShapeError, UnsupportedOpError

RNG = np.random.default_rng(4)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
NORMS = [None, "ortho", "no_norm"]

x = pt.vector("x")
m = pt.matrix("m")
t = pt.tensor3("t")


@pytest.mark.parametrize("shape", [(2, 6), (2, 5), (3, 1), (2, 4, 3), (1, 2, 3, 2, 4)])
def test_real_transforms(shape):
    a = pt.tensor("a", shape=(None,) * len(shape))
    spectrum = pt.tensor("spectrum", shape=(None,) * (len(shape) + 1))
    values = [RNG.normal(size=shape), RNG.normal(size=(*shape, 2))]
    outputs = [rfft(a, norm) for norm in NORMS]
    outputs += [irfft(spectrum, norm, is_odd=True) for norm in NORMS]
    if shape[-1] > 1:
        outputs += [irfft(spectrum, norm) for norm in NORMS]
    check([a, spectrum], outputs, values, **CLOSE)


def test_the_pullbacks_compile():
    spectrum = pt.tensor3("spectrum")
    costs = [(rfft(m, "ortho") ** 3).sum(), (irfft(rfft(m) ** 2) ** 2).sum()]
    grads = [pt.grad(cost, m) for cost in costs]
    grads += [pt.grad((irfft(spectrum, is_odd=True) ** 3).sum(), spectrum)]
    values = [RNG.normal(size=(2, 6)), RNG.normal(size=(2, 3, 2))]
    check([m, spectrum], grads, values, grad=False, rtol=1e-9, atol=1e-10)


def test_lengths_that_crop_and_pad():
    """PyTensor's own gradient has the shape of the result, so it is left out."""
    n = pt.lscalar("n")
    outputs = [rfft_op(m, pt.stack([n])), irfft_op(t, pt.stack([n]))]
    outputs += [rfft_op(t, pt.stack([n, n + 1])), rfft_op(t, pt.stack([n]))]
    values = [RNG.normal(size=(2, 5)), RNG.normal(size=(3, 4, 2))]
    for length in (1, 3, 4, 9):
        fn = check([m, t, n], outputs, [*values, length], grad=False, **CLOSE)
    check_grads(lambda a, b: fn(a, b, 4), values, 1)


def test_dtypes():
    f, i = pt.matrix("f", dtype="float32"), pt.matrix("i", dtype="int16")
    g, j = pt.tensor3("g", dtype="float32"), pt.tensor3("j", dtype="int64")
    outputs = [rfft_op(f), rfft(f, "ortho"), irfft(g), irfft_op(j), rfft_op(i)]
    half = pt.matrix("half", dtype="float16")
    check(
        [f, i, g, j, half],
        [*outputs, rfft_op(half)],
        [
            RNG.normal(size=(2, 6)),
            [[3, 0, 0, 1]],
            RNG.normal(size=(2, 4, 2)),
            np.arange(6).reshape(1, 3, 2),
            [[1.5, 2, -3, 0.25]],
        ],
        rtol32=1e-4,
        **CLOSE,
    )


def test_what_is_not_finite():
    rows = np.array([[1, 2, np.inf, 3], [1, np.nan, 2, 0], [1, 2, 3, 4]])
    fn = jaxlink.function([m], rfft(m))
    got = np.asarray(fn(rows))
    assert not np.isfinite(got[:2]).all(axis=(1, 2)).any()
    np.testing.assert_allclose(got[2, :, 0], np.fft.rfft(rows[2]).real)


def test_an_empty_batch():
    check([m, t], [rfft_op(m), irfft_op(t)], [np.ones((0, 4)), np.ones((0, 3, 2))])


def test_refusals():
    with pytest.raises(UnsupportedOpError, match="takes a real array"):
        jaxlink.function([z := pt.zmatrix("z")], rfft_op(z))
    with pytest.raises(DynamicShapeError, match="before the function runs"):
        jaxlink.function([m], rfft_op(m, m[0].astype("int64")))
    fn = jaxlink.function([m], rfft_op(m))
    with pytest.raises(ValueError, match="lengths of at least 1"):
        fn(np.ones((2, 0)))
    fn = jaxlink.function([m, n := pt.lscalar("n")], fft(m, n, 0))
    with pytest.raises(ValueError, match="lengths of at least 1"):
        fn(np.ones((2, 2)), 0)


# --- complex -------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("n", [None, 1, 3, 6])
def test_fourier(n, axis):
    z = pt.zmatrix("z")
    values = RNG.normal(size=(2, 4, 3))
    outputs = [fft(m, n, axis), fft(z, n, axis), pt.real(fft(m, n, axis))]
    values = [values[0], values[0] + 1j * values[1]]
    check([m, z], outputs, values, grad=False, **CLOSE)


def test_fourier_of_operands_known_late():
    n, axis = pt.lscalar("n"), pt.lscalar("axis")
    values = [RNG.normal(size=(4, 3)), 5, 0]
    fn = check([m, n, axis], fft(m, n, axis), values, grad=False, **CLOSE)
    assert fn.static_argnums == (1, 2)
    check([m], fft(m, m.shape[0] + 1, m.ndim - 2), values[:1], grad=False, **CLOSE)


def test_fourier_is_of_its_declared_dtype():
    """NumPy's of a float32 array is complex64, which PyTensor's type denies."""
    i, f = pt.vector("i", dtype="int8"), pt.vector("f", dtype="float32")
    fn = jaxlink.function([i, f], [fft(i, None, None), fft(f, None, None)])
    values = np.array([1, -100, 3], "int8"), np.array([0.1, 2, 3], "float32")
    for got, value in zip(fn(*values), values, strict=True):
        assert got.dtype == "complex128"
        np.testing.assert_allclose(got, np.fft.fft(value.astype(float)), rtol=1e-12)


@pytest.mark.parametrize("n", [None, 3, 6])
def test_gradient_of_fourier(n):
    """PyTensor cannot differentiate it: against the transform of unit vectors."""
    y = fft(x, n, None)
    fn = jaxlink.function([x], [pt.real(y), pt.imag(y)])
    values = RNG.normal(size=4)
    check_grads(fn, (values,), 2)

    def parts(v):
        out = np.fft.fft(v, n)
        return np.stack([out.real, out.imag])

    expected = np.stack([parts(row) for row in np.eye(4)], axis=-1)
    got = np.stack(jax.jacrev(fn)(values))
    np.testing.assert_allclose(got, expected, atol=1e-14)
