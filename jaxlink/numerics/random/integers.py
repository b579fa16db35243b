"""Uniform integers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, random

from jaxlink.numerics.loops import while_loop
from jaxlink.numerics.random import Shape
from jaxlink.numerics.random.counting import require
from jaxlink.values.static import canonical, to_jax
from jaxlink.values.symbolic_sizes import is_symbolic


def integers(key: Array, shape: Shape, dtype: Any, low: Any, high: Any) -> Array:
    """From ``low`` up to but excluding ``high``, or ``low`` if the range is empty."""
    text = "`integers` needs low < high, both finite."
    return _between(key, shape, dtype, low, high, 0, text)


def discrete_uniform(
    key: Array, shape: Shape, dtype: Any, lower: Any, upper: Any
) -> Array:
    """From ``lower`` to ``upper`` inclusive, or ``lower`` if the range is empty."""
    text = "`discrete_uniform` needs lower <= upper, both finite."
    return _between(key, shape, dtype, lower, upper, 1, text)


def _between(
    key: Array, shape: Shape, dtype: Any, low: Any, high: Any, more: int, text: str
) -> Array:
    """One of the ``high - low + more`` integers from ``low`` on."""
    low, high, finite = _words(low, high)
    valid = require(finite & (~_less(high, low) if more else _less(low, high)), text)
    # The number of all integers of the dtype wraps to 0.
    span = jnp.where(valid, _bits(high) - _bits(low) + more, 1)
    return _shifted(low, below(key, shape, span), dtype)


def below(key: Array, shape: Shape, span: Array) -> Array:
    """Uniform unsigned integers below ``span``, or any word if ``span`` is 0.

    Lemire (2019), doi:10.1145/3230636. For a random word x, the draw is the upper word
    of x * span. It is rejected if the lower word is below 2**bits mod span, which makes
    all upper words equally likely.
    """
    rejected = jnp.where(span == 0, 0, (0 - span) % jnp.maximum(span, 1))

    def propose(key: Array) -> tuple[Array, Array]:
        x = random.bits(key, shape, span.dtype)
        upper, lower = double_width_product(x, span)
        return jnp.where(span == 0, x, upper), lower < rejected

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, draw, again = state
        key, subkey = random.split(key)
        proposal, rejected = propose(subkey)
        return key, jnp.where(again, proposal, draw), again & rejected

    key, subkey = random.split(key)
    start = (key, *propose(subkey))
    return while_loop(lambda s: jnp.any(s[2]), step, start)[1]


def double_width_product(x: Array, y: Array) -> tuple[Array, Array]:
    """The upper and the lower word of a product of unsigned integers.

    In half words, (a h + b) (c h + d) = a c h**2 + (a d + b c) h + b d. No sum below
    overflows, because a product of half words leaves room for two more half words.
    """
    half = x.dtype.itemsize * 4
    if x.dtype.itemsize == 4 and canonical(np.uint64).itemsize == 8:
        whole = x.astype(np.uint64) * y.astype(np.uint64)
        return (whole >> 32).astype(x.dtype), whole.astype(x.dtype)
    mask = np.asarray((1 << half) - 1, x.dtype)
    a, b, c, d = x >> half, x & mask, y >> half, y & mask
    middle = a * d + (b * d >> half)
    carried = b * c + (middle & mask)
    return a * c + (middle >> half) + (carried >> half), x * y


def _words(*bounds: Any) -> tuple[Array, Array, Array]:
    """Bounds as 64-bit integers, or as 32-bit integers if they fit, and whether they
    are finite.

    A bound that is not an integer is rounded towards zero, as in NumPy. A symbolic size
    is the length of an array, which fits.
    """
    known = all(isinstance(bound, np.ndarray | np.generic | int) for bound in bounds)
    finite = [jnp.isfinite(to_jax(bound)) for bound in bounds]
    if known:
        bounds = tuple(map(np.asarray, bounds))
    else:
        bounds = tuple(jnp.asarray(to_jax(bound)) for bound in bounds)
    integer = canonical(np.int64)
    bounds = tuple(b if b.dtype.kind in "iuO" else b.astype(integer) for b in bounds)
    kinds = ["i" if is_symbolic(b) else b.dtype.kind for b in bounds]
    wide = len(set(kinds)) > 1 or any(map(_needs_64_bits, bounds))
    size = integer.itemsize if wide else 4
    low, high = (
        jnp.asarray(to_jax(b), f"{kind}{size}")
        for b, kind in zip(bounds, kinds, strict=True)
    )
    return low, high, finite[0] & finite[1]


def _needs_64_bits(bound: Any) -> bool:
    if is_symbolic(bound):
        return False
    if isinstance(bound, np.ndarray):
        kind = np.iinfo(f"{bound.dtype.kind}4")
        return bool(((bound < kind.min) | (bound > kind.max)).any())
    return bound.dtype.itemsize > 4


def _bits(x: Array) -> Array:
    """The two's complement, as an unsigned integer."""
    return x.astype(f"u{x.dtype.itemsize}")


def _less(x: Array, y: Array) -> Array:
    """x < y, where one integer may be signed and the other unsigned."""
    if x.dtype == y.dtype:
        return x < y
    smaller = _bits(x) < _bits(y)
    return (x < 0) | smaller if x.dtype.kind == "i" else (y >= 0) & smaller


def _shifted(low: Array, steps: Array, dtype: Any) -> Array:
    """``low + steps``, wrapped, in a dtype that may be narrower."""
    word = _bits(low) + steps
    if dtype == np.bool_:
        return word != 0
    signed = low.dtype.kind == "i"
    return (word.astype(low.dtype) if signed else word).astype(dtype)
