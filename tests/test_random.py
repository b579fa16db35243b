"""Samplers against the distributions of SciPy and NumPy, never against JAX.

`CASES` holds one row a distribution: the RandomVariable, asymmetric parameter points
and the reference. Each is drawn with a size in 64 bits, and over keys in 32 bits.
"""

import itertools
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pymc.distributions.continuous as pmc
import pymc.distributions.discrete as pmd
import pymc.distributions.multivariate as pmm
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import pytest
from pytensor.tensor.random.op import RandomVariable
from scipy import stats

import jaxlink
from jaxlink.dispatch.random.pymc import reason_against
from jaxlink.dispatch.random.rows import find_row
from jaxlink.dispatch.random.variables import sampler

KEY = jax.random.key(20)
DRAWS = 60_000
# One test in a hundred thousand would fail by chance, if keys were not fixed.
REJECT = 1e-5


@pytest.fixture(autouse=True)
def _strict_and_64_bits():
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.numpy_dtype_promotion("strict"))
        yield


# --- the table -----------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A RandomVariable, two points for each parameter and SciPy's distribution.

    ``wrong`` is the index of a parameter whose error of 5 % must be noticed.
    """

    rv: RandomVariable
    points: tuple[tuple[float, float], ...]
    reference: Callable
    wrong: int

    @property
    def discrete(self):
        return not self.rv.dtype.startswith("float")


CASES = {
    "uniform": Case(
        ptr.uniform,
        ((-1.0, 2.0), (0.5, 7.0)),
        lambda low, high: stats.uniform(low, high - low),
        1,
    ),
    "normal": Case(ptr.normal, ((-1.0, 3.0), (0.5, 2.0)), stats.norm, 1),
    "halfnormal": Case(ptr.halfnormal, ((-1.0, 3.0), (0.5, 2.0)), stats.halfnorm, 1),
    "lognormal": Case(
        ptr.lognormal,
        ((-1.0, 1.0), (0.5, 0.2)),
        lambda mean, sigma: stats.lognorm(sigma, scale=np.exp(mean)),
        1,
    ),
    "cauchy": Case(ptr.cauchy, ((-1.0, 3.0), (0.5, 2.0)), stats.cauchy, 0),
    "halfcauchy": Case(ptr.halfcauchy, ((-1.0, 3.0), (0.5, 2.0)), stats.halfcauchy, 1),
    "laplace": Case(ptr.laplace, ((-1.0, 3.0), (0.5, 2.0)), stats.laplace, 0),
    "logistic": Case(ptr.logistic, ((-1.0, 3.0), (0.5, 2.0)), stats.logistic, 1),
    "gumbel": Case(ptr.gumbel, ((-1.0, 3.0), (0.5, 2.0)), stats.gumbel_r, 1),
    "exponential": Case(
        ptr.exponential, ((0.3, 4.0),), lambda scale: stats.expon(scale=scale), 0
    ),
    "gamma": Case(
        ptr._gamma,
        ((0.4, 7.0), (0.5, 3.0)),
        lambda a, scale: stats.gamma(a, scale=scale),
        1,
    ),
    "invgamma": Case(
        ptr.invgamma,
        ((0.7, 5.0), (0.5, 3.0)),
        lambda a, scale: stats.invgamma(a, scale=scale),
        1,
    ),
    "gengamma": Case(
        ptr.gengamma,
        ((0.9, 5.0), (0.5, 2.0), (0.5, 3.0)),
        lambda a, p, scale: stats.gengamma(a / p, p, scale=scale),
        1,
    ),
    "beta": Case(ptr.beta, ((0.4, 6.0), (2.5, 3.0)), stats.beta, 1),
    "weibull": Case(ptr.weibull, ((0.7, 3.0),), stats.weibull_min, 0),
    "pareto": Case(
        ptr.pareto,
        ((0.8, 4.0), (0.5, 3.0)),
        lambda b, scale: stats.pareto(b, scale=scale),
        0,
    ),
    "t": Case(ptr.t, ((1.5, 9.0), (-1.0, 2.0), (0.5, 3.0)), stats.t, 2),
    "triangular": Case(
        ptr.triangular,
        ((-1.0, 2.0), (-0.5, 2.0), (1.0, 7.0)),
        lambda left, mode, right: stats.triang(
            (mode - left) / (right - left), left, right - left
        ),
        2,
    ),
    "vonmises": Case(
        ptr.vonmises,
        ((-2.0, 1.0), (0.8, 25.0)),
        lambda mu, kappa: Wrapped(stats.vonmises(kappa), mu),
        1,
    ),
    "wald": Case(
        ptr.wald,
        ((0.5, 4.0), (3.0, 0.8)),
        lambda mean, scale: stats.invgauss(mean / scale, scale=scale),
        0,
    ),
    "truncexpon": Case(
        ptr.truncexpon,
        ((0.8, 4.0), (-1.0, 2.0), (0.5, 3.0)),
        stats.truncexpon,
        2,
    ),
    "bernoulli": Case(ptr.bernoulli, ((0.15, 0.8),), stats.bernoulli, 0),
    "binomial": Case(ptr.binomial, ((7, 400), (0.85, 0.3)), stats.binom, 1),
    "beta_binomial": Case(
        ptr.betabinom, ((9, 60), (0.6, 4.0), (2.0, 1.5)), stats.betabinom, 2
    ),
    "poisson": Case(ptr.poisson, ((2.5, 70.0),), stats.poisson, 0),
    "poisson_rare_and_frequent": Case(
        ptr.poisson, ((0.3, 3e5),), stats.poisson, 0
    ),
    "geometric": Case(ptr.geometric, ((0.15, 0.8),), stats.geom, 0),
    "negative_binomial": Case(
        ptr.negative_binomial, ((1.7, 40.0), (0.3, 0.6)), stats.nbinom, 1
    ),
    "hypergeometric": Case(
        ptr.hypergeometric,
        ((12, 30), (8, 50), (15, 20)),
        lambda good, bad, taken: stats.hypergeom(good + bad, good, taken),
        1,
    ),
    "integers": Case(ptr.integers, ((-3, 40), (8, 81)), stats.randint, 1),
    "pymc_discrete_uniform": Case(
        pmd.discrete_uniform,
        ((-3, 40), (8, 81)),
        lambda lower, upper: stats.randint(lower, upper + 1),
        1,
    ),
    "pymc_beta_clipped": Case(pmc.beta, ((0.4, 6.0), (2.5, 3.0)), stats.beta, 1),
    "pymc_wald": Case(
        pmc.wald,
        ((0.5, 4.0), (3.0, 0.8), (0.3, -1.0)),
        lambda mu, lam, alpha: stats.invgauss(mu / lam, alpha, lam),
        0,
    ),
    "pymc_skew_normal": Case(
        pmc.skewnormal,
        ((-1.0, 2.0), (0.5, 3.0), (4.0, -1.5)),
        lambda mu, sigma, alpha: stats.skewnorm(alpha, mu, sigma),
        1,
    ),
    "pymc_skew_student_t": Case(
        pmc.skewstudentt, ((2.0, 5.0), (6.0, 1.5), (-1.0, 2.0), (0.5, 3.0)),
        stats.jf_skew_t, 3,
    ),
    "pymc_rice": Case(
        pmc.rice, ((0.4, 3.0), (0.5, 2.0)), lambda b, s: stats.rice(b, scale=s), 1
    ),
    "pymc_moyal": Case(pmc.moyal, ((-1.0, 3.0), (0.5, 2.0)), stats.moyal, 1),
    "pymc_truncated_normal": Case(
        pmc.truncated_normal,
        ((-1.0, 3.0), (0.5, 2.0), (-0.8, -np.inf), (3.0, 4.0)),
        lambda mu, sigma, low, high: stats.truncnorm(
            (low - mu) / sigma, (high - mu) / sigma, mu, sigma
        ),
        1,
    ),
    "pymc_truncated_normal_tails": Case(
        pmc.truncated_normal,
        ((0.0, 1.0), (1.0, 0.5), (9.0, -np.inf), (np.inf, -6.5)),
        lambda mu, sigma, low, high: stats.truncnorm(
            (low - mu) / sigma, (high - mu) / sigma, mu, sigma
        ),
        1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Wrapped:
    """SciPy's von Mises about zero, moved to ``mu`` and wrapped to [-pi, pi]."""

    base: object
    mu: float

    def cdf(self, x):
        # SciPy's distribution function goes on over the ends of its circle.
        return self.base.cdf(x - self.mu) - self.base.cdf(-np.pi - self.mu)


