"""PyTensor's continuous scalar distributions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor.tensor.random.basic as ptr
from scipy import stats

from distributions.harness import Case, of

_LOC = (-1.0, 3.0, 0.2)
_SCALE = (0.5, 2.0, 7.0)


@dataclass(frozen=True)
class Wrapped:
    """SciPy's von Mises about zero, moved to ``mu`` and wrapped to [-pi, pi]."""

    base: Any
    mu: float

    def cdf(self, x):
        # SciPy's distribution function goes on over the ends of its circle.
        return self.base.cdf(x - self.mu) - self.base.cdf(-np.pi - self.mu)

    def pdf(self, x):
        return self.base.pdf(x - self.mu)

    def ppf(self, q):
        """By Newton steps, for SciPy's takes a millisecond a number."""
        grid = np.linspace(-np.pi, np.pi, 20_001)
        x = np.interp(q, self.cdf(grid), grid)
        for _ in range(3):
            x = x - (self.cdf(x) - q) / self.pdf(x)
        return x


def _triangular(left, mode, right):
    width = right - left
    return stats.triang((mode - left) / width, left, width)


CASES = {
    "uniform": Case(
        of(ptr.uniform),
        (_LOC, (-0.5, 7.0, 0.3)),
        lambda low, high: stats.uniform(low, high - low),
        1,
        slopes=(0, 1),
    ),
    "normal": Case(of(ptr.normal), (_LOC, _SCALE), stats.norm, 1, slopes=(0, 1)),
    "halfnormal": Case(
        of(ptr.halfnormal), (_LOC, _SCALE), stats.halfnorm, 1, slopes=(0, 1)
    ),
    "lognormal": Case(
        of(ptr.lognormal),
        (_LOC, (1.0, 0.2, 2.0)),
        lambda mean, sigma: stats.lognorm(sigma, scale=np.exp(mean)),
        1,
        slopes=(0, 1),
    ),
    "cauchy": Case(of(ptr.cauchy), (_LOC, _SCALE), stats.cauchy, 1, slopes=(0, 1)),
    "halfcauchy": Case(
        of(ptr.halfcauchy), (_LOC, _SCALE), stats.halfcauchy, 1, slopes=(0, 1)
    ),
    "laplace": Case(of(ptr.laplace), (_LOC, _SCALE), stats.laplace, 1, slopes=(0, 1)),
    "logistic": Case(
        of(ptr.logistic), (_LOC, _SCALE), stats.logistic, 1, slopes=(0, 1)
    ),
    "gumbel": Case(of(ptr.gumbel), (_LOC, _SCALE), stats.gumbel_r, 1, slopes=(0, 1)),
    "exponential": Case(
        of(ptr.exponential),
        (_SCALE,),
        lambda scale: stats.expon(scale=scale),
        0,
        slopes=(0,),
    ),
    "weibull": Case(
        of(ptr.weibull), ((0.7, 3.0, 12.0),), stats.weibull_min, 0, slopes=(0,)
    ),
    "pareto": Case(
        of(ptr.pareto),
        ((0.8, 4.0, 30.0), _SCALE),
        lambda b, scale: stats.pareto(b, scale=scale),
        0,
        slopes=(0, 1),
    ),
    "truncexpon": Case(
        of(ptr.truncexpon),
        ((0.8, 30.0, 0.01), _LOC, _SCALE),
        stats.truncexpon,
        2,
        slopes=(0, 1, 2),
    ),
    "triangular": Case(
        of(ptr.triangular),
        ((-1.0, 2.0, 0.3), (-0.5, 6.5, 0.5), (1.0, 7.0, 0.7)),
        _triangular,
        2,
        slopes=(0, 1, 2),
    ),
    # Both ratios of mean and scale: one narrow, one with a tail over many decades.
    "wald": Case(
        of(ptr.wald),
        ((0.5, 4.0, 70.0), (3.0, 0.8, 0.02)),
        lambda mean, scale: stats.invgauss(mean / scale, scale=scale),
        1,
        slopes=(0, 1),
    ),
    # Its slopes are those of functions on the circle, tested beside the table.
    "vonmises": Case(
        of(ptr.vonmises),
        ((-2.0, 1.0, 0.1), (0.8, 3.0, 0.2)),
        lambda mu, kappa: Wrapped(stats.vonmises(kappa), mu),
        1,
    ),
    # So narrow that the ends of the circle do not matter.
    "vonmises_narrow": Case(
        of(ptr.vonmises),
        ((-0.5, 1.0, 0.1), (60.0, 25.0, 400.0)),
        lambda mu, kappa: Wrapped(stats.vonmises(kappa), mu),
        1,
        slopes=(0, 1),
    ),
}
