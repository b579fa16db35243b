"""Arithmetic with PyTensor's values and gradients, where JAX's differ.

The operands of a function must have the same dtype. A gradient is finite wherever the
true gradient is. At a tie or a kink it is PyTensor's: see docs/gradients.md.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlink.numerics.derivatives import decided
from jaxlink.numerics.loops import while_loop
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical, cast

__all__ = [
    "absolute",
    "arctan2",
    "cast",
    "clip",
    "convert",
    "expm1",
    "floor_divide",
    "maximum",
    "minimum",
    "mod",
    "mul_without_zeros",
    "power",
]

Function = Callable[..., Any]


def convert(x: Any, dtype: Any) -> Any:
    """``x`` converted as in C: integers wrap, while JAX would saturate them.

    In C, nan and values that do not fit 64 bits are undefined. Here JAX defines them.
    """
    x, to = jnp.asarray(x), np.dtype(dtype)
    if x.dtype.kind == "c" and to.kind != "c":
        x = (x != 0) if to.kind == "b" else x.real
    if x.dtype.kind != "f" or to.kind not in "iu":
        return cast(x, to)
    wrapped = x.astype(canonical("int64")).astype(canonical(to))
    if to != np.uint64:
        return wrapped
    return jnp.where(x < 0, wrapped, x.astype(canonical(to)))


# --- ties and kinks ------------------------------------------------------------------


def maximum(x: Any, y: Any) -> Any:
    # At a tie the first operand wins and gets the full gradient, as in PyTensor.
    return jnp.where(decided((x >= y) | _isnan(x), x, y), x, y)


def minimum(x: Any, y: Any) -> Any:
    return jnp.where(decided((x <= y) | _isnan(x), x, y), x, y)


def _isnan(x: Any) -> Any:
    return x != x


def clip(x: Any, low: Any, high: Any) -> Any:
    # Not jnp.clip, because low must win where low > high.
    below, above = decided(x < low, x, low), decided(x > high, x, high)
    return jnp.where(below, low, jnp.where(above, high, x))


def absolute(x: Any) -> Any:
    if x.dtype.kind != "f":
        return jnp.abs(x)
    # The gradient at zero is zero, as in PyTensor. With jnp.abs it would be one.
    return x * decided(jnp.sign(x), x)


# --- division ------------------------------------------------------------------------


def floor_divide(x: Any, y: Any) -> Any:
    x, y = lax.stop_gradient((x, y))
    return _zero_over_zero(jnp.floor_divide, x, y)


def mod(x: Any, y: Any) -> Any:
    return _mod(x, y) if x.dtype.kind == "f" else _zero_over_zero(jnp.mod, x, y)


@jax.custom_jvp
def _mod(x: Any, y: Any) -> Any:
    return jnp.mod(x, y)


@_mod.defjvp
def _mod_jvp(primals: Any, tangents: Any) -> Any:
    # JAX divides again for its gradient, and may round to the next quotient.
    (x, y), (t_x, t_y) = lax.optimization_barrier(primals), tangents
    return _mod(x, y), t_x - t_y * floor_divide(x, y)


def _zero_over_zero(fn: Function, x: Any, y: Any) -> Any:
    """``fn(x, y)``, but an integer divided by zero is zero, as in NumPy."""
    if x.dtype.kind == "f":
        return fn(x, y)
    if x.dtype.kind == "b":
        return _zero_over_zero(fn, x.astype("int8"), y.astype("int8")).astype(bool)
    zero = y == 0
    return jnp.where(zero, jnp.zeros_like(y), fn(x, jnp.where(zero, 1, y)))


def mul_without_zeros(x: Any, y: Any) -> Any:
    zero = np.zeros((), x.dtype)
    return jnp.where(x == zero, y, jnp.where(y == zero, x, x * y))


# --- powers --------------------------------------------------------------------------


def power(x: Any, y: Any) -> Any:
    exponent = _integer(y)
    if exponent is not None:
        # An integer power has a finite gradient at zero. exp(y log(x)) does not.
        return lax.integer_pow(x, exponent)
    if x.dtype.kind == "f":
        return _float_power(x, y)
    if x.dtype.kind == "c":
        return _complex_power(x, y)
    return _integer_power(x, y)


def _integer(y: Any) -> int | None:
    """The value of ``y`` if it is known, a small integer, and equal in all elements."""
    if not isinstance(y, np.ndarray | np.generic) or y.dtype.kind == "c" or not y.size:
        return None
    exponent = float(y.flat[0])
    if not (exponent.is_integer() and abs(exponent) <= 64 and (y == exponent).all()):
        return None
    # An integer to a negative power is not an integer.
    return None if exponent < 0 and y.dtype.kind != "f" else int(exponent)


@jax.custom_jvp
def _float_power(x: Any, y: Any) -> Any:
    return jnp.power(x, y)


def _float_power_jvp(primals: Any, tangents: Any) -> Any:
    """PyTensor's gradient, but zero times infinity is zero."""
    (x, y), (t_x, t_y) = primals, tangents
    out = _float_power(x, y)
    tangent = jnp.zeros_like(out)
    if not _is_zero(t_x):
        # y x^(y - 1). At y = 0 the power is constant, even at x = 0.
        base = jnp.where((x == 0) & (y == 0), 1, x)
        lower = _float_power(base, y - 1)
        tangent += t_x * (jnp.where(jnp.isinf(y) & (lower == 0), 1, y) * lower)
    if not _is_zero(t_y):
        # log(x) x^y. In PyTensor it is zero at x = 0 for every y.
        zero = (x == 0) | ((x > 0) & (out == 0))
        tangent += t_y * jnp.where(zero, 0, jnp.log(jnp.where(zero, 1, x)) * out)
    return out, tangent


