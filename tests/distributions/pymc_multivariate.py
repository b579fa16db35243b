"""PyMC's distributions over vectors and matrices."""

import warnings
from functools import reduce

import numpy as np
import pymc as pm
import pymc.distributions.multivariate as pmm
import pytensor.sparse
import pytensor.tensor as pt
from scipy import sparse, special, stats

from distributions.harness import Case, numpy_rng, of
from distributions.multivariate import (
    ALPHAS,
    COVS,
    MEANS,
    dirichlet_moments,
    normal_draws,
)

# Where the moments are known, fewer draws notice a fault of 5 %.
DRAWS = 60_000

CHOLS = np.linalg.cholesky(COVS)


# --- normal vectors and matrices ------------------------------------------------------


def precision_mv_normal(mean, tau, size=None):
    rng = pt.random.shared_rng(seed=0)
    return pmm.PrecisionMvNormalRV.rv_op(mean, tau, size=size, rng=rng).owner.outputs[1]


def of_factor(mean, factor):
    return mean, factor @ factor.T


def of_precision(mean, tau):
    return mean, np.linalg.inv(tau)


def student_moments(nu, mean, scale):
    return mean, nu / (nu - 2) * scale


def student_draws(nu, mean, scale):
    return stats.multivariate_t(mean, scale, nu).rvs(DRAWS, random_state=numpy_rng())


def matrix_moments(mean, rows, cols):
    return mean, np.kron(rows @ rows.T, cols @ cols.T)


def matrix_draws(mean, rows, cols):
    frozen = stats.matrix_normal(mean, rows @ rows.T, cols @ cols.T)
    return frozen.rvs(DRAWS, random_state=numpy_rng())


_NORMAL = {
    "pymc_mv_normal_cov": Case(
        lambda mu, cov, size=None: pm.MvNormal.dist(mu, cov, size=size),
        (MEANS, COVS),
        normal_draws,
        1,
        moments=lambda mu, cov: (mu, cov),
        draws=DRAWS,
    ),
    "pymc_mv_normal_chol": Case(
        lambda mu, chol, size=None: pm.MvNormal.dist(mu, chol=chol, size=size),
        (MEANS, CHOLS),
        lambda mu, chol: normal_draws(*of_factor(mu, chol)),
        1,
        moments=of_factor,
        slopes=(0, 1),
        draws=DRAWS,
    ),
    "pymc_mv_normal_tau": Case(
        lambda mu, tau, size=None: pm.MvNormal.dist(mu, tau=tau, size=size),
        (MEANS, COVS),
        lambda mu, tau: normal_draws(*of_precision(mu, tau)),
        1,
        moments=of_precision,
        slopes=(0, 1),
        draws=DRAWS,
    ),
    "pymc_precision_mv_normal": Case(
        precision_mv_normal,
        (MEANS, COVS),
        lambda mu, tau: normal_draws(*of_precision(mu, tau)),
        1,
        moments=of_precision,
        slopes=(0, 1),
        draws=DRAWS,
    ),
    "pymc_mv_student_t": Case(
        lambda nu, mu, scale, size=None: pm.MvStudentT.dist(
            nu, mu=mu, scale=scale, size=size
        ),
        ((12.0, 40.0, 20.0), MEANS, COVS),
        student_draws,
        2,
        moments=student_moments,
        slopes=(0, 1, 2),
    ),
    "pymc_mv_student_t_heavy": Case(
        lambda nu, mu, chol, size=None: pm.MvStudentT.dist(
            nu, mu=mu, chol=chol, size=size
        ),
        ((0.7, 3.0, 1.5), MEANS, CHOLS),
        lambda nu, mu, chol: student_draws(nu, *of_factor(mu, chol)),
        2,
    ),
    "pymc_matrix_normal": Case(
        of(pmm.matrixnormal),
        (np.stack([MEANS[:2], -MEANS[:2], MEANS[1:]]), CHOLS[:, :2, :2], CHOLS[::-1]),
        matrix_draws,
        1,
        moments=matrix_moments,
        slopes=(0, 1, 2),
        draws=DRAWS,
    ),
    "pymc_matrix_normal_cov": Case(
        lambda mu, rows, cols, size=None: pm.MatrixNormal.dist(
            mu, rowcov=rows, colcov=cols, size=size
        ),
        (MEANS[:, :2, None] + MEANS[:, None, :], COVS[:, 1:, 1:], COVS[::-1]),
        lambda mu, rows, cols: matrix_draws(
            mu, np.linalg.cholesky(rows), np.linalg.cholesky(cols)
        ),
        2,
        moments=lambda mu, rows, cols: (mu, np.kron(rows, cols)),
        slopes=(1, 2),
        batched=False,
        draws=DRAWS,
    ),
}


