"""Draws of ours and of PyMC's: p-values that they come from the same distribution.

PyMC computes in Python here, so nothing of JAX is on its side.

Keys and seeds are fixed, so a run is deterministic. If they were drawn anew, any
p-value of any test over the zoo would be below `REJECT` with a probability of at most
`FALSE_ALARMS` (Bonferroni).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import numpy as np
import pytensor
import xarray as xr
from scipy import stats

__all__ = [
    "PYTHON",
    "REJECT",
    "assert_agree",
    "only_chain",
    "ranks_p_values",
    "samples_p_values",
]

# Fusion is for compilers, and warns where C would not take the fused Op.
PYTHON = pytensor.compile.mode.Mode("py").excluding("fusion")

FALSE_ALARMS = 1e-3
COMPARISONS = 10_000
REJECT = FALSE_ALARMS / COMPARISONS

Draws = Mapping[str, np.ndarray]


def only_chain(tree: xr.DataTree, *groups: str) -> dict[str, np.ndarray]:
    """The variables of these groups, of the only chain."""
    return {n: x.values[0] for group in groups for n, x in tree[group].items()}


def assert_agree(p_values: Iterable[tuple[str, float]]) -> None:
    """That all p-values are above `REJECT`."""
    low = {where: p for where, p in p_values if not p > REJECT}
    assert not low


def samples_p_values(ours: Draws, theirs: Draws) -> Iterator[tuple[str, float]]:
    """Two samples, by variable: arrays with a leading axis of draws, ours are more.

    Compares each element, and for one element of each two variables the mean product of
    their centred ranks, which tells how these depend on one another.
    """
    assert ours.keys() == theirs.keys()
    scores = {}
    for name, wanted in theirs.items():
        assert ours[name].shape[1:] == wanted.shape[1:], name
        a, b = (x.reshape(len(x), -1) for x in (ours[name], wanted))
        assert np.isfinite(a).all(), name
        assert np.isfinite(b).all(), name
        for i in range(a.shape[1]):
            yield f"{name}, element {i}", two_samples(a[:, i], b[:, i])
        if a.shape[1]:
            # Another element of each variable, so that pairs are not all of firsts.
            i = len(scores) % a.shape[1]
            scores[name] = pooled_ranks(a[:, i], b[:, i])
    for (x, (a, b)), (y, (c, d)) in combinations(scores.items(), 2):
        yield f"{x} and {y}", same_mean(a * c, b * d)


def two_samples(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov, or chi-square of a few values."""
    pooled = np.concatenate([a, b])
    values, where = np.unique(pooled, return_inverse=True)
    # What differs by rounding only is one value.
    if np.ptp(pooled) <= 1e-9 * np.abs(pooled).max():
        return 1.0
    if len(values) > 10:
        return float(stats.ks_2samp(a, b, method="asymp").pvalue)
    counts = np.array(
        [
            np.bincount(x, minlength=len(values))
            for x in (where[: len(a)], where[len(a) :])
        ]
    )
    # Rare values count as one.
    rare = counts.sum(0) * len(b) / len(pooled) < 5
    if rare.any():
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
    counts = counts[:, counts.sum(0) > 0]
    if counts.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(counts, correction=False).pvalue)


def pooled_ranks(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred, between -1/2 and 1/2."""
    ranks = (stats.rankdata(np.concatenate([a, b])) - 0.5) / (len(a) + len(b)) - 0.5
    return ranks[: len(a)], ranks[len(a) :]


def same_mean(a: np.ndarray, b: np.ndarray) -> float:
    """Welch's test; the numbers are bounded, so hundreds of them are enough."""
    if np.ptp(np.concatenate([a, b])) == 0:
        return 1.0
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def ranks_p_values(
    ours: Draws, theirs: Draws, seed: int
) -> Iterator[tuple[str, float]]:
    """Draws given values: for each given value, one of theirs among many of ours.

    Among them the rank of theirs is uniform, whatever the distribution is. Compares the
    ranks of each element, and how far they are from the middle, which tells a wrong
    spread; the same of two sums of all elements of a variable with random signs; and
    the means of both over all elements.

    Arguments:
        ours: by variable, arrays with leading axes of given values and of draws.
        theirs: by variable, arrays with a leading axis of given values.
        seed: for the signs, and to break ties.
    """
    rng = np.random.default_rng(seed)
    assert ours.keys() == theirs.keys()
    for name, wanted in theirs.items():
        assert ours[name].shape[2:] == wanted.shape[1:], name
        a = ours[name].reshape(*ours[name].shape[:2], -1)
        b = wanted.reshape(len(wanted), 1, -1)
        assert np.isfinite(a).all(), name
        assert np.isfinite(b).all(), name
        signs = rng.choice([-1.0, 1.0], (a.shape[2], 2))
        scale = a.std((0, 1)) + 1e-300
        a = np.concatenate([a, a / scale @ signs], 2)
        b = np.concatenate([b, b / scale @ signs], 2)
        # What both copy or compute of the given values alone differs by rounding only.
        alike = np.isclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max(initial=1e-300))
        ties = alike.sum(1)
        less = ((a < b) & ~alike).sum(1)
        n = a.shape[1] + 1
        u = (less + rng.uniform(size=less.shape) * (ties + 1)) / n
        for i in range(u.shape[1]):
            where = f"{name}, element {i}"
            yield where, float(stats.kstest(u[:, i], "uniform").pvalue)
            off = np.abs(2 * u[:, i] - 1)
            yield f"{where}, spread", float(stats.kstest(off, "uniform").pvalue)
        # Given values are independent of one another; elements need not be.
        centred = (u[:, :-2] - 0.5).mean(1)
        spread = ((2 * u[:, :-2] - 1) ** 2).mean(1) - 1 / 3
        yield f"{name}, all", float(stats.ttest_1samp(centred, 0).pvalue)
        yield f"{name}, all, spread", float(stats.ttest_1samp(spread, 0).pvalue)