# A tangent known to be zero must not be multiplied by log(x), which is nan below zero.
_float_power.defjvp(_float_power_jvp, symbolic_zeros=True)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _complex_power(x: Any, y: Any) -> Any:
    # JAX's power is nan at zero.
    zero = x == 0
    undefined = jnp.where(y.real > 0, 0, complex("nan+nanj"))
    at_zero = jnp.where(y == 0, 1, undefined).astype(x.dtype)
    return jnp.where(zero, at_zero, jnp.power(jnp.where(zero, 1, x), y))


def _integer_power(x: Any, y: Any) -> Any:
    """Square and multiply over all bits of the exponent. JAX stops after six bits."""
    if y.dtype.kind == "i":
        if isinstance(y, np.ndarray | np.generic) and np.any(np.asarray(y) < 0):
            raise ValueError(
                "an integer to a negative power is not an integer. Make the base or "
                'the exponent a float, as in x.astype("float64") ** y.'
            )
        check(jnp.all(y >= 0), "an integer to a negative power is not an integer.")
    x, y = jnp.broadcast_arrays(x, y)

    def step(state: Any) -> Any:
        base, exponent, out = state
        out = jnp.where(exponent & 1 == 1, out * base, out)
        return base * base, exponent >> 1, out

    start = (x, jnp.maximum(y, 0), jnp.ones_like(x))
    return while_loop(lambda state: jnp.any(state[1] > 0), step, start)[2]


# --- functions whose value or derivative in JAX is inaccurate ------------------------


@jax.custom_jvp
def expm1(x: Any) -> Any:
    return jnp.expm1(x)


# jax < 0.12: its slope is expm1(x) + 1, which loses all digits far below zero.
expm1.defjvps(lambda t, ans, x: t * jnp.exp(x))


@jax.custom_jvp
def arctan2(y: Any, x: Any) -> Any:
    return jnp.arctan2(y, x)


@arctan2.defjvp
def _arctan2_jvp(primals: Any, tangents: Any) -> Any:
    # (x dy - y dx) / (x^2 + y^2), without the squares, which overflow and underflow.
    (y, x), (t_y, t_x) = primals, tangents
    radius = jnp.hypot(x, y)
    far = jnp.isinf(radius)
    cos, sin = (jnp.where(far, 0, part / radius) for part in (x, y))
    return arctan2(y, x), t_y * (cos / radius) - t_x * (sin / radius)
