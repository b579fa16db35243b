"""Log probabilities in Loader's saddle-point form, which does not cancel.

k log(rate) - rate - log(k!) is a small difference of large numbers. Written as
-deviance(k, rate) - log_factorial_ratio(k), it has only small terms: the deviance
compares k with its mean, and the ratio is k! / (k / e)**k. Binomial and hypergeometric
probabilities consist of the same parts. C. Loader, Fast and Accurate Computation of
Binomial Probabilities (2000).

`numerics.special.log_gamma` applies both ideas to other arguments: u - log(1 + u) for
any u, and the remainder of log Gamma for any real x, without log(2 pi x) / 2. Here k is
a count and may be 0: a table covers k < 10, and four terms of the series the rest.
Sharing one function would change the rounding, and so the draws.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import xlog1py

# log(k!) - k log(k) + k below 10.
_FEW = np.array(
    [0.0, *(math.lgamma(k + 1) - k * math.log(k) + k for k in range(1, 10))]
)


def deviance(difference: Array, mean: Array) -> Array:
    """k log(k / mean) - k + mean, for k = mean + difference.

    That is mean h(d) with d = difference / mean and h(d) = (1 + d) log(1 + d) - d.
    With v = d / (2 + d), log(1 + d) is 2 (v + v**3 / 3 + ...), and in
    h(d) = d v + 2 (1 + d) (v**3 / 3 + v**5 / 5 + ...) nothing cancels for small d.
    """
    # At k = 0, rounding may take d below -1.
    d = jnp.maximum(difference / mean, -1)
    near = jnp.abs(d) < 0.2
    v = jnp.where(near, d / (2 + d), 0)
    series = jnp.zeros_like(v)
    for n in range(19, 1, -2):
        series = (series + 1 / n) * v * v
    h = jnp.where(near, d * v + 2 * (1 + d) * v * series, xlog1py(1 + d, d) - d)
    return mean * h


def log_factorial_ratio(k: Array) -> Array:
    """log(k!) - k log(k) + k, which is log(2 pi k) / 2 plus Stirling's series."""
    few = k < 10
    known = jnp.take(
        jnp.asarray(_FEW, k.dtype), jnp.clip(k, 0, 9).astype(np.int32), mode="clip"
    )
    k = jnp.maximum(k, 10)
    tail = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / k**2) / k**2) / k**2) / k
    return jnp.where(few, known, jnp.log(2 * math.pi * k) / 2 + tail)