# Rows with a loop of their own, whose lanes must not disturb each other.
LOOPED = ("gamma", "binomial", "poisson", "hypergeometric", "vonmises")


def compiled(rv, *points, size=None, dtype=None):
    """``rv`` with a vector input for each parameter, in the dtype of the points."""
    params = [pt.tensor(dtype=np.asarray(p).dtype, shape=(None,)) for p in points]
    rng = pt.random.shared_rng(seed=0)
    _, x = rv(*params, size=size, rng=rng, dtype=dtype, return_next_rng=True)
    return jaxlink.function(params, x)


def p_value(draws, reference, discrete):
    """Kolmogorov-Smirnov for continuous draws, chi-square for discrete ones."""
    draws = np.asarray(draws)
    if not discrete:
        assert np.isfinite(draws).all()
        return stats.kstest(draws.astype(np.float64), reference.cdf).pvalue
    assert draws.dtype.kind == "i"
    # Cells of about equal probability, the two outer ones open.
    edges = np.unique(reference.ppf(np.linspace(0, 1, 60)[1:-1]))
    expected = np.diff(reference.cdf(edges), prepend=0, append=1) * draws.size
    cells = np.searchsorted(edges, draws, side="left")
    return chi_square(cells, expected)


def chi_square(cells, expected):
    """The p-value of cell numbers, given the expected counts. Impossible is 0."""
    counts = np.bincount(cells, minlength=len(expected))
    possible = expected > 1e-9
    if counts[~possible].any():
        return 0.0
    counts, expected = counts[possible], expected[possible]
    if len(counts) == 1:
        return 1.0
    return stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue


