"""PyTensor's continuous scalar distributions."""

import numpy as np
import pytensor.tensor.random.basic as ptr
from scipy import stats

from distributions.harness import Case, of

_LOC = (-1.0, 3.0, 0.2)
_SCALE = (0.5, 2.0, 7.0)

CASES = {
    "normal": Case(of(ptr.normal), (_LOC, _SCALE), stats.norm, 1, slopes=(0, 1)),
    "lognormal": Case(
        of(ptr.lognormal),
        (_LOC, (1.0, 0.2, 2.0)),
        lambda mean, sigma: stats.lognorm(sigma, scale=np.exp(mean)),
        1,
        slopes=(0, 1),
    ),
}
