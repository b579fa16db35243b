"""What the rules of linear algebra share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from pytensor.tensor.linalg.dtype_utils import linalg_output_dtype

from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.derivatives import undifferentiable
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical
from jaxlink.values.types import name_of

__all__ = [
    "check_rows",
    "check_square",
    "demand",
    "in_lapack_dtype",
    "without_gradient",
]

Function = Callable[..., Any]


def in_lapack_dtype(
    node: Any, fn: Function, square: Iterable[int] = (), rows: Iterable[int] = ()
) -> Function:
    """``fn`` of operands in the dtype in which LAPACK would compute.

    Arguments:
        square: the operands that must be square matrices.
        rows: the operands that must have the same number of rows.
    """
    dtype = linalg_output_dtype(*(var.type.dtype for var in node.inputs))

    def run(*args: Any) -> Any:
        args = tuple(jnp.asarray(x, canonical(dtype)) for x in args)
        for i in square:
            if i < len(args):
                check_square(node, args[i], i)
        check_rows(node, [args[i] for i in rows])
        return fn(*args)

    return run


def check_square(node: Any, x: Any, operand: int = 0) -> None:
    """Raise unless ``x``, which stands for an operand of ``node``, is square."""
    if x.shape[0] != x.shape[1]:
        raise np.linalg.LinAlgError(
            f"{type(node.op).__name__} needs a square matrix, but "
            f"{name_of(node.inputs[operand])} has the shape {x.shape}."
        )


def check_rows(node: Any, operands: Sequence[Any]) -> None:
    """Raise unless all ``operands`` have the same number of rows."""
    if len({x.shape[0] for x in operands}) > 1:
        shapes = " and ".join(str(x.shape) for x in operands)
        raise np.linalg.LinAlgError(
            f"{type(node.op).__name__} needs operands with the same number of rows, "
            f"not of shapes {shapes}."
        )


# The Ops whose failure is an error in PyTensor. That of all others is nan there.
_RAISING = (
    *("Eig", "Eigh", "Eigvalsh", "SVD"),
    *("MatrixInverse", "MatrixPinv", "TensorInv", "TensorSolve"),
)


def demand(node: Any, ok: Any, failure: str) -> None:
    """Raise ``failure`` under ``checkify`` unless ``ok``: one bool, not yet batched."""
    name = type(node.op).__name__
    message = f"{name} of {name_of(node.inputs[0])} failed: {failure}."
    if name in _RAISING:
        check(ok, f"LinAlgError: {message}")
    else:
        check(ok, message, silent=True)


def without_gradient(fn: Function, what: str) -> Function:
    """``fn``, with an error that names ``what`` for whoever differentiates it."""
    return undifferentiable(
        fn,
        UnsupportedOpError,
        f"{what} has no gradient, in PyTensor neither. Wrap its operands in "
        "pytensor.gradient.disconnected_grad if they are constants of the gradient.",
    )
