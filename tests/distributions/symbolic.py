"""PyMC's symbolic scalar distributions: graphs of other random variables.

Where a distribution has an atom and a density, the reference is a sampler of NumPy's,
and derivatives are tested in tests/test_random_symbolic.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.basic import Variable
from scipy import special, stats

from distributions.harness import REFERENCE_DRAWS, Case, numpy_rng


class Mixed:
    """A mixture of SciPy's distributions, all continuous or all discrete."""

    def __init__(self, weights: Any, components: Any):
        self.parts = list(zip(weights, components, strict=True))
        self.discrete = hasattr(components[0], "pmf")

    def cdf(self, x: Any) -> Any:
        return sum(w * part.cdf(x) for w, part in self.parts)

    def pdf(self, x: Any) -> Any:
        return sum(w * part.pdf(x) for w, part in self.parts)

    def __getattr__(self, name: str) -> Any:
        if name == "pmf" and self.discrete:
            return lambda x: sum(w * part.pmf(x) for w, part in self.parts)
        raise AttributeError(name)

    def ppf(self, q: Any) -> Any:
        """Bisection between the least and the largest quantile of the parts."""
        quantiles = [part.ppf(q) for w, part in self.parts if w > 0]
        low, high = np.min(quantiles, 0), np.max(quantiles, 0)
        if self.discrete:
            low = low - 1
        for _ in range(80):
            middle = (low + high) / 2
            middle = np.floor(middle) if self.discrete else middle
            below = self.cdf(middle) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high


class Cut:
    """A continuous distribution of SciPy's between two bounds.

    With the tail that is the smaller one, so that it keeps its digits.
    """

    def __init__(self, base: Any, lower: float = -np.inf, upper: float = np.inf):
        self.base, self.lower, self.upper = base, lower, upper
        self.above = base.sf(lower) < base.cdf(upper)
        self.mass = (
            base.sf(lower) - base.sf(upper)
            if self.above
            else base.cdf(upper) - base.cdf(lower)
        )

    def cdf(self, x: Any) -> Any:
        x = np.clip(x, self.lower, self.upper)
        if self.above:
            return (self.base.sf(self.lower) - self.base.sf(x)) / self.mass
        return (self.base.cdf(x) - self.base.cdf(self.lower)) / self.mass

    def pdf(self, x: Any) -> Any:
        inside = (x >= self.lower) & (x <= self.upper)
        return np.where(inside, self.base.pdf(x) / self.mass, 0)

    def ppf(self, q: Any) -> Any:
        q = np.asarray(q)
        if self.above:
            return self.base.isf(self.base.sf(self.lower) - q * self.mass)
        return self.base.ppf(self.base.cdf(self.lower) + q * self.mass)


class Folded:
    """The absolute value of a draw of a continuous distribution symmetric about 0."""

    def __init__(self, base: Any):
        self.base = base

    def cdf(self, x: Any) -> Any:
        return np.where(np.asarray(x) < 0, 0, 1 - 2 * self.base.sf(x))

    def pdf(self, x: Any) -> Any:
        return np.where(np.asarray(x) < 0, 0, 2 * self.base.pdf(x))

    def ppf(self, q: Any) -> Any:
        return self.base.isf((1 - np.asarray(q)) / 2)


class CutCounts:
    """A discrete distribution of SciPy's between two bounds, both of them possible."""

    def __init__(self, base: Any, lower: float = -np.inf, upper: float = np.inf):
        self.base, self.lower, self.upper = base, lower, upper
        self.below = base.cdf(np.ceil(lower) - 1) if np.isfinite(lower) else 0.0
        self.mass = base.cdf(upper) - self.below

    def cdf(self, k: Any) -> Any:
        cdf = (self.base.cdf(np.minimum(k, self.upper)) - self.below) / self.mass
        return np.where(np.asarray(k) < self.lower, 0, cdf)

    def pmf(self, k: Any) -> Any:
        inside = (k >= self.lower) & (k <= self.upper)
        return np.where(inside, self.base.pmf(k) / self.mass, 0)

    def ppf(self, q: Any) -> Any:
        return self.base.ppf(np.minimum(self.below + np.asarray(q) * self.mass, 1))


