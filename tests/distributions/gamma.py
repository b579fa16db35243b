"""Distributions that are made of gamma draws."""

import numpy as np
import pymc as pm
import pymc.distributions.continuous as pmc
import pytensor.tensor.random.basic as ptr
from scipy import stats

from distributions.harness import Case, of
from distributions.symbolic import dist

_LOC = (-1.0, 3.0, 0.2)
_SCALE = (0.5, 3.0, 0.1)

CASES = {
    "gamma": Case(
        of(ptr._gamma),
        ((0.4, 7.0, 150.0), _SCALE),
        lambda a, scale: stats.gamma(a, scale=scale),
        1,
        slopes=(0, 1),
    ),
    "invgamma": Case(
        of(ptr.invgamma),
        ((0.7, 5.0, 60.0), _SCALE),
        lambda a, scale: stats.invgamma(a, scale=scale),
        1,
        slopes=(0, 1),
    ),
    "gengamma": Case(
        of(ptr.gengamma),
        ((0.9, 5.0, 30.0), (0.5, 2.0, 9.0), _SCALE),
        lambda a, p, scale: stats.gengamma(a / p, p, scale=scale),
        1,
        slopes=(0, 1, 2),
    ),
    "beta": Case(
        of(ptr.beta),
        ((0.4, 6.0, 90.0), (2.5, 0.8, 30.0)),
        stats.beta,
        1,
        slopes=(0, 1),
    ),
    "t": Case(
        of(ptr.t),
        ((0.6, 2.5, 30.0), _LOC, _SCALE),
        stats.t,
        2,
        slopes=(0, 1, 2),
    ),
    "pymc_gamma": Case(
        dist(pm.Gamma, "mu", "sigma"),
        ((2.0, 0.5, 30.0), (3.0, 0.2, 2.0)),
        lambda mu, sigma: stats.gamma((mu / sigma) ** 2, scale=sigma**2 / mu),
        1,
    ),
    "pymc_inverse_gamma": Case(
        dist(pm.InverseGamma, "mu", "sigma"),
        ((2.0, 0.5, 30.0), (3.0, 0.2, 2.0)),
        lambda mu, sigma: stats.invgamma(
            2 + (mu / sigma) ** 2, scale=mu * (1 + (mu / sigma) ** 2)
        ),
        1,
    ),
    "pymc_beta": Case(
        dist(pm.Beta, "mu", "nu"),
        ((0.1, 0.7, 0.5), (0.8, 5.0, 200.0)),
        lambda mu, nu: stats.beta(mu * nu, (1 - mu) * nu),
        1,
    ),
    "pymc_beta_clipped": Case(
        of(pmc.beta),
        ((0.4, 6.0, 90.0), (2.5, 0.8, 30.0)),
        stats.beta,
        1,
        slopes=(0, 1),
    ),
    "pymc_student_t": Case(
        dist(pm.StudentT, "nu", "mu", "lam"),
        ((0.6, 2.5, 30.0), _LOC, (4.0, 0.1, 2.0)),
        lambda nu, mu, lam: stats.t(nu, mu, 1 / np.sqrt(lam)),
        2,
    ),
    "pymc_skew_student_t": Case(
        of(pmc.skewstudentt),
        ((2.0, 5.0, 0.7), (6.0, 1.5, 0.9), _LOC, _SCALE),
        stats.jf_skew_t,
        3,
        slopes=(0, 1, 2, 3),
    ),
    "pymc_moyal": Case(of(pmc.moyal), (_LOC, _SCALE), stats.moyal, 1, slopes=(0, 1)),
}
