"""PyMC's own continuous scalar RandomVariables."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc.distributions.continuous as pmc
from scipy import stats

from distributions.harness import Case, of

_LOC = (-1.0, 3.0, 0.2)
_SCALE = (0.5, 2.0, 7.0)


@dataclass(frozen=True)
class PiecewiseLinear:
    """The distribution whose density is linear between points."""

    x: np.ndarray
    pdf: np.ndarray
    cells: int = 20_000

    def cdf(self, x: Any) -> Any:
        """On a fine grid, over which the density is summed by the trapezoid rule."""
        grid = np.linspace(self.x[0], self.x[-1], self.cells + 1)
        grid = np.union1d(grid, self.x)
        density = np.interp(grid, self.x, self.pdf)
        mass = np.diff(grid) * (density[1:] + density[:-1]) / 2
        total = np.concatenate([[0.0], np.cumsum(mass)])
        return np.interp(x, grid, total / total[-1])


def points_of(x: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, ...]:
    """The points of Interpolated: x, and the density and its integral there."""
    mass = np.diff(x) * (heights[..., 1:] + heights[..., :-1]) / 2
    cdf = np.cumsum(np.pad(mass, [(0, 0)] * (mass.ndim - 1) + [(1, 0)]), -1)
    total = mass.sum(-1, keepdims=True)
    return x, heights / total, cdf / total


# The density has zeros at an end, inside, and over a whole cell.
LATTICE = np.array(
    [
        [-1.0, 0.0, 0.5, 2.0, 3.0, 3.5],
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        [-9.0, -8.5, -1.0, -0.9, 40.0, 60.0],
    ]
)
HEIGHTS = np.array(
    [
        [0.0, 2.0, 2.0, 0.0, 1.0, 0.3],
        [1.0, 0.0, 0.0, 3.0, 0.0, 2.0],
        [1.0, 0.2, 5.0, 70.0, 1.0, 0.0],
    ]
)


def _truncated_normal(mu, sigma, lower, upper):
    return stats.truncnorm((lower - mu) / sigma, (upper - mu) / sigma, mu, sigma)


CASES = {
    "pymc_wald": Case(
        of(pmc.wald),
        ((0.5, 4.0, 70.0), (3.0, 0.8, 0.02), (0.3, -1.0, 0.0)),
        lambda mu, lam, alpha: stats.invgauss(mu / lam, alpha, lam),
        1,
        slopes=(0, 1, 2),
    ),
    "pymc_skew_normal": Case(
        of(pmc.skewnormal),
        (_LOC, _SCALE, (4.0, -1.5, 0.3)),
        lambda mu, sigma, alpha: stats.skewnorm(alpha, mu, sigma),
        1,
        slopes=(0, 1, 2),
    ),
    "pymc_rice": Case(
        of(pmc.rice),
        ((0.4, 3.0, 20.0), _SCALE),
        lambda b, sigma: stats.rice(b, scale=sigma),
        1,
        slopes=(0, 1),
    ),
    "pymc_interpolated": Case(
        of(pmc.interpolated),
        points_of(LATTICE, HEIGHTS),
        lambda x, pdf, cdf: PiecewiseLinear(x, pdf),
        lambda values: [values[0] * 1.05, *values[1:]],
        batched=False,
    ),
    "pymc_truncated_normal": Case(
        of(pmc.truncated_normal),
        (
            (-1.0, 3.0, 0.5, 0.2),
            (0.5, 2.0, 3.0, 1.5),
            (-0.8, -np.inf, 0.0, -np.inf),
            (3.0, 4.0, 1.0, np.inf),
        ),
        _truncated_normal,
        1,
        slopes=(0, 1),
    ),
    "pymc_truncated_normal_ends": Case(
        of(pmc.truncated_normal),
        ((-1.0, 3.0, 0.5), (0.5, 2.0, 3.0), (-0.8, -2.0, 0.0), (3.0, 4.0, 1.0)),
        _truncated_normal,
        2,
        slopes=(2, 3),
    ),
    # 30, 8, 9, 8 and 30 standard deviations out; the third is a narrow interval there.
    "pymc_truncated_normal_tails": Case(
        of(pmc.truncated_normal),
        (
            (0.0, 1.0, 0.5, 2.0, -1.0),
            (1.0, 0.5, 1.5, 3.0, 0.1),
            (30.0, 5.0, 14.0, -np.inf, -np.inf),
            (np.inf, np.inf, 14.1, -22.0, -4.0),
        ),
        _truncated_normal,
        lambda values: [values[0], values[1] * 1.05, *values[2:]],
        slopes=(0, 1),
    ),
}
