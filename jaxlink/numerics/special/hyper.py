"""Gauss's hypergeometric function of real arguments: DLMF chapter 15.

For z < 0, Pfaff's transformation (15.8.1) maps z to z / (z - 1) in [0, 1). There,
Euler's transformation (15.8.1) avoids very negative parameters, for which the terms of
the series would cancel. From 0 to 0.5 the series (15.2.1) converges fast. Beyond 0.5,
the differential equation (15.10.1) gives the Taylor series about any point of (0, 1) by
a three-term recurrence, and each step halves the distance to one. So there are no
special cases: not for integer differences of the parameters, where the connection
formulas for z near one break down, and not for derivatives with respect to parameters.
(Johansson, Computing hypergeometric functions rigorously, ACM TOMS 45 (2019), section
4.3.)
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from jaxlink.numerics.loops import while_loop
from jaxlink.numerics.special.calculus import smooth

__all__ = ["hyp2f1"]

# Each term is at most about half the previous one. After FEWEST terms, the tail of a
# derivative is negligible too, even if the series itself terminates earlier.
FEWEST, MOST = 60, 5000


def _sum(term_after: Callable[..., Any], first: Any, second: Any) -> tuple[Any, Any]:
    """The sums of y_n and of n y_n, from a three-term recurrence.

    ``term_after(n, y_n, y_{n-1})`` is y_{n+1}. All elements continue until the last one
    has converged.
    """
    eps = float(np.finfo(first.dtype).eps) / 8

    def unfinished(state: Any) -> Any:
        n, y, before, total, _ = state
        size = jnp.maximum(abs(y), abs(before)) * n.astype(y.dtype)
        open_ = (size > eps * abs(total)) & jnp.isfinite(size)
        return (n < MOST) & ((n < FEWEST) | open_.any())

    def body(state: Any) -> Any:
        n, y, before, total, weighted = state
        k = n.astype(y.dtype)
        after = term_after(k, y, before)
        return n + 1, after, y, total + after, weighted + (k + 1) * after

    start = (jnp.asarray(1), second, first, first + second, second)
    return while_loop(unfinished, body, start)[3:]


def _series(a: Any, b: Any, c: Any, z: Any) -> tuple[Any, Any]:
    """F and z dF/dz. A terminating series ends before it reaches a pole."""

    def term_after(n: Any, y: Any, _: Any) -> Any:
        pole = c + n == 0
        ratio = (a + n) * (b + n) / jnp.where(pole, 1, c + n)
        return y * jnp.where(pole, 0, ratio) * z / (n + 1)

    one = jnp.ones_like(z)
    return _sum(term_after, one, term_after(jnp.zeros_like(z), one, one))


def _toward_one(a: Any, b: Any, c: Any, d: Any, f: Any, slope: Any) -> Any:
    """F at 1 - d, from F and dF/dz at 1 - max(d, 0.5)."""

    def unfinished(state: Any) -> Any:
        i, at, *_ = state
        return (i < 1100) & (at > d).any()

    def body(state: Any) -> Any:
        i, at, f, slope = state
        going = at > d
        to = jnp.where(going, jnp.maximum(d, at / 2), at)
        h = jnp.where(going, at - to, 0)
        z = 1 - at

        def term_after(n: Any, y: Any, before: Any) -> Any:
            # z (1 - z) n (n + 1) y_{n+1}
            # = (a + n - 1) (b + n - 1) h^2 y_{n-1}
            #   - n ((1 - 2 z) (n - 1) + c - (a + b + 1) z) h y_n
            m = n - 1
            one_back = n * ((1 - 2 * z) * m + c - (a + b + 1) * z) * h * y
            total = (a + m) * (b + m) * h * h * before - one_back
            return total / (z * at * n * (n + 1))

        value, weighted = _sum(term_after, f, slope * h)
        slope = jnp.where(going, weighted / jnp.where(going, h, 1), slope)
        return i + 1, to, jnp.where(going, value, f), slope

    start = (jnp.asarray(0), jnp.full_like(d, 0.5), f, slope)
    return while_loop(unfinished, body, start)[2]


def _unit_interval(a: Any, b: Any, c: Any, z: Any, d: Any) -> Any:
    """F for 0 <= z < 1 and d = 1 - z."""
    euler = jnp.minimum(c - a, c - b) > jnp.minimum(a, b)
    euler |= (a == c) | (b == c)
    factor = jnp.where(euler, (c - a - b) * jnp.log(d), 0)
    a, b = jnp.where(euler, c - a, a), jnp.where(euler, c - b, b)
    near = d >= 0.5
    first = jnp.where(near, z, 0.5)
    f, weighted = _series(a, b, c, first)
    slope = weighted / jnp.where(first == 0, 1, first)
    target = jnp.where(near, 0.5, d)
    return jnp.exp(factor) * jnp.where(near, f, _toward_one(a, b, c, target, f, slope))


def _at_one(a: Any, b: Any, c: Any) -> Any:
    """Gauss's sum, DLMF 15.4.20."""
    s, p, q = c - a - b, c - a, c - b
    size = special.gammaln(c) + special.gammaln(s)
    size = size - special.gammaln(p) - special.gammaln(q)
    sign = special.gammasgn(c) * special.gammasgn(p) * special.gammasgn(q)
    zero = _pole(p) | _pole(q)
    return jnp.where(zero, 0, sign * jnp.exp(jnp.where(zero, 0, size)))


