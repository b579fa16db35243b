"""The distributions of pymc.dims: parameters with named dimensions, and references.

Of the scalar ones a row has the parameters' values and the reference of one point. A
parameter of shape (2,) has the dimension "city", of shape (3,) "year", of (2, 3) both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

CITIES, YEARS = 2, 3


@dataclass(frozen=True)
class Kumaraswamy:
    a: Any
    b: Any

    def cdf(self, x):
        return 1 - (1 - x**self.a) ** self.b


@dataclass(frozen=True)
class Folded:
    """The absolute value of a symmetric distribution."""

    base: Any

    def cdf(self, x):
        return self.base.cdf(x) - self.base.cdf(-x)


@dataclass(frozen=True)
class Row:
    """A scalar distribution: parameters by name and the reference, given them."""

    reference: Callable[..., Any]
    parameters: dict[str, Any]

    def points(self):
        """The parameters of each city and year."""
        full = {
            k: np.broadcast_to(np.expand_dims(v, missing_axes(v)), (CITIES, YEARS))
            for k, v in self.parameters.items()
        }
        return [
            {k: v[city, year] for k, v in full.items()}
            for city in range(CITIES)
            for year in range(YEARS)
        ]


def dims_of(value):
    return {(): (), (2,): ("city",), (3,): ("year",), (2, 3): ("city", "year")}[
        np.shape(value)
    ]


def missing_axes(value):
    """Where lengths of 1 make the value one by cities and years."""
    return tuple(i for i, d in enumerate(("city", "year")) if d not in dims_of(value))


def row(reference, **parameters):
    return Row(reference, {k: np.asarray(v) for k, v in parameters.items()})


LOC, SCALE = (-1.0, 3.0), (0.5, 2.0, 7.0)
EACH = ((0.3, 1.0, 4.0), (0.6, 2.0, 9.0))
# In PyMC 6.4 the parameters of Kumaraswamy and Weibull must have the same dimensions,
# and those of HalfStudentT and HalfCauchy none.
SHAPES = ((0.7, 1.5, 9.0), (3.0, 0.4, 6.0))
PROBABILITIES = ((0.1, 0.3, 0.8), (0.2, 0.5, 0.95))

SCALARS = {
    "Uniform": row(
        lambda lower, upper: stats.uniform(lower, upper - lower),
        lower=LOC,
        upper=(4.0, 7.0, 20.0),
    ),
    "Triangular": row(
        lambda lower, c, upper: stats.triang(
            (c - lower) / (upper - lower), lower, upper - lower
        ),
        lower=LOC,
        c=3.5,
        upper=(4.0, 7.0, 20.0),
    ),
    "Normal": row(lambda mu, sigma: stats.norm(mu, sigma), mu=LOC, sigma=SCALE),
    "HalfNormal": row(lambda sigma: stats.halfnorm(scale=sigma), sigma=EACH),
    "TruncatedNormal": row(
        lambda mu, sigma, lower, upper: stats.truncnorm(
            (lower - mu) / sigma, (upper - mu) / sigma, mu, sigma
        ),
        mu=LOC,
        sigma=SCALE,
        lower=-1.5,
        upper=4.0,
    ),
    "Logistic": row(lambda mu, s: stats.logistic(mu, s), mu=LOC, s=SCALE),
    "LogNormal": row(
        lambda mu, sigma: stats.lognorm(sigma, scale=np.exp(mu)), mu=LOC, sigma=SCALE
    ),
    "StudentT": row(
        lambda nu, mu, sigma: stats.t(nu, mu, sigma), nu=1.5, mu=LOC, sigma=SCALE
    ),
    "HalfStudentT": row(
        lambda nu, sigma: Folded(stats.t(nu, scale=sigma)),
        nu=1.5,
        sigma=3.0,
    ),
    "VonMises": row(lambda mu, kappa: stats.vonmises(kappa, mu), mu=0.0, kappa=EACH),
    "Cauchy": row(lambda alpha, beta: stats.cauchy(alpha, beta), alpha=LOC, beta=SCALE),
    "HalfCauchy": row(lambda beta: stats.halfcauchy(scale=beta), beta=3.0),
    "Beta": row(
        lambda alpha, beta: stats.beta(alpha, beta), alpha=(0.4, 6.0), beta=SCALE
    ),
    "Kumaraswamy": row(Kumaraswamy, a=SHAPES, b=EACH),
    "Laplace": row(lambda mu, b: stats.laplace(mu, b), mu=LOC, b=SCALE),
    "Exponential": row(lambda lam: stats.expon(scale=1 / lam), lam=EACH),
    "Gamma": row(
        lambda alpha, beta: stats.gamma(alpha, scale=1 / beta),
        alpha=(0.4, 7.0),
        beta=SCALE,
    ),
    "Gumbel": row(lambda mu, beta: stats.gumbel_r(mu, beta), mu=LOC, beta=SCALE),
    "InverseGamma": row(
        lambda alpha, beta: stats.invgamma(alpha, scale=beta),
        alpha=(0.7, 5.0),
        beta=SCALE,
    ),
    "Weibull": row(
        lambda alpha, beta: stats.weibull_min(alpha, scale=beta),
        alpha=SHAPES,
        beta=EACH,
    ),
    "Pareto": row(
        lambda alpha, m: stats.pareto(alpha, scale=m), alpha=(0.8, 4.0), m=SCALE
    ),
    "Poisson": row(lambda mu: stats.poisson(mu), mu=EACH),
    "NegativeBinomial": row(
        lambda n, p: stats.nbinom(n, p), n=(1.7, 40.0), p=(0.2, 0.3, 0.6)
    ),
    "BetaBinomial": row(
        lambda n, alpha, beta: stats.betabinom(n, alpha, beta),
        n=30,
        alpha=(0.6, 4.0),
        beta=(0.8, 1.5, 5.0),
    ),
    "Bernoulli": row(lambda p: stats.bernoulli(p), p=PROBABILITIES),
    "Binomial": row(lambda n, p: stats.binom(n, p), n=(7, 40), p=(0.2, 0.5, 0.9)),
    "Geometric": row(lambda p: stats.geom(p), p=PROBABILITIES),
    "HyperGeometric": row(
        lambda N, k, n: stats.hypergeom(N, k, n), N=50, k=(12, 30), n=(5, 10, 20)
    ),
}
