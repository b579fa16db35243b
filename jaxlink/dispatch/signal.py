"""Convolution, one tap of the shorter operand at a time.

A ``lax.scan`` adds up the taps. XLA's own convolution would pad with zeros and multiply
them too, so an infinite or nan tap would put nan at the edges, where PyTensor has
numbers. It also lacks small integers, and it is slower on a CPU, where most PyTensor
models run.
"""

from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.signal import fftconvolve
from pytensor.tensor.signal.conv import Convolve1d, Convolve2d

from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.static import canonical

# From this many taps on, method="auto" uses the Fourier transform if the dtype is
# inexact.
MANY_TAPS = 500


# The length of the result depends on the mode.
@rule(Convolve1d, Convolve2d, static=(2,))
def convolve(op: Any, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    method = getattr(op, "method", "direct")

    def run(x: Any, y: Any, full: Any) -> Any:
        x, y = (jnp.asarray(z, canonical(dtype)) for z in (x, y))
        if not (x.size and y.size):
            raise ValueError(
                f"{op} got arrays of shapes {x.shape} and {y.shape}. It cannot "
                "convolve an empty array."
            )
        if not full and all(n <= k for n, k in zip(x.shape, y.shape, strict=True)):
            x, y = y, x
        if not full and any(n < k for n, k in zip(x.shape, y.shape, strict=True)):
            raise ValueError(
                f"a valid convolution of shapes {x.shape} and {y.shape} is not "
                "defined: one must be at least as long as the other along every axis. "
                'Use mode="full" or mode="same".'
            )
        taps = min(x.size, y.size)
        by_fft = method == "fft" or (method == "auto" and taps >= MANY_TAPS)
        if by_fft and jnp.issubdtype(dtype, jnp.inexact):
            return fftconvolve(x, y, mode="full" if full else "valid")
        if not full:
            return _valid(x, y)
        return _full(x, y) if x.size >= y.size else _full(y, x)

    return run


def _full(x: Any, taps: Any) -> Any:
    """out[i + j] is the sum of x[i] taps[j]: for each j, add x to out, shifted by j."""
    shape = tuple(n + k - 1 for n, k in zip(x.shape, taps.shape, strict=True))

    def add(out: Any, at: Any, tap: Any) -> Any:
        part = lax.dynamic_slice(out, at, x.shape)
        return lax.dynamic_update_slice(out, _plus(part, x * tap), at)

    return _over_taps(add, jnp.zeros(shape, x.dtype), taps)


def _valid(x: Any, taps: Any) -> Any:
    """out[i] is the sum of x[i + j] taps[-1 - j]."""
    shape = tuple(n - k + 1 for n, k in zip(x.shape, taps.shape, strict=True))

    def add(out: Any, at: Any, tap: Any) -> Any:
        return _plus(out, lax.dynamic_slice(x, at, shape) * tap)

    return _over_taps(add, jnp.zeros(shape, x.dtype), jnp.flip(taps))


def _plus(x: Any, y: Any) -> Any:
    return x | y if x.dtype == np.bool_ else x + y


def _over_taps(add: Function, out: Any, taps: Any) -> Any:
    def step(out: Any, j: Any) -> tuple[Any, None]:
        at = jnp.unravel_index(j, taps.shape)
        return add(out, at, taps[at]), None

    n = prod(taps.shape)
    return lax.scan(step, out, jnp.arange(n), unroll=min(n, 8))[0]
