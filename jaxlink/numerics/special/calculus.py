"""Calculus for the special functions: derivatives, quadrature, Newton's method.

We write a special function as a plain algorithm: a series, a recurrence, a sum over
nodes. JAX differentiates all of them in forward mode, loops included. Forward mode
selects the tangent of the branch that `where` takes, so the other branch cannot affect
it. `smooth` turns such an algorithm into a function that has all derivatives.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlink.numerics.loops import while_loop

__all__ = ["decaying_integral", "horner", "negligible", "newton", "smooth", "trapezoid"]

Function = Callable[..., Any]


def smooth(fn: Function, partials: dict[int, Function] | None = None) -> Function:
    """``fn``, differentiable in every mode and order. Its float arguments broadcast.

    The partial derivative with respect to argument ``i`` is ``partials[i]``, or if that
    is missing, forward mode through ``fn``, made `smooth` in turn. It is computed only
    if the argument has a tangent. So reverse mode never sees the loops in ``fn``.
    """
    known = partials or {}
    wrapped = jax.custom_jvp(fn)

    def partial(i: int) -> Function:
        if i in known:
            return known[i]

        def derivative(*args: Any) -> Any:
            tangents = [jnp.full_like(x, j == i) for j, x in enumerate(args)]
            value, slope = jax.jvp(fn, args, tuple(tangents))
            return jnp.where(jnp.isnan(value), jnp.nan, slope)

        return smooth(derivative)

    def jvp(primals: Any, tangents: Any) -> Any:
        out = wrapped(*primals)
        total = jnp.zeros_like(out)
        for i, t in enumerate(tangents):
            if not isinstance(t, jax.custom_derivatives.SymbolicZero):
                total += _times(t, partial(i)(*primals))
        return out, total

    wrapped.defjvp(jvp, symbolic_zeros=True)

    def call(*args: Any) -> Any:
        return wrapped(*jnp.broadcast_arrays(*args))

    return call


# A slope can be infinite, or nan where there is none. 0 * nan would then make the
# derivative along other arguments nan, and that of a `where` in reverse mode. Selecting
# by t == 0 is not linear in t. Multiplying by the largest number twice is linear: zero
# stays zero, and anything else overflows. Then inf - inf gives nan. We multiply both
# before and after that step, because reverse mode runs the steps from last to first.


@jax.custom_jvp
def _bounded(slope: Any) -> Any:
    """``slope`` with the largest number in place of infinity and nan."""
    huge = float(np.finfo(slope.dtype).max)
    return jnp.where(jnp.isnan(slope), huge, jnp.clip(slope, -huge, huge))


@_bounded.defjvp
def _bounded_jvp(primals: Any, tangents: Any) -> Any:
    return _bounded(*primals), tangents[0]


def _times(t: Any, slope: Any) -> Any:
    """``t * slope``, linear in t, and zero where t is zero, whatever the slope."""
    huge = float(np.finfo(slope.dtype).max)
    scale = jnp.where(jnp.isfinite(slope), 1, huge)
    t = t * scale * scale
    t -= jnp.where(jnp.isnan(slope), t, 0)
    return t * _bounded(slope) * scale


def horner(coefficients: list[float], x: Any) -> Any:
    """The polynomial with these coefficients, the constant one first."""
    total = jnp.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def negligible(dtype: Any) -> float:
    """An exponent E such that exp(-E) is negligible beside one."""
    return 4 - math.log(float(np.finfo(dtype).eps))


def trapezoid(fn: Function, start: Any, stop: Any, step: Any) -> Any:
    """The trapezoidal rule for a function that vanishes, or is flat, at both ends.

    It converges geometrically in 1 / step: Trefethen and Weideman, The exponentially
    convergent trapezoidal rule, SIAM Review 56 (2014). Every element takes as many
    steps as the longest range needs.
    """
    start, stop, step = lax.stop_gradient((start, stop, step))
    steps = jnp.ceil((stop - start) / step)
    most = jnp.max(jnp.where(jnp.isfinite(steps), steps, 0), initial=0)

    def body(i: Any, total: Any) -> Any:
        return total + fn(start + i.astype(step.dtype) * step)

    zero = jnp.zeros(jnp.broadcast_shapes(start.shape, step.shape), step.dtype)
    count = jnp.minimum(most, 20000).astype("int32") + 1
    return step * lax.fori_loop(0, count, body, zero)


def decaying_integral(exponent: Function, smallest: Any, largest: Any) -> Any:
    """The integral of exp(exponent(s)) over s > 0, for an exponent that is 0 at 0.

    Arguments:
        exponent: a function of s.
        smallest: below this s, the exponent is linear or flat.
        largest: beyond this s, exp(exponent(s)) is negligible.

    The double-exponential rule for a decaying integrand: s = exp(u - exp(u0 - u)).
    Takahasi and Mori, Double exponential formulas for numerical integration, Publ.
    RIMS 9 (1974).
    """
    start, stop = lax.stop_gradient((jnp.log(smallest), jnp.log(largest)))
    wide = start.dtype == np.float32

    def node(u: Any) -> Any:
        lower = jnp.exp(start - u)
        s = jnp.exp(u - lower)
        # Nodes beyond an element's own range are for the other elements.
        inside = u <= stop
        value = jnp.exp(exponent(jnp.where(inside, s, 0))) * s * (1 + lower)
        return jnp.where(inside, value, 0)

    step = jnp.full_like(start, 0.15 if wide else 0.1)
    return trapezoid(node, start - (3 if wide else 3.75), stop, step)


def newton(step: Function, start: Any, tolerance: float, most: int = 100) -> Any:
    """Repeat y += step(y) until every element's step is small."""

    def unfinished(state: Any) -> Any:
        i, _, active = state
        return (i < most) & active.any()

    def body(state: Any) -> Any:
        i, y, active = state
        change = jnp.where(active, step(y), 0)
        y = y + change
        active &= abs(change) > tolerance * (1 + abs(y))
        return i + 1, y, active

    active = jnp.ones_like(start, bool)
    return while_loop(unfinished, body, (jnp.asarray(0), start, active))[1]
