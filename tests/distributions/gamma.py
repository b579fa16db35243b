"""Distributions that are made of gamma draws."""

import pytensor.tensor.random.basic as ptr
from scipy import stats

from distributions.harness import Case, of

CASES = {
    "gamma": Case(
        of(ptr._gamma),
        ((0.4, 7.0, 150.0), (0.5, 3.0, 0.1)),
        lambda a, scale: stats.gamma(a, scale=scale),
        1,
        slopes=(0, 1),
    ),
}
