"""PyMC's time series, against NumPy's recursions and, but for Student, moments."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from distributions.harness import Case, numpy_rng

STEPS = 3
# Enough for a fault of 5 %, with the moments known.
DRAWS = 50_000

# Drift, innovation scale, and mean and scale of the first value.
_DRIFT = (-0.5, 2.0, 0.1)
_SIGMA = (0.5, 2.0, 1.0)
_MEAN = (1.0, -3.0, 0.2)
_SCALE = (0.4, 1.0, 3.0)
# A constant and two weights.
_AR2 = ((0.5, 0.7, -0.4), (-1.0, 0.2, 0.6), (0.0, -1.2, -0.3))

_MV_DRIFT = np.array([[1.0, -2.0], [0.0, 3.0], [-4.0, 0.1]])
_COVS = np.array([[[2.0, 0.9], [0.9, 1.0]], [[1.0, -0.4], [-0.4, 0.3]], np.eye(2)])
_FIRST = np.array([0.5, -0.5])


def broadcast(*parameters, size=None):
    """Parameters of one shape, unless there is a size.

    PyMC 6.4 refuses to broadcast the lengths of 1 that it has forgotten to be such.
    """
    return parameters if size is not None else pt.broadcast_arrays(*parameters)


def linear_moments(weights, constant, sigma, first_means, first_scales):
    """Mean and covariance of x[t] = constant + weights . (x[t-1], x[t-2], ...) + e[t].

    The whole series solves (I - W) x = b + e, with independent e.
    """
    order = len(first_means)
    n = order + STEPS
    w = np.zeros((n, n))
    for t in range(order, n):
        w[t, t - order : t] = weights[::-1]
    inverse = np.linalg.inv(np.eye(n) - w)
    means = np.append(first_means, np.full(STEPS, constant))
    variances = np.append(first_scales, np.full(STEPS, sigma)) ** 2
    return inverse @ means, inverse * variances @ inverse.T


def linear_draws(weights, constant, sigma, first_means, first_scales):
    rng = numpy_rng()
    order = len(first_means)
    shape = (DRAWS, order)
    x = list(rng.normal(first_means, first_scales, shape).T)
    for _ in range(STEPS):
        mean = constant + sum(w * x[-1 - i] for i, w in enumerate(weights))
        x.append(rng.normal(mean, sigma))
    return np.stack(x, -1)


# --- random walks ---------------------------------------------------------------------


def gaussian_random_walk(mu, sigma, mean, scale, size=None, steps=STEPS):
    first = pm.Normal.dist(mean, scale)
    return pm.GaussianRandomWalk.dist(
        mu, sigma, init_dist=first, steps=steps, size=size
    )


def walk_as_linear(mu, sigma, mean, scale):
    return (1.0,), mu, sigma, (mean,), (scale,)


def exponential_random_walk(lam, low, high, size=None):
    lam, low, high = broadcast(lam, low, high, size=size)
    return pm.RandomWalk.dist(
        init_dist=pm.Uniform.dist(low, high),
        innovation_dist=pm.Exponential.dist(lam),
        steps=STEPS,
        size=size,
    )


def exponential_walk_draws(lam, low, high):
    rng = numpy_rng()
    first = rng.uniform(low, high, (DRAWS, 1))
    steps = rng.exponential(1 / lam, (DRAWS, STEPS))
    return np.cumsum(np.hstack([first, steps]), -1)


def exponential_walk_moments(lam, low, high):
    t = np.arange(STEPS + 1)
    variance = (high - low) ** 2 / 12 + np.minimum.outer(t, t) / lam**2
    return (low + high) / 2 + t / lam, variance


def mv_gaussian_random_walk(mu, cov, size=None):
    first = pm.MvNormal.dist(_FIRST, np.eye(2))
    return pm.MvGaussianRandomWalk.dist(
        mu, cov=cov, init_dist=first, steps=STEPS, size=size
    )


def mv_gaussian_walk_draws(mu, cov):
    rng = numpy_rng()
    first = rng.multivariate_normal(_FIRST, np.eye(2), (DRAWS, 1))
    steps = rng.multivariate_normal(mu, cov, (DRAWS, STEPS))
    return np.cumsum(np.concatenate([first, steps], 1), 1)


def mv_gaussian_walk_moments(mu, cov):
    t = np.arange(STEPS + 1)
    shared = np.minimum.outer(t, t)
    return _FIRST + mu * t[:, None], np.kron(shared, cov) + np.kron(
        np.ones_like(shared), np.eye(2)
    )


def mv_student_t_random_walk(nu, mu, scale, size=None):
    first = pm.MvNormal.dist(_FIRST, np.eye(2))
    return pm.MvStudentTRandomWalk.dist(
        nu=nu, mu=mu, scale=scale, init_dist=first, steps=STEPS, size=size
    )


def mv_student_t_walk_draws(nu, mu, scale):
    rng = numpy_rng()
    first = rng.multivariate_normal(_FIRST, np.eye(2), (DRAWS, 1))
    z = rng.multivariate_normal(np.zeros(2), scale, (DRAWS, STEPS))
    w = rng.chisquare(nu, (DRAWS, STEPS, 1)) / nu
    return np.cumsum(np.concatenate([first, mu + z / np.sqrt(w)], 1), 1)


# --- autoregression -------------------------------------------------------------------


def autoregression(rho, sigma, mean, scale, size=None, order=1, constant=False):
    if size is None:
        _, sigma, mean, scale = broadcast(rho[..., 0], sigma, mean, scale)
        rho = pt.broadcast_to(rho, (*sigma.shape, rho.shape[-1]))
    else:
        # PyMC 6.4 transposes sigma as it comes: that is right only if it has the whole
        # batch's number of dimensions.
        sigma = pt.shape_padleft(sigma, len(size) - sigma.ndim)
    first = pm.Normal.dist(mean[..., None], scale[..., None])
    return pm.AR.dist(
        rho,
        sigma,
        init_dist=first,
        steps=STEPS,
        ar_order=order,
        constant=constant,
        size=size,
    )


def ar2_with_constant(*parameters, size=None):
    return autoregression(*parameters, size=size, order=2, constant=True)


def ar1_as_linear(rho, sigma, mean, scale):
    return rho, 0.0, sigma, (mean,), (scale,)


def ar2_as_linear(rho, sigma, mean, scale):
    return rho[1:], rho[0], sigma, (mean,) * 2, (scale,) * 2


# --- others ---------------------------------------------------------------------------


def garch(omega, alpha, beta, volatility, size=None, steps=STEPS):
    return pm.GARCH11.dist(omega, alpha, beta, volatility, steps=steps, size=size)


def garch_draws(omega, alpha, beta, volatility):
    rng = numpy_rng()
    sigma = np.full(DRAWS, volatility)
    y = [rng.normal(0, sigma)]
    for _ in range(STEPS):
        sigma = np.sqrt(omega + alpha * y[-1] ** 2 + beta * sigma**2)
        y.append(rng.normal(0, sigma))
    return np.stack(y, -1)


def garch_moments(omega, alpha, beta, volatility):
    """The draws are uncorrelated, and the mean of sigma[t]**2 is y[t]**2's."""
    variances = [volatility**2]
    for _ in range(STEPS):
        variances.append(omega + (alpha + beta) * variances[-1])
    return np.zeros(STEPS + 1), np.diag(variances)


