"""How a distribution is tested: against SciPy, or against a sampler of NumPy's.

A row is a `Case`. Its draws are compared with the reference by one p-value a parameter
point: Kolmogorov-Smirnov if the reference has a density, chi-square if it has a
probability mass function, and for vectors two-sample Kolmogorov-Smirnov of each
coordinate, of three projections, and means and covariances where they are known.

Keys and the reference's seeds are fixed, so a run is deterministic. If keys were drawn
anew, any p-value of any test would be below `REJECT` with a probability of at most
`FALSE_ALARMS` (Bonferroni). That it takes a small fault to get there is tested too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from scipy import stats

import jaxlink

KEY = jax.random.key(20)
DRAWS = 200_000
# Also the draws of a NumPy sampler that is a reference.
REFERENCE_DRAWS = 200_000
KEYS = 20_000

FALSE_ALARMS = 1e-3
COMPARISONS = 10_000
REJECT = FALSE_ALARMS / COMPARISONS


@dataclass(frozen=True)
class Case:
    """A distribution, parameter points, and what its draws are compared with.

    Arguments:
        build: ``build(*parameters, size=None) -> variable``. Each parameter is a tensor
            with one leading batch axis.
        points: for each parameter its values at three points or more, an array with a
            leading axis of that length. Its dtype is that of the parameter.
        reference: of the values of one point: a frozen SciPy distribution, or anything
            that has its ``cdf`` and, if discrete, ``pmf``; or `REFERENCE_DRAWS` draws
            of NumPy's (see `numpy_rng`), an array with a leading axis.
        wrong: the index of a parameter whose error of 5 % must be noticed; or a
            function that makes wrong points of the right ones.
        draws: how many draws a point; more where a fault shows little.
        moments: of the values of one point: mean and covariance of the draw, raveled.
        slopes: indices of parameters with respect to which a draw has a derivative,
            checked by the derivatives of expectations: those of the moments, if they
            are given, else those of scalar draws with a SciPy reference.
        no_slope: indices of floating parameters without: differentiating is an error.
        batched: whether PyTensor or PyMC allow parameters with batch axes. If not, the
            parameters of ``build`` have none, and the points are drawn one by one.
    """

    build: Callable[..., Variable]
    points: tuple[Any, ...]
    reference: Callable[..., Any]
    wrong: int | Callable[[list[np.ndarray]], list[np.ndarray]]
    draws: int = DRAWS
    moments: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None
    slopes: tuple[int, ...] = ()
    no_slope: tuple[int, ...] = ()
    batched: bool = True

    @property
    def values(self) -> list[np.ndarray]:
        return [np.asarray(p) for p in self.points]

    def p_values(self, draws: Any, values: Sequence[np.ndarray]) -> Iterator[float]:
        """That the columns of draws come from the points of the parameters."""
        for j, point in enumerate(zip(*values, strict=True)):
            column = np.asarray(draws[:, j])
            tests = [p_value(column, self.reference(*point))]
            if self.moments is not None:
                tests.append(moments_p_value(column, *self.moments(*point)))
            yield combined(tests)

    def references(self, values: Sequence[np.ndarray]) -> list[Any]:
        return [self.reference(*point) for point in zip(*values, strict=True)]

    def wrong_values(self) -> list[np.ndarray]:
        """The points with the error that must be noticed."""
        if callable(self.wrong):
            return self.wrong(self.values)
        values = self.values
        values[self.wrong] = five_percent_more(values[self.wrong])
        return values


def five_percent_more(x: np.ndarray) -> np.ndarray:
    """5 % more; of counts, rounded up."""
    more = np.asarray(x) * 1.05
    return np.ceil(more).astype(x.dtype) if x.dtype.kind in "iu" else more


def of(rv: Any, **kwargs: Any) -> Callable[..., Variable]:
    """The ``build`` of a RandomVariable of PyTensor's."""

    def build(*parameters: Variable, size: Any = None) -> Variable:
        rng = pt.random.shared_rng(seed=0)
        return rv(*parameters, size=size, rng=rng, return_next_rng=True, **kwargs)[1]

    return build


def numpy_rng() -> np.random.Generator:
    return np.random.default_rng(2026)


def inputs_of(case: Case, dtype: str | None = None) -> list[Variable]:
    """An input for each parameter; the length of its batch is left open."""
    batch = (None,) if case.batched else ()
    return [
        pt.tensor(
            dtype=dtype if dtype and p.dtype.kind == "f" else p.dtype,
            shape=(*batch, *p.shape[1:]),
        )
        for p in case.values
    ]


