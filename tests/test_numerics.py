"""The algorithms of jaxlink.numerics against SciPy alone, without a graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distributions.harness import KEY, REJECT
from scipy import linalg, special, stats
from support import quick

from jaxlink.numerics.elementary import cosh, exp2, sinh
from jaxlink.numerics.linalg.pinv import pseudo_inverse
from jaxlink.numerics.random import binomial, continuous, gamma, hypergeometric, poisson
from jaxlink.numerics.random import truncated as between
from jaxlink.numerics.special import bessel, bessel_j, beta, erfc, hyper, owens
from jaxlink.numerics.special import gamma as incomplete_gamma
from jaxlink.numerics.special import polygamma as gamma_functions

POSITIVE = np.array([1e-5, 0.3, 1.0, 2.5, 9.9, 40.0])
ANY = np.array([-7.3, -0.5, 1e-5, 0.3, 2.5, 12.0])
UNIT = np.array([0.01, 0.2, 0.5, 0.77, 0.9, 0.999])

SPECIAL = {
    "gammaln": (gamma_functions.gammaln, special.gammaln, (POSITIVE,)),
    "psi": (gamma_functions.psi, special.psi, (ANY,)),
    "trigamma": (
        gamma_functions.trigamma,
        lambda x: special.polygamma(1, x),
        (POSITIVE,),
    ),
    "gammainc": (
        incomplete_gamma.gammainc,
        special.gammainc,
        (POSITIVE, POSITIVE[::-1]),
    ),
    "gammaincc": (
        incomplete_gamma.gammaincc,
        special.gammaincc,
        (POSITIVE, POSITIVE[[1, 0, 4, 3, 2, 5]]),
    ),
    "betainc": (beta.betainc, special.betainc, (POSITIVE, POSITIVE[::-1], UNIT)),
    "ive": (bessel.ive, special.ive, (ANY, POSITIVE)),
    "kve": (bessel.kve, special.kve, (ANY, POSITIVE)),
    "jv": (bessel_j.jv, special.jv, (ANY, POSITIVE)),
    "erfcx": (erfc.erfcx, special.erfcx, (ANY,)),
    "log_erfc": (erfc.log_erfc, lambda x: np.log(special.erfc(x)), (ANY,)),
    "hyp2f1": (hyper.hyp2f1, special.hyp2f1, (ANY, POSITIVE, POSITIVE + 0.25, -UNIT)),
    "owens_t": (owens.owens_t, special.owens_t, (ANY, ANY[::-1])),
    "sinh": (sinh, np.sinh, (ANY,)),
    "cosh": (cosh, np.cosh, (ANY,)),
    "exp2": (exp2, np.exp2, (ANY,)),
}


@pytest.fixture(scope="module")
def special_values():
    """All functions in one program, element by element and by vmap."""

    @quick
    def run(args):
        return {
            name: (ours(*args[name]), jax.vmap(ours)(*args[name]))
            for name, (ours, _, _) in SPECIAL.items()
        }

    return run({name: args for name, (_, _, args) in SPECIAL.items()})


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name, special_values):
    _, theirs, args = SPECIAL[name]
    wanted = theirs(*args)
    for value in special_values[name]:
        np.testing.assert_allclose(value, wanted, rtol=2e-12, atol=1e-300)


def test_pseudo_inverse():
    rng = np.random.default_rng(2)
    tall, low_rank = rng.normal(size=(5, 3)), rng.normal(size=(5, 1)) @ np.ones((1, 3))
    for x in (tall, tall.T, low_rank):
        wanted = linalg.pinv(x, rtol=1e-12)
        np.testing.assert_allclose(pseudo_inverse(x, 1e-12), wanted, atol=1e-14)


# A sampler with its parameters, and SciPy's distribution of these.
SAMPLERS = {
    "logistic": (continuous.logistic, (1.5, 0.3), stats.logistic(1.5, 0.3)),
    "wald": (continuous.wald, (1.5, 4.0), stats.invgauss(1.5 / 4.0, scale=4.0)),
    "gamma": (gamma.gamma, (0.4, 2.0), stats.gamma(0.4, scale=2.0)),
    "beta": (gamma.beta, (0.4, 3.0), stats.beta(0.4, 3.0)),
    "student_t": (gamma.student_t, (2.5, -1.0, 3.0), stats.t(2.5, -1.0, 3.0)),
    "truncated exponential": (
        between.exponential,
        (2.0, 3.0, 5.0),
        stats.truncexpon(1.0, 3.0, 2.0),
    ),
    "poisson": (poisson.poisson, (13.5,), stats.poisson(13.5)),
    "binomial": (binomial.binomial, (40.0, 0.3), stats.binom(40, 0.3)),
    "hypergeometric": (
        hypergeometric.hypergeometric,
        (20.0, 35.0, 11.0),
        stats.hypergeom(55, 20, 11),
    ),
}
DRAWS = 20_000


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name):
    draw, parameters, reference = SAMPLERS[name]
    discrete = not hasattr(reference, "pdf")
    dtype = np.dtype("int64" if discrete else "float64")
    given = [jnp.asarray(p) for p in parameters]
    draws = np.asarray(quick(draw, static_argnums=(1, 2))(KEY, (DRAWS,), dtype, *given))
    assert draws.dtype == dtype
    if discrete:
        # All that is rarer is in the first and the last bin.
        low, high = map(int, reference.interval(0.99))
        counts = np.bincount(np.clip(draws, low, high) - low)
        wanted = reference.pmf(np.arange(low, high + 1))
        wanted[[0, -1]] += reference.cdf(low - 1), reference.sf(high)
        p_value = stats.chisquare(counts, DRAWS * wanted).pvalue
    else:
        p_value = stats.kstest(draws, reference.cdf).pvalue
    assert p_value > REJECT