# --- Kronecker products ---------------------------------------------------------------

_ROWS, _COLS = COVS[:, :2, :2], COVS[::-1]
_SIX = MEANS[:, :2, None] * MEANS[:, None, ::-1]
_SIGMA = (0.5, 0.1, 2.0)


def kronecker_moments(mu, sigma, *covs):
    product = reduce(np.kron, covs)
    return mu, product + sigma**2 * np.eye(len(mu))


def kronecker(factorised, moments, slopes, *points):
    """The row of a normal vector; the points are of mu, sigma and the factors."""
    return Case(
        lambda mu, sigma, *factors, size=None: pm.KroneckerNormal.dist(
            mu, sigma=sigma, size=size, **factorised(*factors)
        ),
        points,
        lambda *point: normal_draws(*moments(*point)),
        2,
        moments=moments,
        slopes=slopes,
        batched=False,
        draws=DRAWS,
    )


def from_chols(mu, sigma, *chols):
    return kronecker_moments(mu, sigma, *(c @ c.T for c in chols))


def from_evds(mu, sigma, *flat):
    covs = (q @ np.diag(w) @ q.T for w, q in zip(flat[::2], flat[1::2], strict=True))
    return kronecker_moments(mu, sigma, *covs)


_KRONECKER = {
    "pymc_kronecker_normal_covs": kronecker(
        lambda a, b: {"covs": [a, b]},
        kronecker_moments,
        (1, 2),
        *(_SIX.reshape(3, 6), _SIGMA, _ROWS, _COLS),
    ),
    "pymc_kronecker_normal_chols": kronecker(
        lambda a, b: {"chols": [a, b]},
        from_chols,
        (3,),
        *(_SIX.reshape(3, 6), _SIGMA),
        *(np.linalg.cholesky(_ROWS), np.linalg.cholesky(_COLS)),
    ),
    "pymc_kronecker_normal_evds": kronecker(
        lambda v, p, w, q: {"evds": [(v, p), (w, q)]},
        from_evds,
        (2, 3),
        *(_SIX.reshape(3, 6), _SIGMA),
        *(*np.linalg.eigh(_ROWS), *np.linalg.eigh(_COLS)),
    ),
    # Without noise. The means, and so the draws, may have a batch.
    "pymc_kronecker_normal_exact": Case(
        lambda mu, size=None: pm.KroneckerNormal.dist(
            mu, covs=[_ROWS[0], _COLS[0]], size=size
        ),
        (_SIX.reshape(3, 6),),
        lambda mu: normal_draws(mu, np.kron(_ROWS[0], _COLS[0])),
        0,
        moments=lambda mu: (mu, np.kron(_ROWS[0], _COLS[0])),
        slopes=(0,),
        draws=DRAWS,
    ),
}


# --- conditional autoregressions ------------------------------------------------------

# Weights of the edges of a graph with a cycle and a leaf, so that no node is like
# another.
ADJACENCY = np.zeros((5, 5))
for _i, _j, _w in ((0, 1, 1), (1, 2, 1), (2, 0, 2), (2, 3, 1), (3, 4, 3)):
    ADJACENCY[_i, _j] = ADJACENCY[_j, _i] = _w


