"""Elementary functions over the whole range, compared with mpmath.

What XLA computes of large arguments is 200 units in the last place off (``sinh``,
``cosh``, ``exp2``): too little for the other tests to notice.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytensor.tensor as pt
import pytest

import jaxlink

mpmath.mp.prec = 120
LN2 = mpmath.log(2)

# Each with its derivative.
FUNCTIONS = {
    "sinh": (pt.sinh, mpmath.sinh, mpmath.cosh),
    "cosh": (pt.cosh, mpmath.cosh, mpmath.sinh),
    "exp2": (pt.exp2, lambda x: mpmath.mpf(2) ** x, lambda x: LN2 * mpmath.mpf(2) ** x),
    "exp": (pt.exp, mpmath.exp, mpmath.exp),
    "expm1": (pt.expm1, mpmath.expm1, mpmath.exp),
    "tanh": (pt.tanh, mpmath.tanh, None),
}


def points(dtype):
    """Of all magnitudes, denser where the functions leave the range of the floats."""
    info, draws = np.finfo(dtype), np.random.default_rng(0)
    end = np.log(float(info.max))
    magnitudes = draws.uniform(np.log(float(info.tiny)), end, 60)
    near_end = np.linspace(end - 1, end + 1, 40)
    base_2 = np.linspace(info.maxexp - 2, info.maxexp + 0.5, 20)
    parts = np.exp(magnitudes), draws.uniform(0, end, 100), near_end, base_2
    positive = np.concatenate([[0.0, info.tiny, 1.5 * info.tiny, np.inf], *parts])
    return np.concatenate([positive, -positive, [np.nan]]).astype(dtype)


def rounded(fn, x, dtype):
    """``fn`` of each ``x``, and zero for what is subnormal, as XLA has it on a CPU."""
    values = np.array([float(fn(mpmath.mpf(float(v)))) for v in x])
    values = np.where(abs(values) < np.finfo(dtype).tiny, 0, values)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_gradient_over_the_whole_range(name, dtype):
    op, function, slope = FUNCTIONS[name]
    x = pt.vector("x", dtype=dtype)
    fn = jaxlink.function([x], op(x))
    at, eps = points(dtype), np.finfo(dtype).eps
    value, gradient = jax.jit(
        lambda x: (fn(x), jax.grad(lambda x: fn(x).sum())(x)),
    )(at)
    assert value.dtype == gradient.dtype == dtype
    tolerance = {"rtol": 3 * eps, "atol": 2 * np.finfo(dtype).tiny}
    np.testing.assert_allclose(value, rounded(function, at, dtype), **tolerance)
    if slope is not None:
        # A slope smaller than its value may be in range where that is not.
        known = np.isfinite(value) | ~np.isfinite(at)
        expected = rounded(slope, at[known], dtype)
        np.testing.assert_allclose(gradient[known], expected, **tolerance)


def test_signs_of_zeros():
    x = pt.vector("x")
    zeros = jaxlink.function([x], [pt.sinh(x), pt.expm1(x)])(np.array([0.0, -0.0]))
    for zero in zeros:
        np.testing.assert_array_equal(np.signbit(zero), [False, True])


def test_higher_derivatives():
    x = pt.scalar("x")
    fn = jaxlink.function([x], [pt.sinh(x), pt.cosh(x), pt.exp2(x)])
    third = jax.jacfwd(jax.jacrev(jax.jacfwd(fn)))
    at = 3.7
    expected = np.cosh(at), np.sinh(at), np.log(2) ** 3 * 2**at
    np.testing.assert_allclose(third(at), expected, rtol=1e-13)


PARTS = [1e-9, -1e-9, 0.3, 30, 700, -709, 710.2]


@pytest.mark.parametrize("name", ["sinh", "cosh"])
def test_both_parts_of_a_complex_number(name):
    z = pt.zvector("z")
    at = np.array([complex(a, b) for a in PARTS for b in (1e-9, 1, -2, 1e5)])
    got = np.asarray(jaxlink.function([z], getattr(pt, name)(z))(at))
    expected = [getattr(mpmath, name)(mpmath.mpmathify(v)) for v in at.tolist()]
    for part in ("real", "imag"):
        known = [float(getattr(v, part)) for v in expected]
        np.testing.assert_allclose(getattr(got, part), known, rtol=1e-15)


def test_sign_of_complex_numbers_at_infinity():
    parts = [0, -2.5, np.inf, -np.inf, np.nan, 1e300]
    at = np.array([complex(a, b) for a in parts for b in parts])
    z = pt.zvector("z")
    got = jaxlink.function([z], pt.sign(z))(at)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(got, np.sign(at), rtol=1e-15)
    assert jnp.isfinite(got[np.isinf(at.real) ^ np.isinf(at.imag)]).all()
