"""Censored, truncated, probit and ordered models, from PyMC's default start.

At the start the data are many standard deviations away, where logarithms of normal
probabilities come from branches whose other side is infinite. The posteriors are known
by quadrature of SciPy's densities.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from models.compare import PYTHON
from scipy import optimize, stats
from scipy.special import log_ndtr
from support import quick

import jaxlink
import jaxlink.pymc as jlpm

QUIET = {"progressbar": False}
SLOW = pytest.mark.slow


@dataclass(frozen=True)
class Posterior:
    """A model and its log density in the space of draws.

    Arguments:
        build: the model.
        log_density: of an array whose first axis is that of all parameters, in the
            order of ``ranges``; without the Jacobian of transforms.
        ranges: outside of which there is no posterior mass to speak of, by the name
            and index of each parameter.
    """

    build: Callable[[], pm.Model]
    log_density: Callable[[np.ndarray], np.ndarray]
    ranges: dict[tuple[str, tuple[int, ...]], tuple[float, float]]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations."""
        axes = [np.linspace(*ends, 81) for ends in self.ranges.values()]
        points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(len(axes), -1)
        log_density = self.log_density(points)
        weights = np.exp(log_density - log_density.max())
        weights /= weights.sum()
        mean = points @ weights
        return mean, np.sqrt((points - mean[:, None]) ** 2 @ weights)

    def mode(self) -> np.ndarray:
        found = optimize.minimize(
            lambda x: -self.log_density(x[:, None])[0],
            self.moments()[0],
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000},
        )
        assert found.success
        return found.x

    def entries(self, values) -> np.ndarray:
        """The parameters, from arrays by name whose last axes are those of entries."""
        return np.stack([values[name][..., *i] for name, i in self.ranges])


# --- the models -----------------------------------------------------------------------

FAR = stats.norm(8.0, 0.3).ppf(np.linspace(0.02, 0.98, 30))
CAP, FLOOR = 8.2, 7.7
CAPPED = np.minimum(FAR, CAP)
ABOVE = FAR[FAR > FLOOR]


def location_scale_prior(x):
    mu, sigma = x
    with np.errstate(invalid="ignore"):
        return stats.norm(0, 10).logpdf(mu) + stats.halfnorm(0, 0.1).logpdf(sigma)


def location_scale():
    return pm.Normal("mu", 0, 10), pm.HalfNormal("sigma", 0.1)


def censored():
    with pm.Model() as model:
        normal = pm.Normal.dist(*location_scale())
        pm.Censored("y", normal, lower=None, upper=CAP, observed=CAPPED)
    return model


def censored_density(x):
    mu, sigma = x[..., None]
    z = (CAPPED - mu) / sigma
    terms = np.where(CAPPED == CAP, log_ndtr(-z), stats.norm.logpdf(z) - np.log(sigma))
    return location_scale_prior(x) + terms.sum(-1)


def truncated():
    with pm.Model() as model:
        normal = pm.Normal.dist(*location_scale())
        pm.Truncated("y", normal, lower=FLOOR, upper=None, observed=ABOVE)
    return model


def truncated_density(x):
    mu, sigma = x[..., None]
    terms = stats.norm.logpdf((ABOVE - mu) / sigma) - np.log(sigma)
    return location_scale_prior(x) + (terms - log_ndtr((mu - FLOOR) / sigma)).sum(-1)


X = np.linspace(-2, 2, 40)
NOISE = stats.norm.ppf((np.arange(40) * 17 % 40 + 0.5) / 40)
YES = 0.5 + X + NOISE > 0
SIGN = np.where(YES, 1.0, -1.0)


def probit():
    """By the logarithm of a normal distribution function; at the start of 40."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 20, 10)
        eta = a + b * X
        pm.Potential("y", pm.logcdf(pm.Normal.dist(), SIGN * eta).sum())
    return model


def invprobit():
    """By PyMC's ``invprobit``, as its users write it."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 10)
        pm.Bernoulli("y", p=pm.math.invprobit(a + b * X), observed=YES.astype(int))
    return model


def probit_density(centre):
    def log_density(x):
        a, b = x[..., None]
        prior = stats.norm(0, 5).logpdf(x[0]) + stats.norm(centre, 10).logpdf(x[1])
        return prior + log_ndtr(SIGN * (a + b * X)).sum(-1)

    return log_density


GRADE = np.digitize(X + NOISE, [-0.7, 0.9])


def ordered_probit():
    with pm.Model() as model:
        b = pm.Normal("b", 0, 5)
        ordered = pm.distributions.transforms.ordered
        cuts = pm.Normal("cuts", [-10, 10], 20, transform=ordered)
        pm.OrderedProbit(
            "y", eta=b * X, cutpoints=cuts, observed=GRADE, compute_p=False
        )
    return model


def ordered_probit_density(x):
    b, low, high = x[..., None]
    eta = b * X
    with np.errstate(divide="ignore", invalid="ignore"):
        between = log_ndtr(high - eta) + np.log(
            -np.expm1(log_ndtr(low - eta) - log_ndtr(high - eta))
        )
    terms = np.select(
        [GRADE == 0, GRADE == 1], [log_ndtr(low - eta), between], log_ndtr(eta - high)
    ).sum(-1)
    prior = stats.norm(0, 5).logpdf(x[0])
    prior += stats.norm(-10, 20).logpdf(x[1]) + stats.norm(10, 20).logpdf(x[2])
    return np.where(x[1] < x[2], prior + terms, -np.inf)


