"""PyTensor's distributions over vectors."""

import numpy as np
import pytensor.tensor.random.basic as ptr

from distributions.harness import REFERENCE_DRAWS, Case, numpy_rng, of

MEANS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [-4.0, 0.1, 2.0]])
COV = np.array([[2.0, 0.9, -0.4], [0.9, 1.0, 0.3], [-0.4, 0.3, 0.8]])
# The last has an eigenvalue twice, in directions that are not those of the axes.
COVS = np.stack([COV, COV * 3 + np.diag([0.5, 2.0, 1.0]), np.eye(3) + 0.5])
ALPHAS = np.array([[0.3, 4.0, 1.2], [20.0, 2.0, 5.0], [0.05, 0.4, 0.2]])


def normal_draws(mean, cov):
    return numpy_rng().multivariate_normal(mean, cov, REFERENCE_DRAWS)


def dirichlet_draws(alpha):
    return numpy_rng().dirichlet(alpha, REFERENCE_DRAWS)


def dirichlet_moments(alpha):
    total = alpha.sum()
    p = alpha / total
    return p, (np.diag(p) - np.outer(p, p)) / (total + 1)


def one_alpha_more(values):
    """5 % more of the first alpha, or of the largest: of all would move no mean."""
    return [values[0] * [[1.05, 1, 1], [1.05, 1, 1], [1, 1.05, 1]]]


CASES = {
    f"multivariate_normal_{method}": Case(
        of(ptr.multivariate_normal, method=method),
        (MEANS, COVS),
        normal_draws,
        1,
        moments=lambda mean, cov: (mean, cov),
        slopes=(0, 1),
    )
    for method in ("cholesky", "svd", "eigh")
} | {
    "dirichlet": Case(
        of(ptr.dirichlet),
        (ALPHAS,),
        dirichlet_draws,
        one_alpha_more,
        moments=dirichlet_moments,
        slopes=(0,),
    ),
}