class Counts:
    """A distribution of small counts, given by its probabilities."""

    def __init__(self, p: Any):
        self.p = np.asarray(p)

    def pmf(self, k: Any) -> Any:
        inside = (k >= 0) & (k < len(self.p))
        return np.where(inside, self.p[np.clip(k, 0, len(self.p) - 1)], 0)

    def cdf(self, k: Any) -> Any:
        total = np.append(np.cumsum(self.p), 0)
        at = np.clip(np.floor(k), -1, len(self.p) - 1).astype(int)
        return total[at]

    def ppf(self, q: Any) -> Any:
        last = np.flatnonzero(self.p)[-1]
        return np.minimum(np.searchsorted(np.cumsum(self.p), q), last)


def dist(distribution: Any, *names: str, **fixed: Any) -> Callable[..., Variable]:
    """The ``build`` of a distribution of PyMC's, given the names of its parameters."""

    def build(*parameters: Variable, size: Any = None) -> Variable:
        named = dict(zip(names, parameters, strict=True))
        return distribution.dist(**named, **fixed, size=size)

    return build


def truncated(
    distribution: Any, *names: str, lower: bool = True, upper: bool = True
) -> Callable[..., Variable]:
    """Likewise of a truncated one: its bounds follow."""

    def build(*parameters: Variable, size: Any = None) -> Variable:
        rest = list(parameters[len(names) :])
        base = distribution.dist(**dict(zip(names, parameters, strict=False)))
        return pm.Truncated.dist(
            base,
            lower=rest.pop(0) if lower else None,
            upper=rest.pop(0) if upper else None,
            size=size,
        )

    return build


def discrete_weibull(q: float, beta: float) -> Counts:
    k = np.arange(2000)
    return Counts(q ** (k**beta) - q ** ((k + 1) ** beta))


def kumaraswamy(a: float, b: float) -> Any:
    # X**a is a beta draw of shapes 1 and b.
    class Kumaraswamy(stats.rv_continuous):
        def _cdf(self, x: Any) -> Any:
            return -np.expm1(b * np.log1p(-(x**a)))

        def _pdf(self, x: Any) -> Any:
            return a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)

        def _sf(self, x: Any) -> Any:
            return np.exp(b * np.log1p(-(x**a)))

        def _ppf(self, q: Any) -> Any:
            return (-np.expm1(np.log1p(-q) / b)) ** (1 / a)

        def _isf(self, q: Any) -> Any:
            return (-np.expm1(np.log(q) / b)) ** (1 / a)

    return Kumaraswamy(a=0, b=1)()


def ex_gaussian(mu: float, sigma: float, nu: float) -> Any:
    # SciPy's quantiles of it are slow.
    base = stats.exponnorm(nu / sigma, mu, sigma)
    grid = np.linspace(mu - 9 * sigma, mu + 9 * sigma + 40 * nu, 400_001)

    class ExGaussian:
        cdf, pdf = base.cdf, base.pdf

        def ppf(self, q: Any) -> Any:
            return np.interp(q, base.cdf(grid), grid)

    return ExGaussian()


def logit_normal(mu: float, sigma: float) -> Any:
    class LogitNormal(stats.rv_continuous):
        def _cdf(self, x: Any) -> Any:
            return stats.norm.cdf(special.logit(x), mu, sigma)

        def _pdf(self, x: Any) -> Any:
            return stats.norm.pdf(special.logit(x), mu, sigma) / (x * (1 - x))

        def _ppf(self, q: Any) -> Any:
            return special.expit(stats.norm.ppf(q, mu, sigma))

    return LogitNormal(a=0, b=1)()


def ordered(cdf: Callable[[Any], Any]) -> Callable[..., Counts]:
    def reference(eta: float, cutpoints: Any) -> Counts:
        return Counts(np.diff(cdf(cutpoints - eta), prepend=0, append=1))

    return reference


def negative_binomial(mu: float, alpha: float) -> Any:
    return stats.nbinom(alpha, alpha / (mu + alpha))


# The point 0 as a distribution.
ZERO = stats.randint(0, 1)


def inflated(psi: float, base: Any) -> Mixed:
    return Mixed((1 - psi, psi), (ZERO, base))


def hurdle(psi: float, base: Any) -> Mixed:
    return inflated(psi, CutCounts(base, 1))


def hurdle_draws(psi: float, base: Any) -> np.ndarray:
    rng = numpy_rng()
    passed = rng.random(REFERENCE_DRAWS) < psi
    return np.where(passed, base.rvs(REFERENCE_DRAWS, random_state=rng), 0.0)


def censored_draws(base: Any, lower: float, upper: float) -> np.ndarray:
    draws = base.rvs(REFERENCE_DRAWS, random_state=numpy_rng())
    return np.clip(draws, lower, upper)