MU_SIGMA = {("mu", ()): (7.6, 8.4), ("sigma", ()): (0.11, 0.6)}
A_B = {("a", ()): (-1.0, 2.5), ("b", ()): (0.1, 3.5)}
POSTERIORS = {
    "censored": Posterior(censored, censored_density, MU_SIGMA),
    "truncated": Posterior(truncated, truncated_density, MU_SIGMA),
    "probit": Posterior(probit, probit_density(20), A_B),
    "invprobit": Posterior(invprobit, probit_density(0), A_B),
    "ordered_probit": Posterior(
        ordered_probit,
        ordered_probit_density,
        {("b", ()): (0, 2.5), ("cuts", (0,)): (-2.5, 0.5), ("cuts", (1,)): (-0.2, 2.8)},
    ),
}
NAMES = pytest.mark.parametrize("name", POSTERIORS)


@cache
def built(name):
    return POSTERIORS[name].build()


# --- tests ----------------------------------------------------------------------------


@NAMES
def test_quadrature(name):
    """The reference is PyMC's model, and the grid holds its mass."""
    posterior, model = POSTERIORS[name], built(name)
    mean, std = posterior.moments()
    ends = np.array(list(posterior.ranges.values()))
    assert (mean - 3 * std > ends[:, 0]).all()
    assert (mean + 3 * std < ends[:, 1]).all()
    constrained = [model.rvs_to_values[rv] for rv in model.free_RVs]
    logp = model.compile_logp(jacobian=False, mode=PYTHON)
    unconstrain = jlpm.unconstrain(model)
    # PyMC takes the square root of 2 in 32 bits.
    differences = []
    for shift in (-1, 0, 1.5):
        x = mean + shift * std / 2
        draw = {rv.name: np.zeros(rv.type.shape) for rv in model.free_RVs}
        for (parameter, i), value in zip(posterior.ranges, x, strict=True):
            draw[parameter][i] = value
        point = {n: np.asarray(v) for n, v in unconstrain(draw).items()}
        assert set(point) == {value.name for value in constrained}
        differences.append(logp(point) - posterior.log_density(x[:, None])[0])
    np.testing.assert_allclose(differences, 0, atol=1e-6)


@NAMES
def test_gradient_at_the_start(name):
    model = built(name)
    start = model.initial_point()
    wanted = model.compile_dlogp(mode=PYTHON)(start)
    assert np.isfinite(wanted).all()

    def gradient(dtype):
        slope = quick(jax.grad(jlpm.logdensity(model)))
        found = slope({n: jnp.asarray(x, dtype) for n, x in start.items()})
        return np.concatenate([np.ravel(found[n]) for n in start])

    largest = np.abs(wanted).max()
    np.testing.assert_allclose(gradient("float64"), wanted, 1e-9, 1e-12 * largest)
    with jax.enable_x64(False), pytest.warns(jaxlink.PrecisionWarning):
        np.testing.assert_allclose(gradient("float32"), wanted, 1e-3, 1e-5 * largest)


@NAMES
def test_mode(name):
    posterior = POSTERIORS[name]
    found = jlpm.find_MAP(model=built(name), **QUIET)
    _, std = posterior.moments()
    off = (posterior.entries(found) - posterior.mode()) / std
    np.testing.assert_allclose(off, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("censored", "blackjax"),
        ("censored", "numpyro"),
        ("censored", "nutpie"),
        ("truncated", "blackjax"),
        ("probit", "blackjax"),
        ("invprobit", "blackjax"),
        ("ordered_probit", "blackjax"),
    ],
)
@SLOW
def test_sample(name, sampler):
    posterior = POSTERIORS[name]
    tree = jlpm.sample(
        1500,
        tune=1000,
        chains=4,
        model=built(name),
        nuts_sampler=sampler,
        random_seed=35,
        compute_convergence_checks=False,
        **QUIET,
    )
    assert not tree["sample_stats"]["diverging"].any()
    draws = {n: x.values for n, x in tree["posterior"].items()}
    assert_moments(posterior, posterior.entries(draws), mean=0.1, std=0.1)


@NAMES
@SLOW
def test_fit(name):
    """A normal distribution in unconstrained space is not quite the posterior."""
    posterior = POSTERIORS[name]
    # From 80 standard deviations away, 6000 steps end one before the posterior.
    n = 20_000 if name in ("censored", "truncated") else 6000
    approximation = jlpm.fit(
        n, "fullrank_advi", model=built(name), random_seed=36, mc_samples=8, **QUIET
    )
    tree = approximation.sample(4000, random_seed=37)
    draws = {n: x.values for n, x in tree["posterior"].items()}
    assert_moments(posterior, posterior.entries(draws), mean=0.25, std=0.3)


def assert_moments(posterior, draws, *, mean, std):
    """Within these shares of the standard deviations."""
    draws = draws.reshape(len(draws), -1)
    wanted_mean, wanted_std = posterior.moments()
    np.testing.assert_allclose((draws.mean(1) - wanted_mean) / wanted_std, 0, atol=mean)
    np.testing.assert_allclose(draws.std(1) / wanted_std, 1, atol=std)
