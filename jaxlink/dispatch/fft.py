"""Fourier transforms, as in NumPy.

PyTensor stores a complex spectrum with a last axis of length 2, for the real and
imaginary parts.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.tensor.fft import IRFFTOp, RFFTOp
from pytensor.tensor.fourier import Fourier

from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.values.static import canonical


@rule(RFFTOp, static=(1,))
def rfft(op: RFFTOp, node: Any) -> Function:
    real = _real_dtype(op, node)

    def run(x: Any, lengths: Any) -> Any:
        dtype = x.dtype
        *others, n = _lengths(op, lengths)
        spectrum = jnp.fft.rfft(jnp.asarray(x, canonical(real)), n)
        spectrum = _along_others(jnp.fft.fft, spectrum, others)
        parts = jnp.stack([spectrum.real, spectrum.imag], axis=-1)
        return parts.astype(dtype)

    return run


@rule(IRFFTOp, static=(1,))
def irfft(op: IRFFTOp, node: Any) -> Function:
    real = _real_dtype(op, node)

    def run(parts: Any, lengths: Any) -> Any:
        dtype = parts.dtype
        *others, n = _lengths(op, lengths)
        parts = jnp.asarray(parts, canonical(real))
        # The last axis comes last, because irfft ignores the imaginary part of its
        # first element. Before the other axes are transformed, that part matters.
        spectrum = lax.complex(parts[..., 0], parts[..., 1])
        spectrum = _along_others(jnp.fft.ifft, spectrum, others, norm="forward")
        return jnp.fft.irfft(spectrum, n, norm="forward").astype(dtype)

    return run


def _along_others(
    transform: Function, x: Any, lengths: Sequence[int], **options: Any
) -> Any:
    """``transform`` along the axes before the last."""
    for axis, n in enumerate(lengths, start=-1 - len(lengths)):
        x = transform(x, n, axis=axis, **options)
    return x


def _real_dtype(op: Any, node: Any) -> str:
    """The dtype that NumPy computes in."""
    dtype = np.dtype(node.inputs[0].type.dtype)
    if dtype.kind == "c":
        raise UnsupportedOpError(
            f"{op} takes a real array, but {node.inputs[0]} is {dtype}. NumPy raises "
            "too. Transform the real and imaginary parts separately."
        )
    if dtype.kind != "f":
        return "float64"
    return "float32" if dtype == np.float16 else str(dtype)


def _lengths(op: Any, lengths: Any) -> list[int]:
    values = [int(n) for n in lengths]
    if not values or min(values) < 1:
        raise ValueError(f"{op} needs lengths of at least 1, not {values}.")
    return values


@rule(Fourier, static=(1, 2))
def fourier(op: Fourier, node: Any) -> Function:
    def run(x: Any, n: Any, axis: Any) -> Any:
        x = jnp.asarray(x, canonical("complex128"))
        (length,) = _lengths(op, [n])
        return jnp.fft.fft(x, length, axis=int(axis))

    return run
