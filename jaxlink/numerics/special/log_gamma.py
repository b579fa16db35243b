"""The gamma function's logarithm and Stirling's series, without cancellation."""

import math
from typing import Any

import jax.numpy as jnp
from jax.scipy import special

from jaxlink.numerics.special.calculus import horner

__all__ = ["log_gamma_1p", "log_gamma_2p", "minus_log1p", "stirling_remainder"]

# (-1)^n (zeta(n) - 1) / n, n = 2, 3, ...
LOG_GAMMA_2P = [
    0.3224670334241132,
    -0.0673523010531981,
    0.020580808427784546,
    -0.007385551028673986,
    0.0028905103307415234,
    -0.001192753911703261,
    0.0005096695247430425,
    -0.00022315475845357939,
    9.945751278180853e-05,
    -4.492623673813314e-05,
    2.050721277567069e-05,
    -9.439488275268397e-06,
    4.374866789907488e-06,
    -2.039215753801366e-06,
    9.55141213040742e-07,
    -4.492469198764566e-07,
    2.1207184805554665e-07,
    -1.0043224823968099e-07,
]
ONE_LESS_EULER = 0.42278433509846713

# B_2n / (2n (2n - 1)), n = 1, 2, ...
STIRLING = [
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
    -3617 / 122400,
    43867 / 244188,
]


def log_gamma_2p(z: Any) -> Any:
    """log Gamma(2 + z) for -0.25 <= z <= 0.25: DLMF 5.7.3."""
    return z * (ONE_LESS_EULER + z * horner(LOG_GAMMA_2P, z))


def log_gamma_1p(x: Any) -> Any:
    """log Gamma(1 + x) for x >= 0, exact near zero."""
    near = x < 0.25
    z = jnp.where(near, x, 0)
    return jnp.where(near, log_gamma_2p(z) - jnp.log1p(z), special.gammaln(1 + x))


def stirling_remainder(x: Any) -> Any:
    """log Gamma(x + 1) - (x + 1/2) log x + x - log(2 pi) / 2: DLMF 5.11.1."""
    far = x >= 10
    y = 1 / jnp.where(far, x, 10)
    z = jnp.where(far, 1, x)
    near = log_gamma_1p(z) - (z + 0.5) * jnp.log(z) + z - math.log(2 * math.pi) / 2
    return jnp.where(far, y * horner(STIRLING, y * y), near)


def minus_log1p(u: Any, log1p_u: Any) -> Any:
    """u - log(1 + u), without cancellation near zero.

    With v = u / (2 + u): log(1 + u) = 2 artanh(v) and u - 2 v = u v. Loader, Fast and
    accurate computation of binomial probabilities (2000).
    """
    near = (u > -0.65) & (u < 1.9)
    z = jnp.where(near, u, 0)
    v = z / (2 + z)
    series = z * v - 2 * v**3 * horner([1 / n for n in range(3, 55, 2)], v * v)
    return jnp.where(near, series, u - log1p_u)