def references(case, points):
    return [case.reference(*values) for values in zip(*points, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_draws_of_a_size(name):
    case = CASES[name]
    fn = compiled(case.rv, *case.points, size=(DRAWS, 2))
    points = [np.asarray(p) for p in case.points]
    draws = fn(KEY, *points)
    assert draws.shape == (DRAWS, 2)
    assert draws.dtype == (np.int64 if case.discrete else np.float64)
    for column, reference in zip(draws.T, references(case, points), strict=True):
        assert p_value(column, reference, case.discrete) > REJECT

    # The same check sees a parameter that is wrong by 5 %.
    faulty = [p * 1.05 if i == case.wrong else p for i, p in enumerate(points)]
    if points[case.wrong].dtype.kind == "i":
        faulty[case.wrong] = np.ceil(faulty[case.wrong]).astype(np.int64)
    seen = [
        p_value(column, reference, case.discrete)
        for column, reference in zip(draws.T, references(case, faulty), strict=True)
    ]
    assert min(seen) < REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
@pytest.mark.parametrize("name", CASES)
def test_draws_mapped_over_keys_in_32_bits(name):
    case = CASES[name]
    points = [np.asarray(p) for p in case.points]
    with jax.enable_x64(False):
        points = [
            p.astype("int32" if p.dtype.kind == "i" else "float32") for p in points
        ]
        fn = compiled(case.rv, *points, dtype=None if case.discrete else "float32")
        keys = jax.random.split(KEY, DRAWS // 3)
        draws = jax.vmap(fn, (0, *[None] * len(points)))(keys, *points)
        one = fn(keys[3], *points) if name in LOOPED else draws[3]
    assert draws.shape == (DRAWS // 3, 2)
    assert draws.dtype == (np.int32 if case.discrete else np.float32)
    np.testing.assert_array_equal(draws[3], one)
    exact = [p.astype(np.float64) if p.dtype.kind == "f" else p for p in points]
    for column, reference in zip(draws.T, references(case, exact), strict=True):
        assert p_value(column, reference, case.discrete) > REJECT


# --- vectors, shuffles and choices ---------------------------------------------------


def drawn(rv, *params, size=DRAWS, key=KEY, **kwargs):
    """Draws of ``rv`` with constant parameters."""
    rng = pt.random.shared_rng(seed=0)
    _, x = rv(*params, size=size, rng=rng, return_next_rng=True, **kwargs)
    return np.asarray(jaxlink.function([], x)(key))


def test_categorical_with_zero_and_unequal_probabilities():
    p = np.array([[0.0, 0.1, 0.65, 0.25, 0.0], [0.7, 0.0, 0.0, 0.02, 0.28]])
    draws = drawn(ptr.categorical, p, size=(DRAWS, 2))
    assert draws.dtype == np.int64
    for column, row in zip(draws.T, p, strict=True):
        assert chi_square(column, row * DRAWS) > REJECT
        assert chi_square(column, (0.95 * row + 0.05 / 5) * DRAWS) < REJECT


@pytest.mark.filterwarnings("ignore::jaxlink.PrecisionWarning")
def test_rare_categories_in_32_bits():
    p = np.array([1 - 3e-9, 3e-9], "float32")
    with jax.enable_x64(False):
        assert drawn(ptr.categorical, p, size=(10, 300_000)).sum() <= 2
        assert drawn(ptr.bernoulli, p[1], size=(10, 300_000)).sum() <= 2


def test_multinomial():
    n, p = np.array([0, 5, 90]), np.array([0.2, 0.0, 0.7, 0.1, 0.0])
    draws = drawn(ptr.multinomial, n, p, size=(DRAWS, 3))
    assert draws.shape == (DRAWS, 3, 5)
    np.testing.assert_array_equal(draws.sum(-1), np.broadcast_to(n, (DRAWS, 3)))
    for i, j in itertools.product((1, 2), range(5)):
        assert p_value(draws[:, i, j], stats.binom(n[i], p[j]), True) > REJECT
    assert p_value(draws[:, 2, 2], stats.binom(90, 0.7 * 1.05), True) < REJECT
    # Of two categories, what is in one follows from their sum.
    pair = draws[:, 2, 0] + draws[:, 2, 3]
    given = draws[pair == 20, 2, 0]
    assert p_value(given, stats.binom(20, 0.2 / 0.3), True) > REJECT


def test_dirichlet():
    alpha = np.array([[0.3, 4.0, 1.2], [20.0, 2.0, 5.0]])
    draws = drawn(ptr.dirichlet, alpha, size=(DRAWS, 2))
    np.testing.assert_allclose(draws.sum(-1), 1, rtol=1e-12)
    for i, j in itertools.product(range(2), range(3)):
        marginal = stats.beta(alpha[i, j], alpha[i].sum() - alpha[i, j])
        assert p_value(draws[:, i, j], marginal, False) > REJECT
    # Without a category, the others are a Dirichlet draw again.
    of_two = draws[:, 0, 0] / (draws[:, 0, 0] + draws[:, 0, 1])
    assert p_value(of_two, stats.beta(0.3, 4.0), False) > REJECT


def test_dirichlet_of_tiny_alphas_picks_corners():
    alpha = np.array([1e-5, 3e-5, 0.0 + 6e-5])
    draws = drawn(ptr.dirichlet, alpha, size=2000)
    assert np.isfinite(draws).all()
    np.testing.assert_allclose(draws.sum(-1), 1, rtol=1e-12)
    corners = draws.argmax(-1)
    assert (draws.max(-1) > 0.999).mean() > 0.99
    assert chi_square(corners, 2000 * alpha / alpha.sum()) > REJECT


COV = np.array([[2.0, 0.9, -0.4], [0.9, 1.0, 0.3], [-0.4, 0.3, 0.8]])


@pytest.mark.parametrize("method", ["cholesky", "svd", "eigh"])
def test_multivariate_normal(method):
    mean = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    draws = drawn(ptr.multivariate_normal, mean, COV, size=(DRAWS, 2), method=method)
    centred = draws - mean
    white = np.linalg.solve(np.linalg.cholesky(COV), centred[..., None])[..., 0]
    for i, j in itertools.product(range(2), range(3)):
        assert p_value(white[:, i, j], stats.norm(), False) > REJECT
    for a in ([1, 1, 0], [0, 1, -1], [1, 0, 2]):
        scale = np.sqrt(a @ COV @ np.array(a))
        assert p_value(centred[:, 1] @ a, stats.norm(0, scale), False) > REJECT
        assert p_value(centred[:, 1] @ a, stats.norm(0, scale * 1.05), False) < REJECT


@pytest.mark.parametrize("method", ["svd", "eigh"])
def test_multivariate_normal_of_a_singular_covariance(method):
    cov = np.outer([1.0, 2.0, -1.0], [1.0, 2.0, -1.0])
    draws = drawn(ptr.multivariate_normal, np.zeros(3), cov, size=5000, method=method)
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0], atol=1e-6)
    assert p_value(draws[:, 0], stats.norm(), False) > REJECT


def test_permutations():
    x = np.array([[1.5, 2.5, 3.5], [7.0, 8.0, 9.0]])
    draws = drawn(ptr.PermutationRV(signature="(x)->(x)", dtype="float64"), x,
                  size=(12_000, 2))  # fmt: skip
    np.testing.assert_array_equal(np.sort(draws, -1), np.broadcast_to(x, draws.shape))
    for i in range(2):
        orders = np.array(list(itertools.permutations(x[i])))
        cells = (draws[:, i, None] == orders).all(-1).argmax(-1)
        assert chi_square(cells, np.full(6, 2000.0)) > REJECT
    rows = drawn(ptr.permutation, np.arange(12).reshape(6, 2), size=None)
    assert sorted(map(tuple, rows)) == [(i, i + 1) for i in range(0, 12, 2)]
    of_range = drawn(ptr.permutation, 9, size=None)
    assert sorted(of_range) == list(range(9))


def choose(a, size, p=None):
    rng = pt.random.shared_rng(seed=0)
    _, x = ptr.choice(a, size=size, replace=False, p=p, rng=rng, return_next_rng=True)
    return jaxlink.function([], x)


def test_choice_without_replacement():
    p = np.array([0.5, 0.0, 0.2, 0.3])
    keys = jax.random.split(KEY, 20_000)
    draws = np.asarray(jax.vmap(choose(4, (2,), p))(keys))
    pairs = list(itertools.permutations(range(4), 2))
    # The second is drawn among those left.
    expected = np.array([p[i] * p[j] / (1 - p[i]) for i, j in pairs])
    cells = (draws[:, None] == np.array(pairs)).all(-1).argmax(-1)
    assert chi_square(cells, expected * 20_000) > REJECT

    equal = np.asarray(jax.vmap(choose(4, (2,)))(keys))
    cells = (equal[:, None] == np.array(pairs)).all(-1).argmax(-1)
    assert chi_square(cells, np.full(12, 20_000 / 12)) > REJECT

    rows = np.asarray(choose(np.arange(10.0).reshape(5, 2), (2, 2))(KEY))
    assert rows.shape == (2, 2, 2)
    assert len(set(rows[..., 0].ravel())) == 4
    np.testing.assert_array_equal(rows[..., 1], rows[..., 0] + 1)


def test_choice_with_replacement():
    rng = pt.random.shared_rng(seed=0)
    p = np.array([0.5, 0.0, 0.2, 0.3])
    a = np.array([3, 1, 0, 2])
    _, x = ptr.choice(a, size=DRAWS, p=p, rng=rng, return_next_rng=True)
    draws = np.asarray(jaxlink.function([], x)(KEY))
    assert chi_square(draws, p[[2, 1, 3, 0]] * DRAWS) > REJECT


def test_matrix_normal():
    mu = np.arange(6.0).reshape(2, 3)
    rows, cols = np.linalg.cholesky(COV[:2, :2]), np.linalg.cholesky(COV)
    draws = drawn(pmm.matrixnormal, mu, rows, cols) - mu
    flat = np.kron(COV[:2, :2], COV)
    white = np.linalg.solve(np.linalg.cholesky(flat), draws.reshape(-1, 6, 1))
    for i in range(6):
        assert p_value(white[:, i, 0], stats.norm(), False) > REJECT


def test_conditional_autoregression():
    w = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0.0]])
    mu, alpha, tau = np.array([1.0, -2.0, 0.5, 3.0]), 0.8, 2.5
    draws = drawn(pmm.car, mu, w, alpha, tau, np.array(True)) - mu
    factor = np.linalg.cholesky(tau * (np.diag(w.sum(0)) - alpha * w))
    white = draws @ factor
    for i in range(4):
        assert p_value(white[:, i], stats.norm(), False) > REJECT
    for a in ([1, 1, 0, 0], [1, 0, -1, 0], [0, 1, 1, 1]):
        scale = np.linalg.norm(np.linalg.solve(factor, np.array(a)))
        assert p_value(draws @ a, stats.norm(0, scale), False) > REJECT


