"""Distributions over vectors and matrices."""

import numpy as np
import pytensor.tensor.random.basic as ptr

from distributions.harness import REFERENCE_DRAWS, Case, numpy_rng, of

MEANS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [-4.0, 0.1, 2.0]])
COV = np.array([[2.0, 0.9, -0.4], [0.9, 1.0, 0.3], [-0.4, 0.3, 0.8]])
COVS = np.stack([COV, COV * 3, COV + np.diag([0.5, 2.0, 1.0])])

CASES = {
    f"multivariate_normal_{method}": Case(
        of(ptr.multivariate_normal, method=method),
        (MEANS, COVS),
        lambda m, c: numpy_rng().multivariate_normal(m, c, REFERENCE_DRAWS),
        1,
        moments=lambda m, c: (m, c),
        slopes=(),
    )
    for method in ("cholesky", "svd", "eigh")
}
