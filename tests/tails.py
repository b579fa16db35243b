"""Distributions, parameters and values from the centre to 200 scales out.

A row is a `Tail`: the sweep of gradients runs over all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

# In scales from the centre, on both sides.
_OUT = np.array([0, 1e-3, 0.5, 1, 2, 3, 6, 8, 12, 20, 40, 80, 200])
SCALES = np.unique([*-_OUT, *_OUT])
RANKS = np.array([0, 1e-30, 1e-10, 1e-4, 0.1, 0.3, 0.5, 0.7, 0.99, 1 - 1e-10, 1])

FUNCTIONS: dict[str, Callable[..., Variable]] = {
    "logp": pm.logp,
    "logcdf": pm.logcdf,
    "logccdf": pm.logccdf,
    "icdf": pm.icdf,
}


@dataclass(frozen=True)
class Tail:
    """A scalar distribution and where its functions are differentiated.

    Arguments:
        build: of parameters that are vectors.
        parameters: of each, its values at some points.
        centre, scale: of all parameters; the parameters themselves are values too, for
            that is where kinks and bounds are.
        discrete: values are whole numbers.
        without: functions that are not swept, and why.
    """

    build: Callable[..., Variable]
    parameters: tuple[Any, ...]
    centre: Callable[..., Any]
    scale: Callable[..., Any]
    discrete: bool = False
    without: tuple[str, ...] = ()

    def graph(self, function: str, dtype: str) -> tuple[list[Variable], Variable]:
        """The value and the parameters as vectors, and the function of them."""
        value = pt.vector("value", dtype=dtype)
        params = [pt.vector(f"p{i}", dtype=dtype) for i in range(len(self.parameters))]
        with pytensor.config.change_flags(floatX=dtype):
            variable = self.build(*params)
            is_count = self.discrete and function != "icdf"
            at = value.astype("int64") if is_count else value
            return [value, *params], FUNCTIONS[function](variable, at)

    def points(self, function: str, dtype: str) -> list[np.ndarray]:
        """All combinations of parameters and values, in columns."""
        params = [np.asarray(p, float)[:, None] for p in self.parameters]
        if function == "icdf":
            values = np.broadcast_to(RANKS, (len(params[0]), len(RANKS)))
        else:
            values = self.centre(*params) + self.scale(*params) * SCALES
            ends = [p for p in params if np.isfinite(p).all()]
            zero = 0 * params[0]
            values = np.concatenate([values, *ends, zero, zero + 1], 1)
            values = np.round(values) if self.discrete else values
        columns = [np.broadcast_to(p, values.shape) for p in params]
        return [x.ravel().astype(dtype) for x in (values, *columns)]


_LOC, _SCALE = (-1.0, 3.0, 0.2), (0.5, 2.0, 7.0)
_ENDS = ((-1.2, -50.0, -3.0, 30.0), (3.0, 4.0, 1.0, 40.0))
# The derivatives of the incomplete gamma and beta functions with respect to their order
# take minutes to compile; tests/test_special*.py differentiate them and their inverses.
_BY_ORDER = ("logcdf", "logccdf", "icdf")


def _first(x: Any, *others: Any) -> Any:
    return x


def _second(x: Any, y: Any, *others: Any) -> Any:
    return y


def _third(x: Any, y: Any, z: Any, *others: Any) -> Any:
    return z


def _location_scale(dist: Any) -> Tail:
    return Tail(lambda m, s: dist.dist(m, s), (_LOC, _SCALE), _first, _second)


def _pair(x: Variable, y: Variable) -> Variable:
    return pt.stack([x, y], -1)


def _cutpoints(c: Variable) -> Variable:
    return pt.stack([c, c + 1, c + 2.5], -1)


TAILS = {
    "normal": _location_scale(pm.Normal),
    "laplace": _location_scale(pm.Laplace),
    "logistic": _location_scale(pm.Logistic),
    "gumbel": _location_scale(pm.Gumbel),
    "cauchy": _location_scale(pm.Cauchy),
    "moyal": _location_scale(pm.Moyal),
    "log_normal": Tail(
        lambda m, s: pm.LogNormal.dist(m, s),
        (_LOC, (1.0, 0.2, 2.0)),
        lambda m, s: np.exp(m),
        lambda m, s: np.exp(m) * s,
    ),
    "half_normal": Tail(
        lambda s: pm.HalfNormal.dist(s), (_SCALE,), np.zeros_like, _first
    ),
    "half_cauchy": Tail(
        lambda s: pm.HalfCauchy.dist(s), (_SCALE,), np.zeros_like, _first
    ),
    "half_student_t": Tail(
        lambda nu, s: pm.HalfStudentT.dist(nu=nu, sigma=s),
        ((1.5, 4.0, 50.0), _SCALE),
        lambda nu, s: 0 * s,
        _second,
        without=_BY_ORDER,
    ),
    "student_t": Tail(
        lambda nu, m, s: pm.StudentT.dist(nu=nu, mu=m, sigma=s),
        ((1.5, 4.0, 50.0), _LOC, _SCALE),
        _second,
        _third,
        without=_BY_ORDER,
    ),
    "skew_student_t": Tail(
        lambda a, b, m, s: pm.SkewStudentT.dist(a=a, b=b, mu=m, sigma=s),
        ((1.5, 4.0, 10.0), (2.0, 3.0, 0.7), _LOC, _SCALE),
        _third,
        lambda a, b, m, s: s,
        without=_BY_ORDER,
    ),
    "skew_normal": Tail(
        lambda m, s, a: pm.SkewNormal.dist(mu=m, sigma=s, alpha=a),
        (_LOC, _SCALE, (4.0, -1.5, 0.3)),
        _first,
        _second,
    ),
    "ex_gaussian": Tail(
        lambda m, s, nu: pm.ExGaussian.dist(mu=m, sigma=s, nu=nu),
        (_LOC, _SCALE, (0.5, 3.0, 0.02)),
        _first,
        _second,
    ),
    "asymmetric_laplace": Tail(
        lambda k, m, b: pm.AsymmetricLaplace.dist(kappa=k, mu=m, b=b),
        ((0.5, 2.0, 1.0), _LOC, _SCALE),
        _second,
        _third,
    ),
    "uniform": Tail(
        lambda a, b: pm.Uniform.dist(a, b),
        (_LOC, (-0.5, 7.0, 0.3)),
        _first,
        lambda a, b: b - a,
    ),
    "triangular": Tail(
        lambda a, c, b: pm.Triangular.dist(lower=a, c=c, upper=b),
        ((-1.0, 2.0, 0.3), (-0.5, 6.5, 0.5), (1.0, 7.0, 0.7)),
        _second,
        lambda a, c, b: (b - a) / 4,
    ),
    "exponential": Tail(
        lambda s: pm.Exponential.dist(scale=s), (_SCALE,), np.zeros_like, _first
    ),
    "gamma": Tail(
        lambda a, b: pm.Gamma.dist(a, b),
        ((0.5, 3.0, 80.0), (2.0, 0.3, 1.0)),
        lambda a, b: a / b,
        lambda a, b: np.sqrt(a) / b,
        without=_BY_ORDER,
    ),
    "inverse_gamma": Tail(
        lambda a, b: pm.InverseGamma.dist(a, b),
        ((0.8, 3.0, 80.0), (2.0, 0.3, 1.0)),
        lambda a, b: b / (a + 1),
        lambda a, b: b / a,
        without=_BY_ORDER,
    ),
    "beta": Tail(
        lambda a, b: pm.Beta.dist(a, b),
        ((0.5, 3.0, 1.0), (2.0, 30.0, 1.0)),
        lambda a, b: a / (a + b),
        lambda a, b: 0.02 + 0 * a,
        without=_BY_ORDER,
    ),
    "kumaraswamy": Tail(
        lambda a, b: pm.Kumaraswamy.dist(a, b),
        ((0.5, 3.0, 1.0), (2.0, 30.0, 1.0)),
        lambda a, b: a / (a + b),
        lambda a, b: 0.02 + 0 * a,
    ),
    "weibull": Tail(
        lambda a, b: pm.Weibull.dist(a, b),
        ((0.7, 3.0, 12.0), _SCALE),
        _second,
        lambda a, b: b / a,
    ),
    "pareto": Tail(
        lambda a, m: pm.Pareto.dist(a, m),
        ((0.8, 4.0, 30.0), _SCALE),
        _second,
        lambda a, m: m / a,
    ),
    "wald": Tail(
        lambda m, lam, a: pm.Wald.dist(mu=m, lam=lam, alpha=a),
        ((0.5, 4.0, 70.0), (3.0, 0.8, 0.02), (0.3, 1.0, 0.0)),
        lambda m, lam, a: m + a,
        lambda m, lam, a: np.sqrt(m**3 / lam),
    ),
    "von_mises": Tail(
        lambda m, k: pm.VonMises.dist(m, k),
        ((-2.0, 1.0, 0.1), (0.8, 3.0, 60.0)),
        _first,
        lambda m, k: 0.2 + 0 * m,
    ),
    "rice": Tail(
        lambda nu, s: pm.Rice.dist(nu=nu, sigma=s),
        ((0.4, 3.0, 20.0), _SCALE),
        _first,
        _second,
    ),
    "truncated_normal": Tail(
        lambda m, s, a, b: pm.TruncatedNormal.dist(m, s, lower=a, upper=b),
        ((-1.0, 3.0, 0.5, 0.0), (0.5, 2.0, 3.0, 1.0), *_ENDS),
        _first,
        _second,
    ),
    "truncated": Tail(
        lambda m, s, a, b: pm.Truncated.dist(pm.Laplace.dist(m, s), lower=a, upper=b),
        ((-1.0, 3.0, 0.5, 0.0), (0.5, 2.0, 3.0, 1.0), *_ENDS),
        _first,
        _second,
    ),
    "censored_normal": Tail(
        lambda m, s, a, b: pm.Censored.dist(pm.Normal.dist(m, s), lower=a, upper=b),
        ((-1.0, 3.0, 0.5, 0.0), (0.5, 2.0, 3.0, 1.0), *_ENDS),
        _first,
        _second,
    ),
    "censored_at_one_end": Tail(
        lambda m, s: pm.Censored.dist(pm.Normal.dist(m, s), lower=None, upper=205.0),
        ((205.0, 200.0, 0.0, 400.0), (1.0, 10.0, 10.0, 1.0)),
        lambda m, s: 205 + 0 * m,
        _second,
    ),
    "censored_weibull": Tail(
        lambda a, b, top: pm.Censored.dist(
            pm.Weibull.dist(a, b), lower=None, upper=top
        ),
        ((0.7, 3.0, 12.0), _SCALE, (1.0, 3.0, 80.0)),
        _second,
        lambda a, b, top: b / a,
    ),
    "mixture": Tail(
        lambda w, m, s: pm.Mixture.dist(
            _pair(w, 1 - w), pm.Normal.dist(_pair(m, m + 1), _pair(s, 2 * s))
        ),
        ((0.3, 0.9, 0.5), _LOC, _SCALE),
        _second,
        _third,
    ),
    "bernoulli": Tail(
        lambda p: pm.Bernoulli.dist(p),
        ((0.15, 0.8, 0.5, 0.0, 1.0),),
        np.zeros_like,
        np.ones_like,
        discrete=True,
    ),
    "bernoulli_by_logit": Tail(
        lambda p: pm.Bernoulli.dist(logit_p=p),
        ((-3.0, 0.8, 500.0, -800.0),),
        np.zeros_like,
        np.ones_like,
        discrete=True,
    ),
    "bernoulli_by_probit": Tail(
        lambda p: pm.Bernoulli.dist(p=pm.math.invprobit(p)),
        ((-3.0, 0.0, 6.0, -30.0),),
        np.zeros_like,
        np.ones_like,
        discrete=True,
    ),
    "binomial": Tail(
        lambda p: pm.Binomial.dist(30, p),
        ((0.15, 0.8, 0.5, 0.0, 1.0),),
        lambda p: 30 * p,
        lambda p: 3 + 0 * p,
        discrete=True,
        without=_BY_ORDER,
    ),
    "poisson": Tail(
        lambda m: pm.Poisson.dist(m),
        ((2.5, 70.0, 0.3),),
        _first,
        np.sqrt,
        discrete=True,
        without=_BY_ORDER,
    ),
    "negative_binomial": Tail(
        lambda m, a: pm.NegativeBinomial.dist(mu=m, alpha=a),
        ((2.5, 70.0, 0.3), (1.0, 10.0, 0.1)),
        _first,
        lambda m, a: np.sqrt(m),
        discrete=True,
        without=_BY_ORDER,
    ),
    "beta_binomial": Tail(
        lambda a, b: pm.BetaBinomial.dist(n=30, alpha=a, beta=b),
        ((0.6, 4.0, 0.05), (2.0, 1.5, 0.3)),
        lambda a, b: 30 * a / (a + b),
        lambda a, b: 3 + 0 * a,
        discrete=True,
        without=("logcdf", "logccdf"),  # PyMC takes one value only
    ),
    "geometric": Tail(
        lambda p: pm.Geometric.dist(p),
        ((0.15, 0.8, 1e-3),),
        lambda p: 1 / p,
        lambda p: 1 / p,
        discrete=True,
    ),
    "discrete_weibull": Tail(
        lambda q, b: pm.DiscreteWeibull.dist(q, b),
        ((0.15, 0.8, 0.99), (1.0, 2.0, 0.5)),
        lambda q, b: 1 + 0 * q,
        lambda q, b: 1 + 0 * q,
        discrete=True,
    ),
    "zero_inflated_poisson": Tail(
        lambda p, m: pm.ZeroInflatedPoisson.dist(p, m),
        ((0.3, 0.8, 0.99), (2.5, 70.0, 0.3)),
        _second,
        lambda p, m: np.sqrt(m),
        discrete=True,
        without=_BY_ORDER,
    ),
    "hurdle_gamma": Tail(
        lambda p, a, b: pm.HurdleGamma.dist(p, a, b),
        ((0.3, 0.8, 0.99), (2.5, 70.0, 0.3), (1.0, 1.0, 2.0)),
        lambda p, a, b: a / b,
        lambda p, a, b: np.sqrt(a) / b,
        without=_BY_ORDER,
    ),
    "ordered_logistic": Tail(
        lambda e, c: pm.OrderedLogistic.dist(e, _cutpoints(c), compute_p=False),
        ((0.0, 40.0, -800.0), (0.0, 1.0, 0.0)),
        lambda e, c: 1 + 0 * e,
        lambda e, c: 1 + 0 * e,
        discrete=True,
        without=("logcdf", "logccdf"),
    ),
    "ordered_probit": Tail(
        lambda e, c: pm.OrderedProbit.dist(e, _cutpoints(c), compute_p=False),
        ((0.0, 4.0, -8.0), (0.0, 1.0, 0.0)),
        lambda e, c: 1 + 0 * e,
        lambda e, c: 1 + 0 * e,
        discrete=True,
        without=("logcdf", "logccdf"),
    ),
}


def _outer(low: float, high: float) -> Callable[..., Any]:
    return lambda q, *params: (q <= low) | (q >= high)


def _at_zero(x: Any, *params: Any) -> Any:
    return x == 0


def _far_left(x: Any, m: Any, s: Any) -> Any:
    return x < m - 80 * s


# Where a slope is nan in jaxlink and in PyTensor, though the true one is finite: of a
# distribution, a function and a kind of floats (all, if "") the values, and why.
INDETERMINATE: dict[tuple[str, str, str], tuple[Callable[..., Any], str]] = {
    ("gumbel", "logccdf", "float32"): (_far_left, "exp(exp) over- and underflows"),
    ("moyal", "logccdf", "float32"): (_far_left, "exp underflows in erfc"),
    ("log_normal", "icdf", ""): (_at_zero, "exp(mu + sigma * -inf)"),
    ("triangular", "icdf", ""): (_outer(0, 1), "the root of zero, times zero"),
    ("kumaraswamy", "icdf", ""): (_outer(0, 1), "powers of zero, times zero"),
    ("weibull", "logccdf", ""): (_at_zero, "a power of zero, times zero"),
    ("censored_weibull", "logccdf", ""): (_at_zero, "a power of zero, times zero"),
    ("truncated", "logccdf", ""): (
        lambda x, m, s, low, high: x == low,
        "log1mexp(-inf) of a difference of logarithms",
    ),
    ("discrete_weibull", "logccdf", ""): (
        lambda x, *params: x > 40,
        "q ** (x + 1) ** beta underflows",
    ),
}
# Where PyTensor's slope is finite though the value is -inf, so that there is none: the
# ends of supports, where the density or the probability is zero, and probabilities that
# floats of 32 bits cannot tell from zero.
WITHOUT_SLOPE: dict[tuple[str, str], Callable[..., Any]] = {
    ("triangular", "logp"): lambda x, low, c, high: (x == low) | (x == high),
    ("kumaraswamy", "logcdf"): _at_zero,
    ("weibull", "logp"): _at_zero,
    ("weibull", "logcdf"): _at_zero,
    ("censored_weibull", "logp"): _at_zero,
    ("censored_weibull", "logcdf"): _at_zero,
    ("mixture", "logccdf"): lambda x, w, m, s: x > m + 10 * s,
}
# The slopes of a quantile in a location and a scale far from the bounds are differences
# of numbers that are nearly the same.
ROUNDING: dict[tuple[str, str, str], float] = {
    ("truncated_normal", "icdf", "float64"): 2e4,
    ("truncated_normal", "icdf", "float32"): 300,
    # Far out, terms of 4e4 leave a slope of 2. What is left differs between processors.
    ("ex_gaussian", "logcdf", "float32"): 1000,
}
