"""Draws at extreme but legal parameters: none is nan or out of the support, and they
come from the distribution, in the tails too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distributions.extremes import EXTREMES, Inflated, p_value
from scipy import stats
from support import quick

import jaxlink

KEY = jax.random.key(21)
FEW, MANY = 100_000, 1_000_000
REJECT = 1e-7

# Shapes and probabilities next to 0, tails, and concentrations: what goes wrong first.
FIRST = (
    "gamma",
    "beta",
    "t",
    "bernoulli",
    "categorical",
    "von_mises",
    "truncated_normal",
)
# What takes seconds, most of them in SciPy.
SLOW = ("beta_binomial", "binomial", "dirichlet", "hypergeometric", "multinomial")


def check(name, draws, x64):
    extreme = EXTREMES[name]
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        inputs = extreme.inputs()
        size = (draws, len(extreme.points[0]))
        fn = quick(jaxlink.function(inputs, extreme.build(*inputs, size=size)))
        values = [jnp.asarray(v) for v in extreme.values]
        drawn = np.asarray(fn(KEY, *values))
    # The parameters are what JAX makes of them.
    exact = [
        np.asarray(v, e.dtype) for v, e in zip(values, extreme.values, strict=True)
    ]
    assert not np.isnan(drawn).any()
    if extreme.valid is not None:
        assert extreme.valid(drawn).all()
    if extreme.view is not None:
        drawn = extreme.view(drawn)
    for x, *point in zip(drawn.T, *exact, strict=True):
        low, high = extreme.support_of(*point)
        assert low <= x.min(), point
        assert x.max() <= high, point
        dtype = np.float64 if x64 else np.float32
        assert p_value(x, extreme.reference(*point), dtype) > REJECT, point


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("name", [n for n in EXTREMES if n not in (*FIRST, *SLOW)])
def test_in_32_bits(name):
    check(name, FEW, x64=False)


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize(
    ("name", "x64"),
    [
        (name, x64)
        if name in FIRST and not x64
        else pytest.param(name, x64, marks=pytest.mark.slow)
        for name in EXTREMES
        for x64 in (False, True)
    ],
)
def test_a_million(name, x64):
    check(name, MANY, x64)


# --- the test of the tests -----------------------------------------------------------


def test_faults_are_noticed():
    rng = np.random.default_rng(4)
    x = rng.exponential(size=FEW)
    assert p_value(x, stats.expon(), np.float64) > REJECT
    assert p_value(x * 1.05, stats.expon(), np.float64) < REJECT
    # An atom at 0, far below the smallest probability of a coarse test.
    x[:3] = 0
    assert p_value(x, stats.expon(), np.float64) < REJECT
    # What underflows is no atom.
    tiny = rng.gamma(1e-3, size=FEW)
    assert (tiny == 0).mean() > 0.4
    assert p_value(tiny, stats.gamma(1e-3), np.float64) > REJECT
    assert p_value(np.maximum(tiny, 1e-300), stats.gamma(1e-3), np.float64) < REJECT
    k = rng.poisson(50, size=FEW) * (rng.random(FEW) < 1e-4)
    assert p_value(k, Inflated(1e-4, stats.poisson(50)), np.float64) > REJECT
    assert p_value(k, Inflated(1e-2, stats.poisson(50)), np.float64) < REJECT