def compiled(case: Case, size: Any = None) -> Any:
    """The case as a function of its parameters, all points at once."""
    inputs = inputs_of(case)
    if case.batched:
        return jaxlink.function(inputs, case.build(*inputs, size=size))
    # The last length of the size is the number of points.
    one = jaxlink.function(inputs, case.build(*inputs, size=size and size[:-1]))

    def fn(key: jax.Array, *values: Any) -> jax.Array:
        points = list(zip(*values, strict=True))
        keys = jax.random.split(key, len(points))
        draws = [one(k, *point) for k, point in zip(keys, points, strict=True)]
        return jnp.stack(draws, len(size) - 1 if size else 0)

    return fn


def p_value(draws: Any, reference: Any) -> float:
    """That draws come from the reference.

    Several comparisons are one p-value by Bonferroni's inequality.
    """
    draws = np.asarray(draws)
    if hasattr(reference, "cdf"):
        assert draws.ndim == 1, "a vector's reference is a NumPy sampler"
        if draws.dtype.kind == "f":
            assert np.isfinite(draws).all()
            return stats.kstest(draws.astype(np.float64), reference.cdf).pvalue
        return chi_square_of(draws.astype(np.int64), reference)
    wanted = np.asarray(reference)
    assert draws.shape[1:] == wanted.shape[1:]
    assert np.isfinite(draws).all()
    return combined(
        stats.ks_2samp(a, b, method="asymp").pvalue
        for a, b in zip(_statistics(draws), _statistics(wanted), strict=True)
    )


def moments_p_value(draws: Any, mean: np.ndarray, cov: np.ndarray) -> float:
    """That the means and covariances of draws are these, by normal approximation."""
    flat = np.asarray(draws, np.float64).reshape(len(draws), -1)
    off = flat - np.ravel(mean)
    entries = [(off[:, i], 0.0) for i in range(flat.shape[1])]
    entries += [
        (off[:, i] * off[:, j], cov[i, j])
        for i in range(flat.shape[1])
        for j in range(i + 1)
    ]
    return combined(mean_p_value(x, wanted) for x, wanted in entries)


def moment_slopes_p_value(
    draws: Any, slopes: Any, mean: np.ndarray, d_mean: np.ndarray, d_cov: np.ndarray
) -> float:
    """That means and covariances have these derivatives if draws have those slopes.

    d E[(X - m)(X - m)'] at a fixed m, the mean here, is the derivative of the
    covariance.
    """
    flat = np.asarray(draws, np.float64).reshape(len(draws), -1) - mean
    rates = np.asarray(slopes, np.float64).reshape(flat.shape)
    entries = list(zip(rates.T, np.ravel(d_mean), strict=True))
    entries += [
        (flat[:, i] * rates[:, j] + flat[:, j] * rates[:, i], d_cov[i, j])
        for i in range(flat.shape[1])
        for j in range(i + 1)
    ]
    return combined(mean_p_value(x, wanted) for x, wanted in entries)


def mean_p_value(x: np.ndarray, wanted: float) -> float:
    """That the mean of independent numbers is ``wanted``."""
    error = x.std() / np.sqrt(x.size)
    rounding = 1e-9 * (1 + abs(wanted))
    return 2 * stats.norm.sf(abs(x.mean() - wanted) / np.hypot(error, rounding))


def combined(p_values: Any) -> float:
    several = list(p_values)
    return min(1.0, len(several) * min(several))


def chi_square_of(draws: np.ndarray, reference: Any) -> float:
    """Cells of about equal probability, the two outer ones open; 0 if a draw is
    impossible."""
    if (reference.pmf(np.unique(draws)) <= 0).any():
        return 0.0
    edges = np.unique(reference.ppf(np.linspace(0, 1, 60)[1:-1]))
    expected = np.diff(reference.cdf(edges), prepend=0, append=1) * draws.size
    return chi_square(np.searchsorted(edges, draws, side="left"), expected)


def chi_square(cells: np.ndarray, expected: np.ndarray) -> float:
    """The p-value of cell numbers, given the expected counts. Impossible is 0."""
    counts = np.bincount(cells, minlength=len(expected))
    possible = expected > 1e-9
    if counts[~possible].any():
        return 0.0
    counts, expected = counts[possible], expected[possible]
    if len(counts) == 1:
        return 1.0
    return stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue


def _statistics(draws: np.ndarray) -> list[np.ndarray]:
    """The coordinates of draws, at most eight, and three projections."""
    flat = draws.reshape(len(draws), -1)
    k = flat.shape[1]
    if k == 1:
        return [flat[:, 0]]
    chosen = np.unique(np.linspace(0, k - 1, min(k, 8)).astype(int))
    directions = np.random.default_rng(3).normal(size=(3, k))
    projections = [(flat * d).sum(-1) for d in directions]
    return [flat[:, i] for i in chosen] + projections
