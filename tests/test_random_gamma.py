"""Gamma draws and what is made of them, beyond the table of distributions: derivatives
with respect to shapes, large and small shapes, invalid ones; and Polya-Gamma draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from distributions.harness import KEY, REJECT, mean_p_value
from distributions.polyagamma import PolyaGamma
from scipy import special, stats
from support import quick

import jaxlink
from jaxlink.numerics.random.gamma import log_gamma, log_odds_of_beta, standard_gamma
from jaxlink.numerics.random.polyagamma import MOST_PIECES, SERIES


def compiled(rv, n_parameters, size):
    """``rv`` with a vector input for each parameter."""
    inputs = [pt.vector() for _ in range(n_parameters)]
    rng = pt.random.shared_rng(seed=0)
    _, x = rv(*inputs, size=size, rng=rng, return_next_rng=True)
    return jaxlink.function(inputs, x)


# --- derivatives ---------------------------------------------------------------------

SHAPES = np.array([1e-6, 1e-3, 0.1, 0.9, 1.1, 3.0, 30.0, 1e3, 1e6])
EACH = 25


def log_quantile(log_x, alpha):
    """alpha -> the logarithm of the draw of the same rank as x at ``alpha``.

    For small x, F = x**alpha / Gamma(alpha + 1) but for a factor 1 + O(x).
    """
    x = np.exp(log_x)
    tiny = log_x < np.log(1e-14)
    lower, upper = special.gammainc(alpha, x), special.gammaincc(alpha, x)
    log_rank = alpha * log_x - special.gammaln(alpha + 1)

    def at(moved):
        # A rank is measured from the end that is nearer.
        of_lower = special.gammaincinv(moved, lower)
        of_upper = special.gammainccinv(moved, upper)
        nearer = np.where(lower < upper, of_lower, of_upper)
        quantile = np.log(np.where(tiny, 1, nearer))
        leading = (log_rank + special.gammaln(moved + 1)) / moved
        return np.where(tiny, leading, quantile)

    return at


def log_draws(alpha):
    return log_gamma(KEY, (EACH, len(SHAPES)), alpha.dtype, alpha)


@pytest.mark.slow
def test_a_draw_keeps_its_rank_when_the_shape_moves():
    alpha = jnp.asarray(SHAPES)
    log_x, slope = jax.jit(
        lambda a: jax.jvp(log_draws, (a,), (jnp.ones_like(a),))
    )(alpha)  # fmt: skip
    at = log_quantile(np.asarray(log_x), SHAPES)
    # Some underflow, some are far from 1.
    assert log_x.min() < -1e6
    assert log_x.max() > 10
    step = SHAPES * 1e-4
    wanted = (at(SHAPES + step) - at(SHAPES - step)) / (2 * step)
    np.testing.assert_allclose(slope, wanted, rtol=3e-6)

    # Backwards, and for the draw itself, which a small shape makes 0.
    back = jax.jit(jax.grad(lambda a: log_draws(a).sum()))(alpha)
    np.testing.assert_allclose(back, slope.sum(0), rtol=1e-9)
    x, slope_of_x = jax.jvp(
        lambda a: standard_gamma(KEY, log_x.shape, a.dtype, a),
        (alpha,),
        (jnp.ones_like(alpha),),
    )
    np.testing.assert_allclose(x, np.exp(log_x), rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(
        slope_of_x, np.exp(log_x) * wanted, rtol=3e-6, atol=1e-290
    )


@pytest.mark.slow
def test_slopes_in_32_bits():
    alpha = SHAPES.astype("float32")
    log_x, slope = jax.jvp(
        log_draws, (jnp.asarray(alpha),), (jnp.ones(len(SHAPES), "float32"),)
    )
    assert slope.dtype == np.float32
    alpha = alpha.astype(float)
    at = log_quantile(np.asarray(log_x, float), alpha)
    step = alpha * 1e-4
    wanted = (at(alpha + step) - at(alpha - step)) / (2 * step)
    np.testing.assert_allclose(slope, wanted, rtol=2e-5)


@pytest.mark.slow
def test_second_derivative_is_of_a_draw_that_keeps_its_rank():
    alpha = jnp.array([0.3, 0.9, 2.0, 40.0])

    def slope(a):
        def draws(a):
            return log_gamma(KEY, (EACH, 4), a.dtype, a)

        return jax.jvp(draws, (a,), (jnp.ones_like(a),))

    (log_x, _), (_, curvature) = jax.jvp(slope, (alpha,), (jnp.ones_like(alpha),))
    at = log_quantile(np.asarray(log_x), np.asarray(alpha))
    step = np.asarray(alpha) * 1e-3
    values = [at(alpha + side * step) for side in (1, 0, -1)]
    wanted = (values[0] - 2 * values[1] + values[2]) / step**2
    np.testing.assert_allclose(curvature, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_gradients_of_shapes_through_a_function():
    """Forward, backward and mapped over keys, of what divides gamma draws."""
    df = np.array([0.5, 4.0, 1e8])
    t = compiled(ptr.t, 3, (6, 3))
    loc, scale = np.zeros(3), np.ones(3)

    def draws(key, df):
        return t(key, df, loc, scale)

    keys = jax.random.split(KEY, 2)
    forward = jax.vmap(jax.jacfwd(draws, 1), (0, None))(keys, df)
    backward = jax.vmap(jax.jacrev(draws, 1), (0, None))(keys, df)
    np.testing.assert_allclose(forward, backward, rtol=1e-9, atol=1e-300)
    assert np.isfinite(forward).all()
    # With x = z sqrt(df / (2 g)): for many degrees of freedom x nears z, from further
    # out, by (g - df / 2) / df, which falls with 1 / sqrt(df).
    assert abs(forward[:, :, 2, 2]).max() < 1e-11


# --- large, small and invalid shapes -------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_large_shapes_in_32_bits():
    """Draws as close to their mean as this keep the digits in which they differ."""
    n = 20_000
    with jax.enable_x64(False):
        a, b = (np.array([v], "float32") for v in (1e8, 3e8))
        df, zero, one = (np.array([v], "float32") for v in (1e8, 0, 1))
        beta = np.asarray(log_odds_of_beta(KEY, (n,), np.float32, a, b), float)
        inputs = [pt.vector(dtype="float32", shape=(1,)) for _ in range(3)]
        rng = pt.random.shared_rng(seed=0)
        draws = [
            rv(*params, size=(n,), rng=rng, return_next_rng=True)[1]
            for rv, params in ((ptr._gamma, inputs[:2]), (ptr.t, inputs))
        ]
        gamma, _ = quick(jaxlink.function(inputs, draws))(KEY, a, one, one)
        _, t = quick(jaxlink.function(inputs, draws))(KEY, df, zero, one)
    # The variance of the log odds is nearly 1 / a + 1 / b.
    log_odds = (beta - np.log(1 / 3)) / np.sqrt(1 / 1e8 + 1 / 3e8)
    assert stats.kstest(log_odds, stats.norm(0, 1).cdf).pvalue > REJECT
    gamma = (np.asarray(gamma, float) - 1e8) / 1e4
    assert stats.kstest(gamma, stats.norm(0, 1).cdf).pvalue > REJECT
    assert stats.kstest(np.asarray(t, float), stats.norm(0, 1).cdf).pvalue > REJECT


def test_a_large_scale_brings_back_what_underflows():
    fn = compiled(ptr._gamma, 2, (50_000, 2))
    draws = np.asarray(fn(KEY, np.full(2, 1e-3), np.array([1.0, 1e30])))
    for column, scale in zip(draws.T, (1.0, 1e30), strict=True):
        log_x = np.log(np.finfo(float).tiny) - np.log(scale)
        share = np.exp(1e-3 * log_x - special.gammaln(1 + 1e-3))
        n = int((column < np.finfo(float).tiny).sum())
        assert stats.binomtest(n, len(column), share).pvalue > REJECT


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odds_of_tiny_shapes(dtype):
    """Far from 0 the log odds of x are log(x), or -log(1 - x), with P(X < x) = x**a /
    (a B(a, b)), so that exponential distributions are what is left of them."""
    a, b, n = 1e-3, 3e-3, 50_000
    log_odds = log_odds_of_beta(
        KEY, (n,), np.dtype(dtype), *(jnp.asarray(v, dtype) for v in (a, b))
    )
    log_odds = np.asarray(log_odds, float)
    assert np.isfinite(log_odds).all()
    high = log_odds > 40
    share = np.exp(-40 * b - np.log(b) - special.betaln(a, b))
    assert stats.binomtest(int(high.sum()), n, share).pvalue > REJECT
    tails = [(log_odds[high] - 40) * b, (-log_odds[log_odds < -40] - 40) * a]
    for tail in tails:
        assert stats.kstest(tail, stats.expon.cdf).pvalue > REJECT
    # What is below the smallest float is 0, what is too near to 1 is 1.
    x = np.asarray(jax.nn.sigmoid(jnp.asarray(log_odds, dtype)))
    np.testing.assert_array_equal(x[log_odds > 40], 1)
    np.testing.assert_array_equal(x[log_odds < -800], 0)


def test_invalid_shapes_are_nan_and_shape_0_is_0():
    alpha = np.array([np.nan, -1.0, -0.1, np.inf, -np.inf, 0.0, 2.0])
    one = np.ones(7)
    bad = np.isin(np.arange(7), [5, 6], invert=True)
    inputs = [pt.vector() for _ in range(3)]
    a, b, _ = inputs
    rows = [
        (ptr._gamma, (a, b)), (ptr.invgamma, (a, b)), (ptr.gengamma, inputs),
        (ptr.beta, (a, b)), (ptr.beta, (b, a)), (ptr.t, inputs),
    ]  # fmt: skip
    outs = [
        rv(*p, size=(4, 7), rng=pt.random.shared_rng(seed=0), return_next_rng=True)[1]
        for rv, p in rows
    ]
    draws = quick(jaxlink.function(inputs, outs))(KEY, alpha, one, one)
    for x in draws:
        assert np.isnan(x[:, bad]).all()
        assert np.isfinite(x[:, 6]).all()
    # As in NumPy: all of it is at 0, or there is an error.
    at_zero = np.array([x[:, 5] for x in draws])
    wanted = np.array([0, np.inf, 0, np.nan, np.nan, np.nan])[:, None]
    np.testing.assert_array_equal(at_zero, np.broadcast_to(wanted, at_zero.shape))


# --- Polya-Gamma ---------------------------------------------------------------------


@pytest.mark.slow
def test_polyagamma_moments_and_transform():
    """By rejection and by the series, and with parameters of every size."""
    h = np.array([1e-3, 0.05, 0.7, 1.0, 2.5, 5.0, 17.0, 17.0, 100.0, 100.0, 1e6])
    z = np.array([0.0, 3.0, -4.0, 0.0, 60.0, -1e-6, 0.0, 25.0, 0.3, 60.0, 2.0])
    n = 4000
    inputs = pt.vectors("h", "z")
    fn = jaxlink.function(inputs, pm.PolyaGamma.dist(*inputs, size=(n, len(h))))
    draws = np.asarray(fn(KEY, h, z))
    assert (draws > 0).all()
    np.testing.assert_array_equal(draws, fn(KEY, h, -z))
    p_values = []
    for x, *point in zip(draws.T, h, z, strict=True):
        mean, variance = moments(*point)
        if point[0] > 0.5:
            p_values.append(mean_p_value(x, mean))
            p_values.append(mean_p_value((x - mean) ** 2, variance))
        if point[0] < 1e4:
            wanted = np.exp(PolyaGamma(*point).log_transform(0.5 / mean)).real
            p_values.append(mean_p_value(np.exp(-0.5 * x / mean), wanted))
    assert min(p_values) > REJECT


def moments(h, z):
    c = abs(z)
    if c < 1e-3:
        return h / 4, h / 24
    variance = h * (np.sinh(c) - c) / np.cosh(c / 2) ** 2 / (4 * c**3)
    return h * np.tanh(c / 2) / (2 * c), variance


def test_polyagamma_without_a_meaning_is_nan():
    h = np.array([np.nan, 0.0, -1.0, np.inf, 1.0, 1.0, 2.0])
    z = np.array([1.0, 1.0, 1.0, 1.0, np.nan, np.inf, 1e200])
    inputs = pt.vectors("h", "z")
    draws = quick(jaxlink.function(inputs, pm.PolyaGamma.dist(*inputs)))(KEY, h, z)
    assert np.isnan(draws[:-1]).all()
    # The mean is h / (2 z), and nothing is far from it.
    np.testing.assert_allclose(draws[-1], 1e-200, rtol=1e-9)


def test_the_references_of_polyagamma_agree():
    for h, z in ((0.7, 0.3), (1.0, -4.0), (2.5, 0.0)):
        exact = PolyaGamma(h, z)
        x = exact.mean * np.array([0.1, 0.5, 1.0, 2.0, 4.0])
        np.testing.assert_allclose(
            exact.by_talbot(x), exact.by_fourier(x), atol=1e-7
        )  # fmt: skip
    # One of h = 1 is the sum of a theta function too, Devroye (2009).
    k = np.arange(30)[:, None] + 0.5
    x = np.array([0.1, 0.25, 1.0])
    rate = (np.pi * k) ** 2 * 2
    survival = ((-1.0) ** (k - 0.5) / (np.pi * k) * 2 * np.exp(-rate * x)).sum(0)
    np.testing.assert_allclose(PolyaGamma(1.0, 0.0).by_fourier(x), 1 - survival)


@pytest.mark.parametrize(
    ("h", "z", "error"),
    [(MOST_PIECES, 0.0, 1e-13), (MOST_PIECES, 12.0, 1e-9), (MOST_PIECES, 30.0, 2e-8),
     (100, 32.0, 2e-8)],
)  # fmt: skip
def test_the_series_of_polyagamma_is_as_good_as_exact(h, z, error):
    """The distribution function of a sum of gamma draws and a shifted one, less the
    exact one, from their transforms."""
    exact = PolyaGamma(h, z)
    k = np.arange(1_000_000) + 0.5
    weights = 1 / (2 * (np.pi * k) ** 2 + z * z / 2)
    first = weights[:SERIES]
    mean = exact.mean - h * first.sum()
    second, third = (h * (weights[SERIES:] ** n).sum() for n in (2, 3))
    scale = third / second
    alpha = second / scale**2
    sd = np.sqrt(exact.variance)
    t = (np.arange(4000) + 0.5) * (0.006 / sd)
    log_of_sum = -h * np.log(1 - 1j * t * first[:, None]).sum(0)
    log_of_sum += 1j * t * (mean - alpha * scale) - alpha * np.log(1 - 1j * t * scale)
    off = np.exp(exact.log_transform(-1j * t)) - np.exp(log_of_sum)
    x = exact.mean + sd * np.linspace(-4, 6, 101)[:, None]
    errors = (np.exp(-1j * t * x) * off / t).imag.sum(axis=1) * (0.006 / sd) / np.pi
    assert abs(errors).max() < error
    # It is not for nothing that the remainder is there.
    assert mean > 1e-3 * exact.mean
