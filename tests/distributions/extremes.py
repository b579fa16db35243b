"""Extreme but legal parameters, and what a draw there is compared with.

A draw is an exact value rounded to a float, or moved by a few units in its last place:
beyond the largest float it is inf, and below the smallest normal one it is 0. So the
share of draws up to a float is known to lie between two values of the distribution
function. `p_value` is that it does, at edges from one tail to the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pymc.distributions.continuous as pmc
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
from pytensor.graph.basic import Variable
from scipy import special, stats

from distributions.harness import combined, of

# Probabilities of what lies beyond the edges, on either side of the median.
TAILS = (1e-10, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
ULPS = 8


@dataclass(frozen=True)
class Extreme:
    """A distribution at extreme points.

    Arguments:
        build: ``build(*parameters, size) -> variable``.
        points: for each parameter its values, an array with a leading axis.
        reference: of the values of one point, a distribution with ``cdf``, ``sf``,
            ``ppf`` and ``isf``.
        support: of the values of one point, the closed interval in which draws are;
            that of the reference, if not given.
        view: of a vector draw, the number that has the reference as distribution.
        valid: of draws of vectors, which are possible.
    """

    build: Callable[..., Variable]
    points: tuple[Any, ...]
    reference: Callable[..., Any]
    support: Callable[..., tuple[float, float]] | None = None
    view: Callable[[np.ndarray], np.ndarray] | None = None
    valid: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def values(self) -> list[np.ndarray]:
        return [np.asarray(p) for p in self.points]

    def inputs(self) -> list[Variable]:
        """An input for each parameter, with all points along its first axis."""
        return [pt.tensor(dtype=v.dtype, shape=v.shape) for v in self.values]

    def support_of(self, *point: Any) -> tuple[float, float]:
        if self.support is not None:
            return self.support(*point)
        return self.reference(*point).support()


def p_value(x: np.ndarray, reference: Any, dtype: Any) -> float:
    """That draws come from the reference, but for rounding to ``dtype``.

    Arguments:
        x: draws, none of them nan.
        reference: the distribution.
        dtype: the floating dtype in which the sampler works.
    """
    p = np.array(TAILS)
    with np.errstate(over="ignore", divide="ignore"):
        edges = np.concatenate([reference.ppf(p), reference.isf(p)])
    if x.dtype.kind == "f":
        info = np.finfo(dtype)
        edges = np.concatenate([edges, [-info.max, 0, info.tiny, info.max]])
        edges = np.unique(np.clip(edges, -info.max, info.max).astype(dtype))
    else:
        top = np.iinfo(x.dtype).max
        edges = np.unique(np.clip(edges, -top, top - 1).astype(x.dtype))
    # A rank is no finer than the random bits that a float takes.
    grain = 2 * np.finfo(dtype).eps if x.dtype.kind == "f" else 0.0
    # Counts of what is up to an edge, and of what is beyond.
    below = np.searchsorted(np.sort(x), edges, side="right")
    low, high = _moved(edges, dtype, -1), _moved(edges, dtype, 1)
    # SciPy's distribution functions overflow on their way to 0 and 1.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        shares = [
            *zip(below, reference.cdf(low), reference.cdf(high), strict=True),
            *zip(x.size - below, reference.sf(high), reference.sf(low), strict=True),
        ]
    assert not np.isnan(shares).any()
    return combined(
        _share_p_value(count, x.size, least - grain, most + grain)
        for count, least, most in shares
    )


def _moved(edges: np.ndarray, dtype: Any, side: int) -> np.ndarray:
    """How far an edge may be moved by rounding."""
    info = np.finfo(dtype)
    with np.errstate(over="ignore", divide="ignore"):
        step = ULPS * np.maximum(np.spacing(np.abs(edges).astype(dtype)), info.tiny)
    if edges.dtype.kind != "f":
        # Integers are exact up to the length of a float's mantissa.
        step = np.where(step > ULPS, step, 0)
    return edges.astype(np.float64) + side * step.astype(np.float64)


def _share_p_value(count: int, n: int, least: float, most: float) -> float:
    """That ``count`` of ``n`` fall where ``least`` to ``most`` is expected.

    A bound above 1/2 is left to the share of the others, which is the smaller one:
    SciPy's binomial tails are 0 for probabilities next to 1.
    """
    if least <= 0.5 and count < n * least:
        return 2 * stats.binom.cdf(count, n, least)
    if most <= 0.5 and count > n * most:
        return 2 * stats.binom.sf(count - 1, n, most)
    return 1.0


@dataclass(frozen=True)
class Of:
    """A distribution given by its logarithmic survival and distribution functions."""

    cdf: Callable[[Any], Any]
    sf: Callable[[Any], Any]
    ppf: Callable[[Any], Any]
    isf: Callable[[Any], Any]
    support: Callable[[], tuple[float, float]]


def kumaraswamy(a: float, b: float) -> Of:
    def sf(x: Any) -> Any:
        with np.errstate(divide="ignore"):
            power = a * np.log(np.clip(x, 0, 1))
        return (-np.expm1(power)) ** b

    def isf(p: Any) -> Any:
        return np.exp(np.log1p(-(np.asarray(p) ** (1 / b))) / a)

    def ppf(p: Any) -> Any:
        return np.exp(np.log(-np.expm1(np.log1p(-np.asarray(p)) / b)) / a)

    return Of(lambda x: 1 - sf(x), sf, ppf, isf, lambda: (0.0, 1.0))


def skew_student_t(a: float, b: float, mu: float, sigma: float) -> Of:
    """Jones and Faddy's by the logarithm of the odds, which keeps both tails: p of a
    beta distribution is expit(2 y) where x = sqrt(a + b) sinh(y)."""
    scale = sigma * np.sqrt(a + b)

    def y(x: Any) -> Any:
        return np.arcsinh((np.asarray(x, np.float64) - mu) / scale)

    def x(log_odds: Any) -> Any:
        with np.errstate(over="ignore", divide="ignore"):
            return mu + scale * np.sinh(log_odds / 2)

    def cdf(x: Any) -> Any:
        return special.betainc(a, b, special.expit(2 * y(x)))

    def sf(x: Any) -> Any:
        return special.betainc(b, a, special.expit(-2 * y(x)))

    def below(a: float, b: float, p: Any) -> Any:
        # log(q / (1 - q)) at rank p. Small q: p = q**a / (a B(a, b)).
        q = special.betaincinv(a, b, np.asarray(p))
        with np.errstate(divide="ignore"):
            direct = np.log(q) - np.log1p(-q)
        tail = (np.log(p) + np.log(a) + special.betaln(a, b)) / a
        return np.where(q < 1e-100, tail, direct)

    return Of(
        cdf,
        sf,
        lambda p: x(below(a, b, p)),
        lambda p: x(-below(b, a, p)),
        lambda: (-np.inf, np.inf),
    )


@dataclass(frozen=True)
class LogitNormal:
    mu: float
    sigma: float

    def cdf(self, x: Any) -> Any:
        return stats.norm.cdf(special.logit(np.clip(x, 0, 1)), self.mu, self.sigma)

    def sf(self, x: Any) -> Any:
        return stats.norm.sf(special.logit(np.clip(x, 0, 1)), self.mu, self.sigma)

    def ppf(self, p: Any) -> Any:
        return special.expit(stats.norm.ppf(p, self.mu, self.sigma))

    def isf(self, p: Any) -> Any:
        return special.expit(stats.norm.isf(p, self.mu, self.sigma))

    def support(self) -> tuple[float, float]:
        return 0.0, 1.0


@dataclass(frozen=True)
class Inflated:
    """Zero with probability 1 - psi, otherwise the base, which has no negative draw."""

    psi: float
    base: Any

    def sf(self, x: Any) -> Any:
        return np.where(np.asarray(x) < 0, 1.0, self.psi * self.base.sf(x))

    def cdf(self, x: Any) -> Any:
        return 1 - self.sf(x)

    def isf(self, p: Any) -> Any:
        p = np.asarray(p)
        base = self.base.isf(np.minimum(p / self.psi, 1))
        return np.where(p < self.psi, base, 0)

    def ppf(self, p: Any) -> Any:
        return self.isf(1 - np.asarray(p))

    def support(self) -> tuple[float, float]:
        return 0.0, self.base.support()[1]


@dataclass(frozen=True)
class Wald:
    """SciPy's, which is nan far out where nothing is left."""

    mean: float
    scale: float

    @property
    def base(self) -> Any:
        return stats.invgauss(self.mean / self.scale, scale=self.scale)

    def cdf(self, x: Any) -> Any:
        return self.base.cdf(np.clip(x, 1e-30, 1e30))

    def sf(self, x: Any) -> Any:
        return self.base.sf(np.clip(x, 1e-30, 1e30))

    def ppf(self, p: Any) -> Any:
        return self.base.ppf(p)

    def isf(self, p: Any) -> Any:
        return self.base.isf(p)

    def support(self) -> tuple[float, float]:
        return 0.0, np.inf


