"""Distributions over integers."""

import numpy as np
import pymc.distributions.discrete as pmd
import pytensor.tensor.random.basic as ptr
from pymc.data import minibatch_index
from scipy import stats

from distributions.harness import Case, of

_LOW = (-3, 40, 0)
_HIGH = (8, 81, 1000)
_CATEGORIES = np.array(
    [
        [0.0, 0.1, 0.65, 0.25, 0.0],
        [0.7, 0.0, 0.0, 0.02, 0.28],
        [0.0, 0.0, 0.4, 0.0, 0.6],
    ]
)


def _hypergeometric(good, bad, taken):
    return stats.hypergeom(good + bad, good, taken)


def _categorical(p):
    p = np.asarray(p, np.float64)
    return stats.rv_discrete(values=(range(len(p)), p / p.sum()))


def _one_category_more(values):
    """5 % more of the last category."""
    p = values[0] * np.array([1, 1, 1, 1, 1.05])
    return [p / p.sum(-1, keepdims=True)]


CASES = {
    "bernoulli": Case(of(ptr.bernoulli), ((0.15, 0.8, 0.5),), stats.bernoulli, 0),
    "categorical": Case(
        of(ptr.categorical), (_CATEGORIES,), _categorical, _one_category_more
    ),
    "binomial": Case(
        of(ptr.binomial), ((7, 400, 30), (0.85, 0.3, 0.02)), stats.binom, 1
    ),
    "binomial_of_many": Case(
        of(ptr.binomial),
        ((100_000, 3_000_000, 2_000_000_000), (0.3, 1e-5, 0.999)),
        stats.binom,
        0,
    ),
    "beta_binomial": Case(
        of(ptr.betabinom),
        ((9, 60, 1000), (0.6, 4.0, 0.05), (2.0, 1.5, 0.3)),
        stats.betabinom,
        2,
    ),
    "geometric": Case(of(ptr.geometric), ((0.15, 0.8, 1e-3),), stats.geom, 0),
    "geometric_of_rare_events": Case(
        of(ptr.geometric), ((1e-5, 1e-6, 3e-8),), stats.geom, 0
    ),
    "negative_binomial": Case(
        of(ptr.negative_binomial),
        ((1.7, 40.0, 0.05), (0.3, 0.6, 0.01)),
        stats.nbinom,
        1,
    ),
    "poisson": Case(of(ptr.poisson), ((2.5, 70.0, 0.3),), stats.poisson, 0),
    "poisson_of_many": Case(of(ptr.poisson), ((3e5, 1e7, 1.5e9),), stats.poisson, 0),
    "hypergeometric": Case(
        of(ptr.hypergeometric),
        ((12, 30, 5000), (8, 50, 20_000), (15, 20, 3000)),
        _hypergeometric,
        1,
    ),
    "hypergeometric_of_many": Case(
        of(ptr.hypergeometric),
        (
            (1_000_000, 400, 900_000),
            (3_000_000, 5_000_000, 80_000),
            (2_500_000, 70_000, 900_000),
        ),
        _hypergeometric,
        1,
    ),
    "integers": Case(of(ptr.integers), (_LOW, _HIGH), stats.randint, 1),
    "pymc_discrete_uniform": Case(
        of(pmd.discrete_uniform),
        (_LOW, _HIGH),
        lambda lower, upper: stats.randint(lower, upper + 1),
        1,
    ),
    "pymc_minibatch_index": Case(of(minibatch_index), (_LOW, _HIGH), stats.randint, 1),
}