def test_stick_breaking_weights():
    alpha, k = 2.5, 4
    draws = drawn(pmm.stickbreakingweights, alpha, k)
    assert draws.shape == (DRAWS, k + 1)
    np.testing.assert_allclose(draws.sum(-1), 1, rtol=1e-12)
    left = 1 - np.cumsum(draws, -1) + draws
    for i in range(k):
        broken = draws[:, i] / left[:, i]
        assert p_value(broken, stats.beta(1, alpha), False) > REJECT


def test_interpolated():
    x = np.array([-1.0, 0.0, 0.5, 2.0, 3.0])
    density = np.array([0.0, 2.0, 2.0, 0.0, 1.0])
    cells = np.diff(x) * (density[1:] + density[:-1]) / 2
    cdf = np.concatenate([[0], np.cumsum(cells)]) / cells.sum()
    draws = drawn(pmc.interpolated, x, density / cells.sum(), cdf)
    fine = np.linspace(-1, 3, 40_001)
    mass = np.cumsum(np.interp(fine, x, density))
    assert stats.kstest(draws, lambda q: np.interp(q, fine, mass / mass[-1])).pvalue > (
        REJECT
    )


# --- the rule ------------------------------------------------------------------------


def fold(root, count):
    return jax.random.fold_in(jax.random.fold_in(KEY, root), count)