def von_mises(mu: float, kappa: float) -> Any:
    """Draws lie in [-pi, pi]: for a small kappa they are almost uniform there, and for
    a large one none comes near the ends."""
    if kappa < 1e-5:
        return stats.uniform(-np.pi, 2 * np.pi)
    return stats.vonmises(kappa, mu)


def pymc(dist: Any, **fixed: Any) -> Callable[..., Variable]:
    """The ``build`` of a distribution of PyMC's, with parameters by name."""
    names = fixed.pop("names")

    def build(*parameters: Variable, size: Any = None) -> Variable:
        given = dict(zip(names, parameters, strict=True))
        return dist.dist(**given, **fixed, size=size)

    return build


_INF = np.inf
_TINY = 1e-12

EXTREMES = {
    "gamma": Extreme(
        of(ptr._gamma),
        ((1e-3, 0.01, 1e6, 1e-3), (1.0, 1e3, 1e-3, 1e6)),
        lambda a, scale: stats.gamma(a, scale=scale),
    ),
    "invgamma": Extreme(
        of(ptr.invgamma),
        ((1e-3, 0.05, 1e6), (1.0, 1e-3, 1e3)),
        lambda a, scale: stats.invgamma(a, scale=scale),
    ),
    "gengamma": Extreme(
        of(ptr.gengamma),
        ((1e-3, 1.0, 50.0), (0.5, 0.05, 50.0), (1.0, 2.0, 3.0)),
        lambda a, p, scale: stats.gengamma(a / p, p, scale=scale),
    ),
    "beta": Extreme(
        of(ptr.beta),
        ((1e-3, 1e-3, 2e-3, 1e6), (1e-3, 5.0, 1e3, 1e6)),
        stats.beta,
    ),
    "pymc_beta": Extreme(of(pmc.beta), ((1e-3, 5.0), (1e-3, 2e-3)), stats.beta),
    "t": Extreme(
        of(ptr.t), ((0.05, 0.5, 1e6), (0.0, 1.0, 2.0), (1.0, 2.0, 1e-3)), stats.t
    ),
    "skew_student_t": Extreme(
        of(pmc.skewstudentt),
        ((0.1, 0.5), (0.2, 300.0), (0.0, 0.0), (1.0, 1.0)),
        skew_student_t,
    ),
    "dirichlet": Extreme(
        of(ptr.dirichlet),
        (((1e-3, 2e-3, 5e-3), (1e-3, 1.0, 1e3), (1e6, 1e-3, 1e6)),),
        lambda alpha: stats.beta(alpha[0], alpha[1:].sum()),
        view=lambda x: x[..., 0],
        valid=lambda x: (x >= 0).all(-1) & (abs(x.sum(-1) - 1) < 1e-5),
    ),
    "stick_breaking": Extreme(
        lambda alpha, size=None: pm.StickBreakingWeights.dist(alpha, K=3, size=size),
        ((1e-3, 1e3),),
        lambda alpha: stats.beta(1, alpha),
        view=lambda x: x[..., 0],
        valid=lambda x: (x >= 0).all(-1) & (abs(x.sum(-1) - 1) < 1e-5),
    ),
    "bernoulli": Extreme(
        of(ptr.bernoulli), ((_TINY, 1 - _TINY, 1e-5),), stats.bernoulli
    ),
    "binomial": Extreme(
        of(ptr.binomial),
        ((10, 10**9, 10**9, 10**9, 10**9), (_TINY, 0.5, 1e-12, 3e-9, 1 - 1e-6)),
        stats.binom,
    ),
    "geometric": Extreme(of(ptr.geometric), ((_TINY, 1e-6, 1 - 1e-6),), stats.geom),
    "negative_binomial": Extreme(
        of(ptr.negative_binomial),
        ((1e-3, 5.0, 1e6, 10.0), (0.5, _TINY, 0.5, 1 - 1e-6)),
        stats.nbinom,
    ),
    "beta_binomial": Extreme(
        of(ptr.betabinom),
        ((50, 50, 10**6), (1e-3, 1e-3, 1e4), (1e-3, 10.0, 3e4)),
        stats.betabinom,
    ),
    "categorical": Extreme(
        of(ptr.categorical),
        (((_TINY, 1 - _TINY, 0.0), (_TINY, 0.5, 0.5), (0.25, 0.75 - 1e-5, 1e-5)),),
        lambda p: stats.rv_discrete(values=(np.arange(3), p / p.sum()))(),
    ),
    "multinomial": Extreme(
        of(ptr.multinomial),
        (
            (10**6, 10**6, 10**9),
            ((_TINY, 0.3, 0.7), (0.3, 0.7, _TINY), (0.3, 0.3, 0.4)),
        ),
        lambda n, p: stats.binom(n, p[0] / p.sum()),
        view=lambda x: x[..., 0],
        valid=lambda x: (x >= 0).all(-1),
    ),
    "poisson": Extreme(of(ptr.poisson), ((_TINY, 1e-5, 10.0, 1e9),), stats.poisson),
    "hypergeometric": Extreme(
        of(ptr.hypergeometric),
        ((500_000, 999_990, 10), (500_000, 10, 999_990), (1000, 500_000, 500_000)),
        lambda good, bad, taken: stats.hypergeom(good + bad, good, taken),
    ),
    "von_mises": Extreme(
        of(ptr.vonmises),
        ((1.0, 0.5, 0.0, -1.0), (0.0, 1e-6, 0.3, 1e6)),
        von_mises,
    ),
    "truncated_normal": Extreme(
        of(pmc.truncated_normal),
        (
            (0.0, 0.0, 0.0, 0.0, 1.0),
            (1.0, 1.0, 1.0, 1.0, 1e-3),
            (8.0, -_INF, 8.0, 40.0, -_INF),
            (_INF, -8.0, 8.001, _INF, _INF),
        ),
        lambda mu, sigma, low, high: stats.truncnorm(
            (low - mu) / sigma, (high - mu) / sigma, mu, sigma
        ),
    ),
    "wald": Extreme(
        of(ptr.wald),
        ((1e4, 1e4, 1e-4, 1e-4), (1e4, 1e-4, 1e4, 1e-4)),
        Wald,
    ),
    "weibull": Extreme(of(ptr.weibull), ((0.05, 1e3),), stats.weibull_min),
    "pareto": Extreme(
        of(ptr.pareto),
        ((0.05, 1e4), (1.0, 2.0)),
        lambda b, scale: stats.pareto(b, scale=scale),
    ),
    "kumaraswamy": Extreme(
        pymc(pm.Kumaraswamy, names=("a", "b")),
        ((0.01, 0.01, 100.0, 50.0), (0.01, 100.0, 0.01, 1e4)),
        kumaraswamy,
    ),
    "skewnormal": Extreme(
        of(pmc.skewnormal),
        ((0.0, 1.0), (1.0, 1e-3), (1e6, -1e6)),
        lambda mu, sigma, alpha: stats.skewnorm(alpha, mu, sigma),
    ),
    "halfcauchy": Extreme(
        of(ptr.halfcauchy), ((0.0, 0.0), (1e-30, 1e30)), stats.halfcauchy
    ),
    "cauchy": Extreme(of(ptr.cauchy), ((0.0, 0.0), (1e-30, 1e30)), stats.cauchy),
    "lognormal": Extreme(
        of(ptr.lognormal),
        ((0.0, 80.0), (50.0, 50.0)),
        lambda mean, sigma: stats.lognorm(sigma, scale=np.exp(mean)),
    ),
    "logistic": Extreme(of(ptr.logistic), ((0.0,), (1.0,)), stats.logistic),
    "gumbel": Extreme(of(ptr.gumbel), ((0.0,), (1.0,)), stats.gumbel_r),
    "laplace": Extreme(of(ptr.laplace), ((0.0,), (1.0,)), stats.laplace),
    "normal": Extreme(
        of(ptr.normal),
        ((0.0, 1.0), (1e30, 0.0)),
        lambda mu, sigma: stats.norm(mu, sigma or 1e-300),
    ),
    "exponential": Extreme(
        of(ptr.exponential), ((1e30, 1e-30),), lambda scale: stats.expon(scale=scale)
    ),
    "truncexpon": Extreme(
        of(ptr.truncexpon),
        ((1e-6, 1e3, 1e-3), (0.0, 0.0, 1.0), (1e6, 1.0, 2.0)),
        stats.truncexpon,
    ),
    "triangular": Extreme(
        of(ptr.triangular),
        ((-1.0, -1.0, 0.0), (-1.0, 2.0, 1e-6), (2.0, 2.0, 1.0)),
        lambda left, mode, right: stats.triang(
            (mode - left) / (right - left), left, right - left
        ),
    ),
    "rice": Extreme(
        of(pmc.rice),
        ((1e6, 0.0), (1.0, 1.0)),
        lambda b, s: stats.norm(b, s) if b else stats.rayleigh(scale=s),
    ),
    "moyal": Extreme(of(pmc.moyal), ((0.0,), (1.0,)), stats.moyal),
    "logit_normal": Extreme(
        pymc(pm.LogitNormal, names=("mu", "sigma")),
        ((0.0, -20.0), (50.0, 1e-3)),
        LogitNormal,
    ),
    # Of the factor [[1, 0], [r, .]], where (1 + r) / 2 is a beta variable.
    "lkj_corr": Extreme(
        lambda eta, size=None: pm.LKJCorr.dist(n=2, eta=eta[0], size=size),
        ((1e-2,),),
        lambda eta: stats.beta(eta, eta, -1, 2),
        view=lambda x: x[..., 1, 0],
    ),
    "lkj_corr_narrow": Extreme(
        lambda eta, size=None: pm.LKJCorr.dist(n=2, eta=eta[0], size=size),
        ((1e6,),),
        lambda eta: stats.beta(eta, eta, -1, 2),
        view=lambda x: x[..., 1, 0],
    ),
    "mixture": Extreme(
        lambda w, mu, size=None: pm.NormalMixture.dist(w, mu, 1.0, size=size),
        (((_TINY, 1 - _TINY), (1 - _TINY, _TINY)), ((1e6, 0.0), (3.0, -1e6))),
        lambda w, mu: stats.norm(mu[np.argmax(w)], 1),
    ),
    "zero_inflated_poisson": Extreme(
        pymc(pm.ZeroInflatedPoisson, names=("psi", "mu")),
        ((_TINY, 1e-4), (50.0, 50.0)),
        lambda psi, mu: Inflated(psi, stats.poisson(mu)),
    ),
}
