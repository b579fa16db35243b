"""The Polya-Gamma distribution, which SciPy has not got."""

from typing import Any

import numpy as np
import pymc as pm
import pymc.distributions.continuous as pmc
from scipy.interpolate import PchipInterpolator

from distributions.harness import Case
from distributions.symbolic import dist


class PolyaGamma:
    """PG(h, z) by the inversion of its Laplace transform."""

    def __init__(self, h: float, z: float):
        self.h, self.c = float(h), abs(float(z))
        # P(X <= x) is at most 2**h that of an inverse Gaussian variable, which is a
        # function of a normal number; the upper tail falls as exp(-rate x).
        self.mean, self.variance = self._moments()
        tail, hc = 70 + 1.5 * self.h, self.h * self.c
        lower = self.h**2 / 2 / (hc + tail + np.sqrt(tail * (tail + 2 * hc)))
        rate = (np.pi**2 + self.c**2) / 2
        self.upper = self.mean + 12 * np.sqrt(self.variance) + 36 / rate
        x = np.geomspace(lower, self.upper, 800)
        self._cdf = PchipInterpolator(x, self.exact_cdf(x))
        self._ends = x[[0, -1]]

    def _moments(self) -> tuple[float, float]:
        h, c = self.h, self.c
        if c < 1e-3:
            return h / 4, h / 24
        variance = h * (np.sinh(c) - c) / np.cosh(c / 2) ** 2 / (4 * c**3)
        return h * np.tanh(c / 2) / (2 * c), variance

    def log_transform(self, t: Any) -> Any:
        """log E exp(-t X), of a complex t not on the negative axis."""
        s = np.sqrt((self.c**2 / 2 + t) / 2 + 0j)
        return self.h * (_log_cosh(self.c / 2) - _log_cosh(s))

    def cdf(self, x: Any) -> Any:
        low, high = self._ends
        inside = self._cdf(np.clip(x, low, high))
        return np.where(x < low, 0, np.where(x > high, 1, inside))

    def exact_cdf(self, x: Any) -> np.ndarray:
        # The transform of a small h falls slowly along the imaginary axis.
        return (self.by_fourier if self.h > 0.5 else self.by_talbot)(np.asarray(x))

    def by_fourier(self, x: np.ndarray) -> np.ndarray:
        """Gil-Pelaez (1951) by the midpoint rule, which has no error if the support
        is less than a period."""
        real = self.c / 2 + 32 / self.h
        last = 4 * real * np.sqrt(real**2 - self.c**2 / 4)
        step = np.pi / self.upper
        t = (np.arange(last / step) + 0.5) * step
        transform = np.exp(self.log_transform(-1j * t)) / t
        total = [(np.exp(-1j * t * y) * transform).imag.sum() for y in x]
        return 0.5 - np.array(total) * step / np.pi

    def by_talbot(self, x: np.ndarray) -> np.ndarray:
        """Abate and Valko (2004), doi:10.1002/nme.995, with 24 points."""
        n = 24
        angle = np.arange(1, n) * np.pi / n
        cot = 1 / np.tan(angle)
        r = 2 * n / (5 * x[:, None])
        t = r * angle * (cot + 1j)
        slope = 1 + 1j * (angle + (angle * cot - 1) * cot)
        log_terms = x[:, None] * t + self.log_transform(t)
        terms = (np.exp(log_terms) / t * slope).real.sum(axis=1)
        first = np.exp(r * x[:, None] + self.log_transform(r)).real / (2 * r)
        return r[:, 0] / n * (first[:, 0] + terms)


def _log_cosh(s: Any) -> Any:
    """But for the constant log(2)."""
    return s + np.log1p(np.exp(-2 * s))


def _numpy_draws(h: Any, z: Any, size: Any, random_state: Any) -> np.ndarray:
    """Draws of the same mean, for their shape and dtype only."""
    c = np.maximum(np.abs(z), 1e-9)
    return random_state.gamma(h, np.tanh(c / 2) / (2 * c), size)


# PyMC draws with the package polyagamma, which need not be installed.
pmc.random_polyagamma = _numpy_draws

CASES = {
    "pymc_polyagamma": Case(
        dist(pm.PolyaGamma, "h", "z"),
        ((0.05, 0.7, 1.0, 2.5, 17.0, 100.0), (0.3, -4.0, 0.0, 60.0, 0.3, -4.0)),
        PolyaGamma,
        0,
        draws=40_000,
        no_slope=(0, 1),
    ),
}