def test_the_law_of_keys():
    """Draw t along root i uses fold_in(fold_in(key, i), t), to the bit."""
    loc, scale = pt.vector("loc"), pt.scalar("scale")
    first, second = (pt.random.shared_rng(seed=i) for i in range(2))
    next_first, a = first.normal(loc, scale, size=(4, 3))
    _, b = next_first.exponential(scale, size=(5,))
    _, c = second.normal(loc, scale, size=(4, 3))
    fn = jaxlink.function([loc, scale], [a, b, c])

    @jax.jit
    def expected(loc, scale):
        f = jnp.float64
        return (
            loc + scale * jax.random.normal(fold(0, 0), (4, 3), f),
            scale * jax.random.exponential(fold(0, 1), (5,), f),
            loc + scale * jax.random.normal(fold(1, 0), (4, 3), f),
        )

    args = (jnp.array([1.0, -2.0, 0.5]), jnp.array(0.7))
    for got, want in zip(fn(KEY, *args), expected(*args), strict=True):
        np.testing.assert_array_equal(got, want)
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(fn, (0, None, None))(keys, *args)
    for i, key in enumerate(keys):
        for batch, one in zip(mapped, fn(key, *args), strict=True):
            np.testing.assert_array_equal(batch[i], one)


@pytest.mark.parametrize(
    ("rv", "params", "dtype"),
    [
        (ptr.normal, (0.0, 1.0), "float32"),
        (ptr.gamma, (2.0, None, 1.5), None),
        (ptr.bernoulli, (0.3,), "int8"),
        (ptr.poisson, (300.0,), "int32"),
        (ptr.integers, (0, 200), "uint8"),
        (ptr.categorical, ([0.2, 0.8],), "int16"),
        (ptr.RandomVariable("bernoulli", signature="()->()", dtype="bool"), (), "bool"),
    ],
)
def test_dtypes(rv, params, dtype):
    if type(rv) is RandomVariable:
        rv = ptr.BernoulliRV(dtype="bool")
        params = (0.3,)
    kwargs = {} if dtype is None else {"dtype": dtype}
    draws = drawn(rv, *params, size=(50,), **kwargs)
    assert draws.dtype == (dtype or "float64")
    assert draws.max() > draws.min()
    if dtype == "int32":
        assert draws.max() > 127