def _pole(x: Any) -> Any:
    """Whether the gamma function has a pole at x."""
    return (x <= 0) & (x == jnp.floor(x))


def _hyp2f1(a: Any, b: Any, c: Any, z: Any) -> Any:
    # Order the parameters: first the one that terminates the series, or if none does,
    # the smaller one.
    swap = jnp.where(_pole(a) == _pole(b), b < a, _pole(b))
    swap = jnp.where(_pole(a) & _pole(b), b > a, swap)
    a, b = jnp.where(swap, b, a), jnp.where(swap, a, b)
    # By convention F(a, b; b; z) is (1 - z)^-a, even where b is a pole.
    power = (a == c) | (b == c)
    polynomial = _pole(a)
    undefined = _pole(c) & ~(polynomial & (a >= c)) & ~power & (z != 0)
    finite = jnp.isfinite(a + b + c + z)
    by_sum = finite & polynomial & ((z >= 1) | _pole(c)) & ~power
    inside = finite & (z < 1) & ~by_sum & ~undefined

    a1, b1, c1 = (jnp.where(inside, x, 1) for x in (a, b, c))
    z1 = jnp.where(inside, z, 0)
    negative = z1 < 0
    # Pfaff: (1 - z)^-a F(a, c - b; c; z / (z - 1))
    d = jnp.where(negative, 1 / (1 - z1), 1 - z1)
    w = jnp.where(negative, -z1 * d, z1)
    b1 = jnp.where(negative, c1 - b1, b1)
    factor = jnp.exp(jnp.where(negative, a1 * jnp.log(d), 0))
    value = factor * _unit_interval(a1, b1, c1, w, d)

    a2, b2, c2, z2 = (
        jnp.where(by_sum, x, y) for x, y in ((a, -1), (b, 1), (c, 1), (z, 0))
    )
    value = jnp.where(by_sum, _series(a2, b2, c2, z2)[0], value)
    one = (z == 1) & (c > a + b) & ~by_sum
    gauss = _at_one(*(jnp.where(one, x, y) for x, y in ((a, 1), (b, 1), (c, 3))))
    value = jnp.where(one, gauss, value)
    beyond = (z >= 1) & ~one & ~by_sum
    exponent = jnp.where(a == c, b, a)
    far = beyond & power & (z > 1)
    raised = jnp.power(jnp.where(far, 1 - z, 1), -exponent)
    of_power = jnp.where(far, raised, jnp.where(exponent > 0, jnp.inf, 0))
    value = jnp.where(beyond, jnp.where(power, of_power, jnp.inf), value)
    value = jnp.where(undefined, jnp.inf, value)
    trivial = (z == 0) | (((a == 0) | (b == 0)) & ~inside)
    return jnp.where(finite, jnp.where(trivial, 1, value), jnp.nan)


def _by_z(a: Any, b: Any, c: Any, z: Any) -> Any:
    return a * b / c * hyp2f1(a + 1, b + 1, c + 1, z)


hyp2f1 = smooth(_hyp2f1, {3: _by_z})