def _two_normals_and_a_gumbel(
    w: Variable, mu: Variable, sigma: Variable, size: Any = None
) -> Variable:
    parts = [
        pm.Normal.dist(mu, sigma),
        pm.Normal.dist(-mu, 2 * sigma),
        pm.Gumbel.dist(mu, sigma),
    ]
    return pm.Mixture.dist(w, parts, size=size)


def _poisson_and_others(
    w: Variable, mu: Variable, p: Variable, size: Any = None
) -> Variable:
    parts = [pm.Poisson.dist(mu), pm.Geometric.dist(p), pm.DiracDelta.dist(4)]
    return pm.Mixture.dist(w, parts, size=size)


def _batch_of_poissons(w: Variable, mu: Variable, size: Any = None) -> Variable:
    return pm.Mixture.dist(w, pm.Poisson.dist(mu), size=size)


def _of_gammas(
    w: Variable, alpha: Variable, beta: Variable, size: Any = None
) -> Variable:
    return pm.Mixture.dist(w, pm.Gamma.dist(alpha, beta), size=size)


def _censored(
    mu: Variable, sigma: Variable, lower: Variable, upper: Variable, size: Any = None
) -> Variable:
    base = pm.Normal.dist(mu, sigma)
    return pm.Censored.dist(base, lower=lower, upper=upper, size=size)


def _censored_counts(mu: Variable, upper: Variable, size: Any = None) -> Variable:
    return pm.Censored.dist(pm.Poisson.dist(mu), upper=upper, size=size)


def _custom(mu: Variable, sigma: Variable, size: Any = None) -> Variable:
    def graph(mu: Variable, sigma: Variable, size: Variable) -> Variable:
        return pm.math.exp(pm.Logistic.dist(mu, sigma, size=size))

    return pm.CustomDist.dist(mu, sigma, dist=graph, size=size)


def _integers(build: Callable[..., Variable]) -> Callable[..., Variable]:
    # PyMC gives counts that are truncated by inversion in a floating dtype.
    return lambda *args, size=None: build(*args, size=size).astype("int64")


_W3 = np.array([[0.2, 0.5, 0.3], [0.7, 0.0, 0.3], [0.1, 0.15, 0.75]])
_W2 = np.array([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]])
_MU2 = np.array([[-1.0, 2.0], [3.0, 30.0], [0.2, 0.7]])
_RATES = np.array([[2.0, 40.0], [0.5, 9.0], [11.0, 14.0]])
_CUTS = np.array([[-1.0, 0.5, 2.0], [-0.3, 0.0, 0.1], [1.0, 4.0, 5.0]])
_ETA = (0.4, -1.5, 4.5)
_PSI = (0.3, 0.8, 0.95)
_COUNT_MEANS = (0.7, 4.0, 33.0)