def test_batch_shapes_without_a_size():
    a, b = pt.matrix("a"), pt.vector("b")
    _, x = pt.random.shared_rng(seed=0).normal(a, b)
    fn = jaxlink.function([a, b], x)
    assert fn(KEY, np.zeros((4, 1)), np.ones(3)).shape == (4, 3)
    with pytest.raises(
        ValueError, match=r"`normal` have batch shapes \(4, 2\), \(1, 3\)"
    ):
        fn(KEY, np.zeros((4, 2)), np.ones(3))


def test_a_size_that_does_not_fit():
    loc = pt.vector("loc")
    _, x = pt.random.shared_rng(seed=0).normal(loc, size=(5, 2))
    fn = jaxlink.function([loc], x)
    assert fn(KEY, np.zeros(2)).shape == (5, 2)
    assert fn(KEY, np.zeros(1)).shape == (5, 2)
    with pytest.raises(ValueError, match=r"size=\(5, 2\).*`normal` does not fit"):
        fn(KEY, np.zeros(3))


def test_empty_sizes():
    p = np.array([0.2, 0.8])
    rows = [
        (ptr.normal, (0.0, 1.0), ()),
        (ptr._gamma, (2.0, 1.0), ()),
        (ptr.poisson, (30.0,), ()),
        (ptr.binomial, (90, 0.4), ()),
        (ptr.hypergeometric, (5, 6, 7), ()),
        (ptr.vonmises, (0.0, 3.0), ()),
        (ptr.integers, (0, 5), ()),
        (ptr.categorical, (p,), ()),
        (ptr.multinomial, (7, p), (2,)),
        (ptr.dirichlet, (p,), (2,)),
        (ptr.multivariate_normal, (p, np.eye(2)), (2,)),
        (ptr.permutation, (p,), (2,)),
    ]
    outs = [
        rv(*params, size=(3, 0), rng=pt.random.shared_rng(seed=0), return_next_rng=True)
        for rv, params, _ in rows
    ]
    draws = jaxlink.function([], [x for _, x in outs])(KEY)
    for draw, (_, _, core) in zip(draws, rows, strict=True):
        assert draw.shape == (3, 0, *core)


