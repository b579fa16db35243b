"""Elementary functions that lose digits in XLA, or are wrong at infinity.

XLA computes ``sinh``, ``cosh`` and ``exp2`` as ``exp`` of a rounded sum or product. The
rounding error grows with the argument: it is 200 units in the last place at 700.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["cosh", "exp2", "sign", "sinh"]


def sinh(x: Any) -> Any:
    if x.dtype.kind != "c":
        return _sinh(x)
    # JAX's complex sinh is a difference of exponentials, which loses small numbers.
    a, b = x.real, x.imag
    return lax.complex(_sinh(a) * jnp.cos(b), _cosh(a) * jnp.sin(b))


def cosh(x: Any) -> Any:
    if x.dtype.kind != "c":
        return _cosh(x)
    a, b = x.real, x.imag
    return lax.complex(_cosh(a) * jnp.cos(b), _sinh(a) * jnp.sin(b))


@jax.custom_jvp
def _sinh(x: Any) -> Any:
    # (v - 1/v) (v + 1/v) / 2 with v = exp(x / 2), where x / 2 is exact. The first
    # factor is u + u/v with u = v - 1, which keeps the digits of small numbers.
    u = jnp.expm1(0.5 * jnp.abs(x))
    inverse = 1 / (1 + u)
    size = (0.5 * u * (1 + inverse)) * ((1 + u) + inverse)
    # Half of the smallest normal number is subnormal, and XLA flushes that to zero.
    tiny = jnp.abs(x) < np.finfo(x.dtype).eps
    return jnp.where(tiny, x, jnp.sign(x) * size)


@jax.custom_jvp
def _cosh(x: Any) -> Any:
    v = jnp.exp(0.5 * x)
    inverse = 1 / v
    return (0.5 * v) * v + (0.5 * inverse) * inverse


_sinh.defjvps(lambda t, ans, x: t * _cosh(x))
_cosh.defjvps(lambda t, ans, x: t * _sinh(x))


def exp2(x: Any) -> Any:
    return jnp.exp2(x) if x.dtype.kind == "c" else _exp2(x)


@jax.custom_jvp
def _exp2(x: Any) -> Any:
    # 2^x = 2^(x - n) 2^n with the nearest integer n, so that exp gets a small argument.
    # 2^n may be out of range although 2^x is not, so we multiply by two factors.
    info = np.finfo(x.dtype)
    # Beyond +-end, 2^x is infinity or zero.
    end = info.maxexp + info.nmant + 2
    x = jnp.clip(x, -end, end)
    n = jnp.round(x)
    whole = n.astype(f"int{info.bits}")
    half = whole >> 1

    def power_of_2(k: Any) -> Any:
        bits = (k + (info.maxexp - 1)) << info.nmant
        return lax.bitcast_convert_type(bits, x.dtype)

    fraction = jnp.exp((x - n) * math.log(2))
    return fraction * power_of_2(half) * power_of_2(whole - half)


_exp2.defjvps(lambda t, ans, x: t * (ans * math.log(2)))


def sign(x: Any) -> Any:
    if x.dtype.kind != "c":
        return jnp.sign(x)
    # As in NumPy, an infinite part outweighs a finite one, and two infinite parts give
    # nan.
    parts = x.real, x.imag
    far = [jnp.isinf(part) for part in parts]
    units = (jnp.where(f, jnp.sign(p), 0) for f, p in zip(far, parts, strict=True))
    unit = jnp.where(far[0] & far[1], jnp.nan, lax.complex(*units))
    return jnp.where(far[0] | far[1], unit, jnp.sign(x))