def autoregression_moments(mu, alpha, tau):
    degrees = np.diag(ADJACENCY.sum(0))
    return mu, np.linalg.inv(tau * (degrees - alpha * ADJACENCY))


def autoregression(adjacency):
    def build(mu, alpha, tau, size=None):
        with warnings.catch_warnings():
            # PyTensor says so where PyMC gives a sparse matrix further axes.
            warnings.filterwarnings("ignore", ".* converted to dense", UserWarning)
            return pm.CAR.dist(mu, W=adjacency, alpha=alpha, tau=tau, size=size)

    return Case(
        build,
        (np.hstack([MEANS, MEANS[::-1, :2]]), (0.8, -0.5, 0.97), (2.5, 0.4, 10.0)),
        lambda *point: normal_draws(*autoregression_moments(*point)),
        2,
        moments=autoregression_moments,
        slopes=(0, 1, 2),
        batched=False,
        draws=DRAWS,
    )


_AUTOREGRESSION = {
    "pymc_car": autoregression(ADJACENCY),
    "pymc_car_sparse": autoregression(
        pytensor.sparse.as_sparse_variable(sparse.csr_matrix(ADJACENCY))
    ),
}


# --- probabilities and counts of categories -------------------------------------------


def sticks_draws(alpha, k):
    broken = numpy_rng().beta(1, alpha, (DRAWS, k))
    left = np.cumprod(np.hstack([np.ones((DRAWS, 1)), 1 - broken]), -1)
    return np.hstack([left[:, :-1] * broken, left[:, -1:]])


def sticks_moments(alpha, k):
    """Of v ~ beta(1, alpha): x_i = v_i (1 - v_1) ... (1 - v_{i-1}), the last without
    a v. Products of two of them are products of expectations again."""
    v, rest = 1 / (1 + alpha), alpha / (1 + alpha)
    both = rest / (2 + alpha)
    squares = np.append(np.full(k, 2 * v / (2 + alpha)), 1.0)
    means = np.append(np.full(k, v), 1.0)
    mean = rest ** np.arange(k + 1) * means
    second = np.diag((alpha / (2 + alpha)) ** np.arange(k + 1) * squares)
    for i in range(k):
        for j in range(i + 1, k + 1):
            before = (alpha / (2 + alpha)) ** i * both
            second[i, j] = second[j, i] = before * rest ** (j - i - 1) * means[j]
    return mean, second - np.outer(mean, mean)


def sticks(k):
    return Case(
        lambda alpha, size=None: pm.StickBreakingWeights.dist(alpha, k, size=size),
        ((0.4, 2.5, 9.0),),
        lambda alpha: sticks_draws(alpha, k),
        0,
        moments=lambda alpha: sticks_moments(alpha, k),
        slopes=(0,),
        draws=DRAWS,
    )


_PROBABILITIES = np.array([[0.2, 0.0, 0.7, 0.1], [0.1, 0.5, 0.3, 0.1], [1, 0, 0, 0.0]])


def multinomial_moments(n, p):
    return n * p, n * (np.diag(p) - np.outer(p, p))


def multinomial_draws(n, p):
    return numpy_rng().multinomial(n, p, DRAWS)


def dirichlet_multinomial_moments(n, alpha):
    p, cov = dirichlet_moments(alpha)
    return n * p, n * (n + alpha.sum()) * cov


def dirichlet_multinomial_draws(n, alpha):
    rng = numpy_rng()
    return rng.multinomial(n, rng.dirichlet(alpha, DRAWS))


def ordered_probabilities(eta, cutpoints):
    return np.diff(special.expit(cutpoints - eta), prepend=0, append=1)


def ordered_multinomial(eta, cutpoints, n, size=None):
    return pm.OrderedMultinomial.dist(eta, cutpoints, n, size=size)


