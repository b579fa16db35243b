"""Checks, dtypes and errors that the rules of linear algebra share."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from pytensor.tensor.linalg.dtype_utils import linalg_output_dtype

from jaxlink.dispatch.registry import Function
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.derivatives import undifferentiable
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical
from jaxlink.values.types import describe, name_of

DIVERGED = "the iteration did not converge, or the matrix is not finite"


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
    """Raise unless ``x``, the value of an operand of ``node``, is square."""
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


def refuse(kinds: str, op: Any, var: Any, why: str) -> None:
    """Raise if the dtype of ``var`` is of one of ``kinds`` (NumPy's letters)."""
    if np.dtype(var.type.dtype).kind in kinds:
        raise UnsupportedOpError(
            f"{op} of {name_of(var)}, which is {describe(var.type)}: {why}"
        )


def refuse_integers(op: Any, var: Any, output: str, make: str) -> None:
    refuse(
        "iub",
        op,
        var,
        f"PyTensor declares the {output} as {var.type.dtype} too. {make} "
        f'{name_of(var)}.astype("float64").',
    )


# The Ops whose failure is an error in PyTensor. All others return nan there.
_RAISING = (
    *("Eig", "Eigh", "Eigvalsh", "SVD"),
    *("MatrixInverse", "MatrixPinv", "TensorInv", "TensorSolve"),
)


def demand(node: Any, ok: Any, failure: str) -> None:
    """Raise ``failure`` under ``checkify`` unless the scalar ``ok`` is true."""
    name = type(node.op).__name__
    message = f"{name} of {name_of(node.inputs[0])} failed: {failure}."
    raises = name in _RAISING
    check(ok, f"LinAlgError: {message}" if raises else message, silent=not raises)


def without_gradient(fn: Function, what: str) -> Function:
    """``fn``, which raises an error that names ``what`` if it is differentiated."""
    return undifferentiable(
        fn,
        UnsupportedOpError,
        f"{what} has no gradient, as in PyTensor. Wrap its operands in "
        "pytensor.gradient.disconnected_grad if they are constants of the gradient.",
    )