CASES = {
    "pymc_asymmetric_laplace": Case(
        dist(pm.AsymmetricLaplace, "kappa", "mu", "b"),
        ((0.5, 1.0, 3.0), (-1.0, 2.0, 0.3), (1.0, 0.2, 6.0)),
        lambda kappa, mu, b: stats.laplace_asymmetric(kappa, mu, 1 / b),
        2,
        slopes=(0, 1, 2),
    ),
    "pymc_ex_gaussian": Case(
        dist(pm.ExGaussian, "mu", "sigma", "nu"),
        ((-1.0, 2.0, 0.3), (1.0, 0.2, 6.0), (2.0, 1.0, 3.0)),
        ex_gaussian,
        2,
        slopes=(0, 1, 2),
    ),
    "pymc_half_cauchy": Case(
        dist(pm.HalfCauchy, "beta"),
        ((0.2, 3.0, 40.0),),
        lambda beta: stats.halfcauchy(scale=beta),
        0,
        slopes=(0,),
    ),
    "pymc_half_student_t": Case(
        dist(pm.HalfStudentT, "nu", "sigma"),
        ((0.5, 3.0, 40.0), (2.0, 0.3, 5.0)),
        lambda nu, sigma: Folded(stats.t(nu, scale=sigma)),
        1,
        slopes=(0, 1),
    ),
    "pymc_kumaraswamy": Case(
        dist(pm.Kumaraswamy, "a", "b"),
        ((0.3, 2.0, 7.0), (0.4, 5.0, 1.5)),
        kumaraswamy,
        1,
        slopes=(0, 1),
    ),
    "pymc_weibull": Case(
        dist(pm.Weibull, "alpha", "beta"),
        ((0.5, 2.0, 9.0), (1.0, 0.2, 6.0)),
        lambda alpha, beta: stats.weibull_min(alpha, scale=beta),
        1,
        slopes=(0, 1),
    ),
    "pymc_logit_normal": Case(
        dist(pm.LogitNormal, "mu", "sigma"),
        ((-1.0, 0.3, 2.0), (0.5, 3.0, 1.0)),
        logit_normal,
        1,
        slopes=(0, 1),
    ),
    "pymc_chi_squared": Case(
        dist(pm.ChiSquared, "nu"),
        ((0.7, 4.0, 60.0),),
        stats.chi2,
        0,
        slopes=(0,),
    ),
    "pymc_discrete_weibull": Case(
        dist(pm.DiscreteWeibull, "q", "beta"),
        ((0.3, 0.9, 0.6), (0.7, 1.5, 1.0)),
        discrete_weibull,
        1,
    ),
    "pymc_ordered_logistic": Case(
        dist(pm.OrderedLogistic, "eta", "cutpoints"),
        (_ETA, _CUTS),
        ordered(special.expit),
        1,
    ),
    "pymc_ordered_probit": Case(
        dist(pm.OrderedProbit, "eta", "cutpoints"),
        (_ETA, _CUTS),
        ordered(special.ndtr),
        1,
    ),
    "pymc_mixture_of_a_list": Case(
        _two_normals_and_a_gumbel,
        (_W3, (1.0, 3.0, 0.4), (0.5, 2.0, 1.0)),
        lambda w, m, s: Mixed(
            w, (stats.norm(m, s), stats.norm(-m, 2 * s), stats.gumbel_r(m, s))
        ),
        2,
        slopes=(1, 2),
        no_slope=(0,),
    ),
    "pymc_normal_mixture": Case(
        dist(pm.NormalMixture, "w", "mu", "sigma"),
        (_W2, _MU2, np.array([[0.5, 1.0], [2.0, 4.0], [0.1, 0.2]])),
        lambda w, m, s: Mixed(w, (stats.norm(m[0], s[0]), stats.norm(m[1], s[1]))),
        2,
        slopes=(1, 2),
        no_slope=(0,),
    ),
    "pymc_mixture_of_gammas": Case(
        _of_gammas,
        (_W2, _RATES, np.array([[0.5, 1.0], [2.0, 4.0], [0.1, 0.2]])),
        lambda w, a, b: Mixed(w, [stats.gamma(a[i], scale=1 / b[i]) for i in range(2)]),
        2,
        slopes=(1, 2),
        no_slope=(0,),
    ),
    "pymc_mixture_of_counts": Case(
        _poisson_and_others,
        (_W3, _COUNT_MEANS, (0.3, 0.05, 0.6)),
        lambda w, mu, p: Mixed(
            w, (stats.poisson(mu), stats.geom(p), stats.randint(4, 5))
        ),
        1,
    ),
    "pymc_mixture_of_poissons": Case(
        _batch_of_poissons,
        (_W2, _RATES),
        lambda w, mu: Mixed(w, (stats.poisson(mu[0]), stats.poisson(mu[1]))),
        1,
    ),
    "pymc_zero_inflated_poisson": Case(
        dist(pm.ZeroInflatedPoisson, "psi", "mu"),
        (_PSI, _COUNT_MEANS),
        lambda psi, mu: inflated(psi, stats.poisson(mu)),
        0,
    ),
    "pymc_zero_inflated_binomial": Case(
        dist(pm.ZeroInflatedBinomial, "psi", "n", "p"),
        (_PSI, np.array([5, 40, 200]), (0.3, 0.9, 0.05)),
        lambda psi, n, p: inflated(psi, stats.binom(n, p)),
        0,
    ),
    "pymc_zero_inflated_negative_binomial": Case(
        dist(pm.ZeroInflatedNegativeBinomial, "psi", "mu", "alpha"),
        (_PSI, _COUNT_MEANS, (0.5, 3.0, 20.0)),
        lambda psi, mu, a: inflated(psi, negative_binomial(mu, a)),
        0,
        draws=50_000,
    ),
    "pymc_hurdle_poisson": Case(
        dist(pm.HurdlePoisson, "psi", "mu"),
        (_PSI, _COUNT_MEANS),
        lambda psi, mu: hurdle(psi, stats.poisson(mu)),
        0,
        draws=50_000,
    ),
    "pymc_hurdle_negative_binomial": Case(
        dist(pm.HurdleNegativeBinomial, "psi", "mu", "alpha"),
        (_PSI, _COUNT_MEANS, (0.5, 3.0, 20.0)),
        lambda psi, mu, a: hurdle(psi, negative_binomial(mu, a)),
        0,
        draws=50_000,
    ),
    "pymc_hurdle_gamma": Case(
        dist(pm.HurdleGamma, "psi", "alpha", "beta"),
        (_PSI, (0.5, 3.0, 20.0), (1.0, 0.2, 6.0)),
        lambda psi, a, b: hurdle_draws(psi, stats.gamma(a, scale=1 / b)),
        2,
        no_slope=(0,),
    ),
    "pymc_hurdle_log_normal": Case(
        dist(pm.HurdleLogNormal, "psi", "mu", "sigma"),
        (_PSI, (0.5, -1.0, 2.0), (1.0, 0.2, 0.6)),
        lambda psi, m, s: hurdle_draws(psi, stats.lognorm(s, scale=np.exp(m))),
        2,
        no_slope=(0,),
    ),
    "pymc_censored_normal": Case(
        _censored,
        ((0.5, -1.0, 2.0), (1.0, 0.2, 3.0), (-0.5, -1.1, 1.0), (2.0, -0.7, 1.5)),
        lambda m, s, a, b: censored_draws(stats.norm(m, s), a, b),
        1,
    ),
    "pymc_censored_poisson": Case(
        _censored_counts,
        (_COUNT_MEANS, np.array([1, 9, 35])),
        lambda mu, b: Counts(
            np.append(stats.poisson(mu).pmf(np.arange(b)), stats.poisson(mu).sf(b - 1))
        ),
        0,
    ),
    "pymc_truncated_of_normal": Case(
        truncated(pm.Normal, "mu", "sigma"),
        ((0.5, -1.0, 2.0), (1.0, 0.2, 3.0), (-0.5, -1.1, 1.0), (2.0, -0.7, 9.5)),
        lambda m, s, a, b: Cut(stats.norm(m, s), a, b),
        1,
        slopes=(0, 3),
    ),
    "pymc_truncated_exponential": Case(
        truncated(pm.Exponential, "scale", upper=False),
        ((0.5, 1.0, 3.0), (0.4, 3.0, 12.0)),
        lambda scale, a: Cut(stats.expon(scale=scale), a),
        0,
        slopes=(0, 1),
    ),
    "pymc_truncated_gamma": Case(
        truncated(pm.Gamma, "alpha", "beta"),
        ((0.5, 2.0, 30.0), (1.0, 0.2, 3.0), (0.1, 5.0, 9.0), (1.4, 30.0, 14.0)),
        lambda a, b, low, up: Cut(stats.gamma(a, scale=1 / b), low, up),
        1,
        draws=20_000,
        slopes=(0, 3),
    ),
    "pymc_truncated_weibull": Case(
        truncated(pm.Weibull, "alpha", "beta"),
        ((0.5, 2.0, 9.0), (1.0, 0.2, 6.0), (0.1, 0.2, 3.0), (4.0, 0.5, 6.5)),
        lambda a, b, low, up: Cut(stats.weibull_min(a, scale=b), low, up),
        1,
        slopes=(0, 1, 2, 3),
    ),
    "pymc_truncated_geometric": Case(
        _integers(truncated(pm.Geometric, "p")),
        ((0.3, 0.05, 0.6), np.array([2, 5, 1]), np.array([9, 40, 4])),
        lambda p, a, b: CutCounts(stats.geom(p), a, b),
        0,
    ),
    "pymc_truncated_wald": Case(
        truncated(pm.Wald, "mu", "lam", lower=False),
        ((1.0, 3.0, 0.5), (2.0, 0.5, 4.0), (1.5, 4.0, 0.6)),
        lambda mu, lam, b: Cut(stats.invgauss(mu / lam, scale=lam), upper=b),
        1,
        draws=50_000,
        no_slope=(0, 1, 2),
    ),
    "pymc_truncated_poisson": Case(
        truncated(pm.Poisson, "mu"),
        (_COUNT_MEANS, np.array([1, 3, 25]), np.array([3, 5, 44])),
        lambda mu, a, b: CutCounts(stats.poisson(mu), a, b),
        0,
        draws=50_000,
    ),
    "pymc_custom_dist": Case(
        _custom,
        ((0.5, -1.0, 2.0), (1.0, 0.2, 0.6)),
        lambda m, s: stats.fisk(1 / s, scale=np.exp(m)),
        1,
        slopes=(0, 1),
    ),
}