_CATEGORIES = {
    "pymc_stick_breaking_weights": sticks(4),
    "pymc_stick_breaking_weights_one_break": sticks(1),
    "pymc_multinomial": Case(
        lambda n, p, size=None: pm.Multinomial.dist(n, p, size=size),
        (np.array([90, 5, 13]), _PROBABILITIES),
        multinomial_draws,
        0,
        moments=multinomial_moments,
        draws=DRAWS,
    ),
    "pymc_dirichlet_multinomial": Case(
        lambda n, a, size=None: pm.DirichletMultinomial.dist(n, a, size=size),
        (np.array([90, 7, 20]), ALPHAS),
        dirichlet_multinomial_draws,
        0,
        moments=dirichlet_multinomial_moments,
        draws=DRAWS,
    ),
    "pymc_ordered_multinomial": Case(
        ordered_multinomial,
        (
            (0.3, -2.0, 1.0),
            np.array([[-1.0, 0.5], [-0.2, 3.0], [0.0, 0.1]]),
            np.array([40, 3, 11]),
        ),
        lambda eta, c, n: multinomial_draws(n, ordered_probabilities(eta, c)),
        2,
        moments=lambda eta, c, n: multinomial_moments(n, ordered_probabilities(eta, c)),
        draws=DRAWS,
    ),
}


# --- covariance and correlation matrices ----------------------------------------------


def wishart_moments(nu, v):
    """cov(X_ij, X_kl) = nu (V_ik V_jl + V_il V_jk)."""
    n = len(v)
    straight, crossed = np.einsum("ik,jl->ijkl", v, v), np.einsum("il,jk->ijkl", v, v)
    return nu * v, nu * (straight + crossed).reshape(n * n, n * n)


def wishart_draws(nu, v):
    return stats.wishart(nu, v).rvs(DRAWS, random_state=numpy_rng())


def lkj_draws(eta, n):
    """Factors of correlation matrices, by independent partial correlations.

    Lewandowski, Kurowicka and Joe (2009), doi:10.1016/j.jmva.2009.04.008: that of a
    later variable and number k, given those before k, is 2 B - 1 for B ~ beta(b, b),
    b = eta + (n - 2 - k) / 2. (PyMC's draws come from their other method, the onion.)
    """
    rng = numpy_rng()
    factor = np.zeros((DRAWS, n, n))
    left = np.ones((DRAWS, n))
    for k in range(n):
        factor[:, k, k] = left[:, k]
        b = eta + (n - 2 - k) / 2
        if k < n - 1:
            partial = 2 * rng.beta(b, b, (DRAWS, n - k - 1)) - 1
            factor[:, k + 1 :, k] = partial * left[:, k + 1 :]
            left[:, k + 1 :] *= np.sqrt(1 - partial**2)
    return factor


def lkj_first_and_second(eta, n):
    """Means of the elements of the factor, and of their squares.

    A partial correlation z has E z**2 = 1 / (2 b + 1), and 1 - z**2 ~ beta(b, 1 / 2).
    Signs are symmetric, so two elements are uncorrelated.
    """
    b = eta + (n - 2 - np.arange(n - 1)) / 2
    log_root = (
        2 * special.gammaln(b + 0.5) - special.gammaln(b) - special.gammaln(b + 1)
    )
    roots = np.exp(np.cumsum(np.append(0, log_root)))
    rests = np.cumprod(np.append(1, 2 * b / (2 * b + 1)))
    second = np.tril(rests[:-1] / (2 * b + 1) * np.ones((n, 1)), -1)[:, : n - 1]
    return np.diag(roots), np.hstack([second, np.zeros((n, 1))]) + np.diag(rests)


def lkj_moments(eta, n):
    mean, second = lkj_first_and_second(eta, n)
    return mean, np.diag(np.ravel(second - mean**2))


# Logarithms of standard deviations: their means are parameters, with this deviation.
LOG_SCALE = 0.3
_LOG_SD = np.array([[0.0, 0.5, -1.0, 0.2, 1.0], [-0.5, 0, 1, 0, 0], [1, 0, 0.3, 0, -1]])


