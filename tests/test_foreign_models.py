"""Models that Bambi and pymc-extras build: log density and gradient, near the start and
far from it, in 64 and in 32 bits, and draws of the prior are PyMC's.

    uv run --group foreign pytest -m slow tests/test_foreign_models.py
"""

import logging
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from foreign import MODELS
from foreign.bambi import frame
from models.compare import PYTHON, assert_agree, only_chain, samples_p_values
from support import quick

import jaxlink
import jaxlink.pymc as jlpm

pytestmark = pytest.mark.slow

# Standard deviations of the positions about the initial point.
SPREADS = (0, 0.1, 1, 1, 5, 5)
OURS, THEIRS = 4000, 400

# The signs of eigenvectors are open, and those of JAX and SciPy differ.
SIGNS_ARE_OPEN = {"extras_karhunen_loeve"}

# Far out, numbers that are below the least of 32 bits (a spectral density, the
# probability of zero) become zero before a root or logarithm is taken. PyMC's gradients
# are nan then, too, when it computes in 32 bits.
UNDERFLOW_IN_32_BITS = {"bambi_hsgp", "bambi_hurdle_poisson"}

# PyMC's own values are wrong far out: a probability of survival becomes zero before its
# logarithm is taken, and the squared distance of a point to itself is not zero. Tests
# below compare with closed forms there.
WRONG_FAR_OUT = {"bambi_censored_exponential", "extras_projected_process"}

# A probability beyond a censored value that underflows in PyMC, and here stays in
# logarithms.
UNDERFLOW_IN_PYMC = {"bambi_censored"}

# A test below has the reason.
NAN_IN_32_BITS = {"extras_projected_process"}


@pytest.fixture(autouse=True)
def pymc_is_quiet(caplog):
    caplog.set_level(logging.WARNING, "pymc")


@cache
def built(name):
    return MODELS[name].build()


def positions(model):
    rng, start = np.random.default_rng(32), model.initial_point()
    for spread in SPREADS:
        yield (
            spread,
            {n: x + spread * rng.normal(size=x.shape) for n, x in start.items()},
        )


def value_and_slope(model):
    """Our log density and flat gradient, in the precision of this moment."""
    density = jlpm.logdensity(model)
    both = quick(jax.value_and_grad(density))
    dtype = jnp.result_type(float)

    def fn(position):
        value, slope = both({n: jnp.asarray(x, dtype) for n, x in position.items()})
        return value, np.concatenate([np.ravel(slope[n]) for n in position])

    return fn


def off(got, wanted, floor):
    """The largest error of the entries that are finite in what is wanted, relative to
    each, or to this share of the largest; infinite if one is not finite."""
    kept = np.isfinite(wanted)
    if not kept.any():
        return 0.0
    got, wanted = got[kept], wanted[kept]
    if not np.isfinite(got).all():
        return np.inf
    scale = np.abs(wanted) + floor * np.abs(wanted).max() + 1e-9
    return float((np.abs(got - wanted) / scale).max())


@pytest.mark.parametrize("name", [n for n in MODELS if n not in SIGNS_ARE_OPEN])
def test_densities(name):
    model = built(name)
    theirs = model.compile_fn(
        [model.logp(), model.dlogp()], inputs=model.value_vars, mode=PYTHON
    )
    ours = value_and_slope(model)
    largest = np.finfo("float32").max
    with jax.enable_x64(False), pytest.warns(jaxlink.PrecisionWarning):
        in_32_bits = value_and_slope(model)
    faults, compared = [], 0
    for spread, position in positions(model):
        if spread == 5 and name in WRONG_FAR_OUT:
            continue
        value, slope = theirs(position)
        if not np.isfinite(value):
            assert name in UNDERFLOW_IN_PYMC or not ours(position)[0] > -np.inf
            continue
        compared += 1
        got_value, got_slope = ours(position)
        far = off(got_value[None], value[None], 0) > 1e-9
        if far or off(got_slope, slope, 1e-6) > 1e-7:
            faults.append((spread, value, got_value, slope, got_slope))
        if name in NAN_IN_32_BITS:
            continue
        with jax.enable_x64(False):
            _, got_slope = in_32_bits(position)
        representable = np.where(np.abs(slope) < largest, slope, np.nan)
        error = off(got_slope, representable, 1)
        # Far out what 32 bits saturate is another number, but still is one.
        lost = error == np.inf and not (spread >= 1 and name in UNDERFLOW_IN_32_BITS)
        if lost or (spread < 1 and error > 0.01):
            faults.append(("32 bits", spread, value, slope, got_slope))
    assert compared >= 3
    assert not faults


def test_survival_far_out():
    """A censored exponential's, whose probability is zero but in logarithms."""
    data, model = frame(), built("bambi_censored_exponential")
    x = data["x"] - data["x"].mean()
    position = {"Intercept": np.array(-10.33), "x": np.array(-5.29)}
    rate = np.exp(-(position["Intercept"] + position["x"] * x))
    terms = (
        np.where(data["status"] == "none", np.log(rate), 0) - rate * data["lifetime"]
    )
    priors = (pm.logp(rv, position[rv.name]).eval() for rv in model.free_RVs)
    wanted = terms.sum() + sum(priors)
    np.testing.assert_allclose(jlpm.logdensity(model)(position), wanted, rtol=1e-12)


def test_slope_of_a_process_of_equal_points():
    """So short a length leaves no covariance but of a point with itself: the slope is
    the prior's. PyMC's is 23933.94."""
    model = built("extras_projected_process")
    position = model.initial_point()
    position["length_log__"] = np.array(-8.47382643848068)
    slope = jax.grad(jlpm.logdensity(model))(position)["length_log__"]
    np.testing.assert_allclose(slope, 5 * np.exp(8.47382643848068) - 5, rtol=1e-9)


def test_process_in_32_bits():
    model = built("extras_projected_process")
    with jax.enable_x64(False), pytest.warns(jaxlink.PrecisionWarning):
        value, _ = value_and_slope(model)(model.initial_point())
    assert np.isfinite(value)


# PyMC says it of Bambi's probabilities of the categories.
@pytest.mark.filterwarnings("ignore:Incompatible coordinate length:UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        "bambi_hierarchical",
        "bambi_hsgp",
        "bambi_cumulative_probit",
        "bambi_zero_inflated_poisson",
        "bambi_dirichlet_multinomial",
        "bambi_truncated",
        "extras_skellam",
        "extras_chi_and_maxwell",
        "extras_markov_chain",
        "extras_karhunen_loeve",
        "extras_structural",
    ],
)
def test_prior(name):
    model = built(name)
    draw = quick(jax.vmap(jlpm.prior(model)))
    ours = draw(jax.random.split(jax.random.key(33), OURS))
    theirs = pm.sample_prior_predictive(
        THEIRS, model=model, random_seed=34, compile_kwargs={"mode": PYTHON}
    )
    assert_agree(
        samples_p_values(
            {n: np.asarray(x) for n, x in ours.items()},
            only_chain(theirs, "prior", "prior_predictive"),
        )
    )