def test_edges_of_discrete_distributions():
    n, p = np.array([0, 0, 7, 7, 0]), np.array([0.0, 0.6, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(drawn(ptr.binomial, n, p, size=None), [0, 0, 0, 7, 0])
    assert not drawn(ptr.poisson, 0.0, size=100).any()
    assert (drawn(ptr.geometric, 1.0, size=100) == 1).all()
    assert not drawn(ptr.negative_binomial, 3.0, 1.0, size=100).any()
    np.testing.assert_array_equal(
        drawn(ptr.bernoulli, np.array([[0.0], [1.0]]), size=(2, 50)).mean(1), [0, 1]
    )
    good, bad, taken = np.array([[0, 5, 5, 5], [5, 0, 5, 5], [3, 3, 0, 10]])
    np.testing.assert_array_equal(
        drawn(ptr.hypergeometric, good, bad, taken, size=None), [0, 3, 0, 5]
    )


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_key_implementations(impl):
    key = jax.random.key(3, impl=impl)
    for name in ("normal", "gamma", "poisson", "binomial", "integers"):
        case = CASES[name]
        first = [p[0] for p in case.points]
        draws = drawn(case.rv, *first, size=4000, key=key)
        assert p_value(draws, case.reference(*first), case.discrete) > REJECT


# --- gradients -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrt"),
    [
        ("halfcauchy", 1),
        ("gamma", 0),
        ("triangular", 2),
        ("truncexpon", 0),
        ("pymc_truncated_normal", 0),
        ("pymc_truncated_normal_tails", 1),
    ],
)
def test_gradients_follow_the_quantile(name, wrt):
    """The derivative of a draw is that of the quantile function at the draw's rank."""
    case = CASES[name]
    points = [np.asarray(p) for p in case.points]
    fn = compiled(case.rv, *points, size=(30, 2))
    draws = np.asarray(fn(KEY, *points))
    got = jax.jacfwd(lambda p: fn(KEY, *points[:wrt], p, *points[wrt + 1 :]))(
        jnp.asarray(points[wrt])
    )
    back = jax.grad(lambda p: fn(KEY, *points[:wrt], p, *points[wrt + 1 :]).sum())(
        jnp.asarray(points[wrt])
    )
    for j, reference in enumerate(references(case, points)):
        step = 1e-5
        moved = [
            [p + step * side if i == wrt else p for i, p in enumerate(points)]
            for side in (1, -1)
        ]
        above, below = (references(case, m)[j] for m in moved)
        # A rank in the upper half is measured from above, where it has its digits.
        upper = draws[:, j] > reference.median()
        rank = np.where(upper, reference.sf(draws[:, j]), reference.cdf(draws[:, j]))
        want = [np.where(upper, d.isf(rank), d.ppf(rank)) for d in (above, below)]
        want = (want[0] - want[1]) / (2 * step)
        np.testing.assert_allclose(got[:, j, j], want, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(back[j], got[:, :, j].sum(), rtol=1e-9)


def test_gradient_of_von_mises():
    kappa = np.array([0.3, 4.0, 900.0])
    fn = compiled(ptr.vonmises, np.zeros(3), kappa, size=(40, 3))
    draws = np.asarray(fn(KEY, np.zeros(3), kappa))
    got = jax.jacfwd(lambda k: fn(KEY, np.zeros(3), k))(kappa)
    step = 1e-4
    for j, k in enumerate(kappa):
        slope = stats.vonmises.cdf(draws[:, j], k * (1 + step))
        slope -= stats.vonmises.cdf(draws[:, j], k * (1 - step))
        slope /= 2 * step * k
        want = -slope / stats.vonmises.pdf(draws[:, j], k)
        np.testing.assert_allclose(got[:, j, j], want, rtol=1e-3, atol=1e-6)


def test_discrete_draws_have_no_gradient():
    rate = pt.scalar("rate")
    _, x = pt.random.shared_rng(seed=0).poisson(rate, size=(4,))
    fn = jaxlink.function([rate], x.sum() * rate)
    draws = fn(KEY, 30.0)
    np.testing.assert_allclose(jax.grad(fn, 1)(KEY, 30.0), draws / 30.0)


def test_triangular_with_its_mode_at_an_end_has_a_finite_gradient():
    for points in ([0.0, 0.0, 2.0], [0.0, 2.0, 2.0]):
        fn = compiled(ptr.triangular, *([p] for p in points), size=(2000,))
        for i in range(3):
            grads = jax.jacfwd(fn, i + 1)(KEY, *(jnp.array([p]) for p in points))
            assert np.isfinite(grads).all()


# --- the table -----------------------------------------------------------------------


class SquaredNormalRV(RandomVariable):
    name = "squared_normal"
    signature = "()->()"
    dtype = "floatX"


def test_a_row_of_ones_own():
    op = SquaredNormalRV()
    _, x = op(2.0, size=3, rng=pt.random.shared_rng(seed=0), return_next_rng=True)
    x.name = "energy"
    with pytest.raises(
        jaxlink.UnsupportedOpError, match=r"`squared_normal` \(`energy`\).*sampler\("
    ):
        jaxlink.function([], x)

    @sampler(SquaredNormalRV)
    def squared_normal(key, shape, dtype, scale):
        return (scale * jax.random.normal(key, shape, dtype)) ** 2

    class Derived(SquaredNormalRV):
        pass

    want = (2 * jax.random.normal(fold(0, 0), (3,))) ** 2
    for rv in (op, Derived()):
        np.testing.assert_allclose(drawn(rv, 2.0, size=3), want, rtol=1e-15)
    with pytest.raises(
        jaxlink.RuleError, match="SquaredNormalRV has a sampler already"
    ):
        sampler(SquaredNormalRV)(squared_normal)


def test_rows_are_named_once_by_class_or_by_name():
    with pytest.raises(jaxlink.RuleError, match="RiceRV has a sampler already"):
        sampler(pmc.RiceRV)(lambda: None)
    with pytest.raises(jaxlink.RuleError, match="RiceRV has a sampler already"):
        sampler("pymc.distributions.continuous.RiceRV")(lambda: None)
    with pytest.raises(jaxlink.RuleError, match="takes RandomVariable classes"):
        sampler(ptr.normal)
    with pytest.raises(jaxlink.RuleError, match="write @sampler"):
        sampler()


def test_improper_priors_say_so():
    flat, half = pmc.Flat.dist(name="flat"), pmc.HalfFlat.dist()
    with pytest.raises(jaxlink.UnsupportedOpError, match="improper") as caught:
        jaxlink.function([], [flat, half])
    assert len(caught.value.obstacles) == 2


# RandomVariables that have no sampler yet, and why.
MISSING: dict[str, str] = {}


_PYMC = re.compile(r"pymc\.distributions\.")


def test_every_random_variable_has_a_row_or_a_reason():
    modules = [ptr, *(m for n, m in sys.modules.items() if _PYMC.match(n))]
    rv_types = {
        t
        for module in modules
        for t in vars(module).values()
        if isinstance(t, type) and issubclass(t, RandomVariable)
    }
    bases = {RandomVariable, ptr.ScipyRandomVariable}
    without = {
        t.__name__
        for t in rv_types - bases
        if find_row(t.__new__(t)) is None and reason_against(t) is None
    }
    assert without == set(MISSING)