def lkj_cholesky_cov(eta, log_sd, size=None, n=None):
    return pm.LKJCholeskyCov.dist(
        eta=eta,
        n=n,
        sd_dist=pm.LogNormal.dist(log_sd, LOG_SCALE),
        compute_corr=False,
        size=size,
    )


def lkj_cholesky_draws(eta, log_sd):
    n = len(log_sd)
    sd = np.exp(np.random.default_rng(7).normal(log_sd, LOG_SCALE, (DRAWS, n)))
    rows, cols = np.tril_indices(n)
    return (sd[..., None] * lkj_draws(eta, n))[:, rows, cols]


def lkj_cholesky_moments(eta, log_sd):
    n = len(log_sd)
    packed = np.tril_indices(n)
    mean, second = lkj_first_and_second(eta, n)
    mean = mean * np.exp(log_sd + LOG_SCALE**2 / 2)[:, None]
    second = second * np.exp(2 * log_sd + 2 * LOG_SCALE**2)[:, None]
    return mean[packed], np.diag((second - mean**2)[packed])


def lkj_corr(n):
    return Case(
        lambda eta, size=None: pm.LKJCorr.dist(n=n, eta=eta, size=size),
        ((0.6, 1.0, 4.0),),
        lambda eta: lkj_draws(eta, n),
        0,
        moments=lambda eta: lkj_moments(eta, n),
        slopes=(0,),
        batched=False,
        draws=DRAWS,
    )


def lkj_cov(n):
    return Case(
        lambda eta, log_sd, size=None: lkj_cholesky_cov(eta, log_sd, size, n),
        ((0.6, 1.0, 4.0), _LOG_SD[:, :n]),
        lkj_cholesky_draws,
        0,
        moments=lkj_cholesky_moments,
        slopes=(0, 1),
        batched=False,
        draws=DRAWS,
    )


_MATRICES = {
    "pymc_wishart": Case(
        lambda nu, v, size=None: pm.Wishart.dist(nu, v, size=size),
        (np.array([2, 7, 30]), COVS[:, :2, :2]),
        wishart_draws,
        1,
        moments=wishart_moments,
        slopes=(1,),
        draws=DRAWS,
    ),
    "pymc_wishart_chol": Case(
        lambda nu, chol, size=None: pm.Wishart.dist(nu, scale_chol=chol, size=size),
        (np.array([3, 7, 30]), CHOLS),
        lambda nu, chol: wishart_draws(nu, chol @ chol.T),
        1,
        moments=lambda nu, chol: wishart_moments(nu, chol @ chol.T),
        slopes=(1,),
        draws=DRAWS,
    ),
    # Other lengths are in tests/test_random_multivariate.py.
    "pymc_lkj_corr": lkj_corr(3),
    "pymc_lkj_cholesky_cov": lkj_cov(3),
}


# --- sums that are zero ---------------------------------------------------------------


def zero_sum(*lengths):
    axes = len(lengths)
    centring = reduce(np.kron, [np.eye(n) - 1 / n for n in lengths])

    def build(sigma, size=None):
        return pm.ZeroSumNormal.dist(
            sigma[(..., *[None] * axes)],
            n_zerosum_axes=axes,
            support_shape=lengths,
            size=size,
        )

    def moments(sigma):
        return np.zeros(lengths), sigma**2 * centring

    def draws(sigma):
        mean, cov = moments(sigma)
        return normal_draws(np.ravel(mean), cov).reshape(-1, *lengths)

    return Case(
        build, ((0.5, 2.0, 7.0),), draws, 0, moments=moments, slopes=(0,), draws=DRAWS
    )


CASES = {
    **_NORMAL,
    **_KRONECKER,
    **_AUTOREGRESSION,
    **_CATEGORIES,
    **_MATRICES,
    "pymc_zero_sum_normal": zero_sum(4),
    "pymc_zero_sum_normal_2_axes": zero_sum(4, 3),
    "pymc_zero_sum_normal_3_axes": zero_sum(2, 3, 2),
}