DT = 0.1


def geometric_brownian_motion(drift, volatility, mean, size=None, steps=STEPS):
    return pm.EulerMaruyama.dist(
        DT,
        lambda x, drift, volatility: (drift * x, volatility * pt.abs(x)),
        (drift, volatility),
        init_dist=pm.Normal.dist(mean, 0.5),
        steps=steps,
        size=size,
    )


def geometric_brownian_draws(drift, volatility, mean):
    rng = numpy_rng()
    x = [rng.normal(mean, 0.5, DRAWS)]
    for _ in range(STEPS):
        z = rng.normal(size=DRAWS)
        x.append(x[-1] + x[-1] * (DT * drift + np.sqrt(DT) * volatility * z))
    return np.stack(x, -1)


def geometric_brownian_moments(drift, volatility, mean):
    """With growth g = 1 + DT drift, E x[t+1]**2 = (g**2 + DT volatility**2) E x[t]**2
    and the covariance of x[s] and x[t > s] is g**(t - s) times the variance of x[s]."""
    growth = 1 + DT * drift
    t = np.arange(STEPS + 1)
    means = mean * growth**t
    squares = (mean**2 + 0.5**2) * (growth**2 + DT * volatility**2) ** t
    earlier = (squares - means**2)[np.minimum.outer(t, t)]
    return means, earlier * growth ** np.abs(np.subtract.outer(t, t))


CASES = {
    "pymc_gaussian_random_walk": Case(
        gaussian_random_walk,
        (_DRIFT, _SIGMA, _MEAN, _SCALE),
        lambda *point: linear_draws(*walk_as_linear(*point)),
        1,
        moments=lambda *point: linear_moments(*walk_as_linear(*point)),
        draws=DRAWS,
    ),
    "pymc_random_walk": Case(
        exponential_random_walk,
        ((0.7, 3.0, 1.5), (-1.0, 2.0, 0.0), (1.5, 2.5, 0.3)),
        exponential_walk_draws,
        0,
        moments=exponential_walk_moments,
        draws=DRAWS,
    ),
    "pymc_mv_gaussian_random_walk": Case(
        mv_gaussian_random_walk,
        (_MV_DRIFT, _COVS),
        mv_gaussian_walk_draws,
        1,
        moments=mv_gaussian_walk_moments,
        draws=DRAWS,
    ),
    "pymc_mv_student_t_random_walk": Case(
        mv_student_t_random_walk,
        ((4.0, 12.0, 1.5), _MV_DRIFT, _COVS),
        mv_student_t_walk_draws,
        1,
        draws=DRAWS,
    ),
    "pymc_ar1": Case(
        autoregression,
        ([[0.9], [-0.6], [1.1]], _SIGMA, _MEAN, _SCALE),
        lambda *point: linear_draws(*ar1_as_linear(*point)),
        0,
        moments=lambda *point: linear_moments(*ar1_as_linear(*point)),
        draws=DRAWS,
    ),
    "pymc_ar2_with_constant": Case(
        ar2_with_constant,
        (_AR2, _SIGMA, _MEAN, _SCALE),
        lambda *point: linear_draws(*ar2_as_linear(*point)),
        0,
        moments=lambda *point: linear_moments(*ar2_as_linear(*point)),
        draws=DRAWS,
    ),
    "pymc_garch11": Case(
        garch,
        ((0.5, 2.0, 0.1), (0.3, 0.7, 0.05), (0.5, 0.1, 0.9), (1.0, 0.3, 2.0)),
        garch_draws,
        3,
        moments=garch_moments,
        draws=DRAWS,
    ),
    "pymc_euler_maruyama": Case(
        geometric_brownian_motion,
        ((0.5, -2.0, 1.0), (0.3, 1.0, 2.0), (1.0, -3.0, 5.0)),
        geometric_brownian_draws,
        2,
        moments=geometric_brownian_moments,
        draws=DRAWS,
    ),
}
