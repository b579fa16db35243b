"""What the rules of linear algebra share."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from pytensor.tensor.linalg.dtype_utils import linalg_output_dtype

from jaxlink.checks import check
from jaxlink.dispatch.gradients import undifferentiable
from jaxlink.errors import UnsupportedOpError
from jaxlink.static import canonical, name_of

__all__ = [
    "adjoint",
    "demand",
    "in_lapack_dtype",
    "mirror",
    "nan_unless",
    "nonzero",
    "without_gradient",
]

Function = Callable[..., Any]


def in_lapack_dtype(node: Any, fn: Function) -> Function:
    """``fn`` of operands in the dtype in which LAPACK would compute."""
    dtype = linalg_output_dtype(*(var.type.dtype for var in node.inputs))
    return lambda *args: fn(*(jnp.asarray(x, canonical(dtype)) for x in args))


def adjoint(x: Any) -> Any:
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def mirror(x: Any, lower: bool, transpose: Function = adjoint) -> Any:
    """The Hermitian (or symmetric) matrix that one triangle of ``x`` tells."""
    if lower:
        return jnp.tril(x) + transpose(jnp.tril(x, -1))
    return jnp.triu(x) + transpose(jnp.triu(x, 1))


def nan_unless(ok: Any, x: Any) -> Any:
    return jnp.where(ok, x, jnp.nan)


def demand(node: Any, ok: Any, failure: str) -> None:
    """Raise ``failure`` under ``checkify`` unless ``ok``: one bool, not yet batched."""
    name = type(node.op).__name__
    check(ok, f"{name} of {name_of(node.inputs[0])} failed: {failure}.")


def without_gradient(fn: Function, what: str) -> Function:
    """``fn``, with an error that names ``what`` for whoever differentiates it."""
    return undifferentiable(
        fn,
        UnsupportedOpError,
        f"{what} has no gradient, in PyTensor neither. Wrap its operands in "
        "pytensor.gradient.disconnected_grad if they are constants of the gradient.",
    )


def nonzero(x: Any) -> Any:
    """``x``, but 1 where it is 0: to divide by."""
    return jnp.where(x == 0, 1, x)
