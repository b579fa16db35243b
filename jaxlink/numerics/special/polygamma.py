"""The gamma function, its logarithm, and the logarithm's derivatives.

JAX's own `gammaln` and `digamma` are right except at a few points. Its `polygamma` is
wrong for negative arguments.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.scipy import special

from jaxlink.numerics.special.calculus import smooth
from jaxlink.numerics.special.log_gamma import log_gamma_2p

__all__ = ["gamma", "gammaln", "polygamma", "psi", "trigamma"]

# B_2k / (2k)!, k = 1, 2, ...
BERNOULLI = [
    0.08333333333333333,
    -0.001388888888888889,
    3.306878306878307e-05,
    -8.267195767195768e-07,
    2.08767569878681e-08,
    -5.284190138687493e-10,
    1.3382536530684679e-11,
    -3.3896802963225827e-13,
    8.586062056277845e-15,
    -2.174868698558062e-16,
]
SHIFT = 12


def _zeta(s: Any, q: Any) -> Any:
    """Hurwitz's zeta function for s >= 2 and 0 < q < inf.

    Sums the first terms, and uses the Euler-Maclaurin formula for the rest: DLMF
    25.11.5 and 2.10.1.
    """
    total = jnp.zeros_like(q)
    for k in range(SHIFT):
        total = total + (q + k) ** -s
    a = q + SHIFT
    power = a ** (1 - s)
    total = total + power / (s - 1) + power / a / 2
    # s (s + 1) ... (s + 2 k - 2) a^(1 - s - 2 k)
    factor = s * (power / a / a)
    for k, coefficient in enumerate(BERNOULLI, 1):
        total = total + coefficient * factor
        factor = factor * (s + 2 * k - 1) * (s + 2 * k) / (a * a)
    return total


def _polygamma(n: Any, x: Any) -> Any:
    """The polygamma function of integer order n >= 1: DLMF 5.15.1.

    For negative x, with f = x - floor(x), sum over all integers k >= 0:

    sum_k (x + k)^-s = zeta(s, f) + (-1)^s (zeta(s, 1 - f) - zeta(s, 1 - x)),

    which is the reflection formula 5.15.6 without its derivatives.
    """
    s = n + 1
    whole = x == jnp.floor(x)
    below = (x < 0) & ~whole
    direct = (x > 0) & (x < jnp.inf)
    sign = 1 - 2 * jnp.mod(s, 2)  # (-1)^s
    first = _zeta(s, jnp.where(direct, x, jnp.where(below, x - jnp.floor(x), 1)))
    second = _zeta(s, jnp.where(below, jnp.ceil(x) - x, 1))
    third = _zeta(s, jnp.where(below, 1 - x, 1))
    reflected = (first + sign * second) - sign * third
    total = jnp.where(below, reflected, first)
    value = sign * jnp.exp(special.gammaln(s)) * total
    edge = jnp.where(
        x == jnp.inf, 0, jnp.where(whole & (x <= 0), sign * jnp.inf, jnp.nan)
    )
    return jnp.where(direct | below, value, edge)


def _psi(x: Any) -> Any:
    pole = (x <= 0) & (x == jnp.floor(x))
    value = special.digamma(jnp.where(pole, 1, x))
    # At the pole at zero, SciPy's sign. At the other poles, nan.
    at_zero = jnp.where(jnp.signbit(x), jnp.inf, -jnp.inf)
    return jnp.where(pole, jnp.where(x == 0, at_zero, jnp.nan), value)


def trigamma(x: Any) -> Any:
    return polygamma(jnp.ones_like(x), x)


def _any_order(n: Any, x: Any) -> Any:
    higher = n >= 1
    value = _polygamma(jnp.where(higher, n, 1), x)
    value = jnp.where(higher, value, jnp.where(n == 0, _psi(x), jnp.nan))
    return jnp.where(n == jnp.floor(n), value, jnp.nan)


def _of_no_order(n: Any, x: Any) -> Any:
    raise TypeError(
        "polygamma has no derivative with respect to its order, which is an integer."
    )


psi = smooth(_psi, {0: trigamma})
polygamma: Callable[..., Any] = smooth(
    _any_order, {0: _of_no_order, 1: lambda n, x: polygamma(n + 1, x)}
)


def _gammaln(x: Any) -> Any:
    # JAX's gammaln is wrong at -inf, below 1e-30 (its reflection overflows float32),
    # and near its zeros at one and two.
    tiny = abs(x) < 1e-30
    at_one, at_two = abs(x - 1) < 0.25, abs(x - 2) < 0.25
    zero = at_one | at_two
    value = special.gammaln(jnp.where(tiny | zero | (x == -jnp.inf), 3, x))
    value = jnp.where(tiny, -jnp.log(abs(jnp.where(tiny, x, 1))), value)
    z = jnp.where(zero, x - jnp.where(at_one, 1, 2).astype(x.dtype), 0)
    series = log_gamma_2p(z) - jnp.where(at_one, jnp.log1p(z), 0)
    return jnp.where(zero, series, jnp.where(x == -jnp.inf, -jnp.inf, value))


gammaln = smooth(_gammaln, {0: psi})
gamma: Callable[..., Any] = smooth(special.gamma, {0: lambda x: gamma(x) * psi(x)})
