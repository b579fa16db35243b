"""Determinants, inverses and functions of matrices."""

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.scipy import linalg as jsl
from pytensor.tensor.linalg.constructors import BlockDiagonal
from pytensor.tensor.linalg.inverse import MatrixInverse, MatrixPinv, TensorInv
from pytensor.tensor.linalg.products import Expm
from pytensor.tensor.linalg.summary import Det, SLogDet

from jaxlink.dispatch.linalg.support import (
    check_square,
    demand,
    in_lapack_dtype,
    refuse_integers,
)
from jaxlink.dispatch.registry import Function, rule
from jaxlink.numerics.linalg.matrices import mirror
from jaxlink.numerics.linalg.pinv import pseudo_inverse
from jaxlink.numerics.linalg.solve import solve_general
from jaxlink.values.static import cast

# Enough for norms up to 2e10. Each squaring takes time, even where it is not needed.
_SQUARINGS = 32


_OF_SQUARE: dict[type, Function] = {
    Det: lambda x: jnp.linalg.det(x) if x.size else jnp.ones((), x.dtype),
    SLogDet: lambda x: tuple(jnp.linalg.slogdet(x)),
    Expm: partial(jsl.expm, max_squarings=_SQUARINGS),
}


@rule(*_OF_SQUARE)
def of_square(op: Any, node: Any) -> Function:
    return in_lapack_dtype(node, _OF_SQUARE[type(op)], square=(0,))


@rule(MatrixInverse)
def matrix_inverse(op: MatrixInverse, node: Any) -> Function:
    def run(x: Any) -> Any:
        inverse, ok = solve_general(x, jnp.eye(x.shape[0], dtype=x.dtype))
        demand(node, ok, "the matrix is singular")
        return inverse

    return in_lapack_dtype(node, run, square=(0,))


@rule(MatrixPinv)
def matrix_pinv(op: MatrixPinv, node: Any) -> Function:
    def run(x: Any) -> Any:
        x = mirror(x, lower=True) if op.hermitian else x
        inverse = pseudo_inverse(x, 1e-15)  # NumPy's cutoff; JAX's own is larger
        demand(node, ~jnp.isnan(inverse).any(), "the matrix is not finite")
        return inverse

    return in_lapack_dtype(node, run)


@rule(TensorInv)
def tensorinv(op: TensorInv, node: Any) -> Function:
    refuse_integers(op, node.inputs[0], "inverse", "Invert")

    def run(x: Any) -> Any:
        left, right = x.shape[: op.ind], x.shape[op.ind :]
        size = math.prod(left)
        matrix = x.reshape(size, -1)
        check_square(node, matrix)
        inverse, ok = solve_general(matrix, jnp.eye(size, dtype=x.dtype))
        demand(node, ok, "the tensor is singular")
        return inverse.reshape(*right, *left)

    return in_lapack_dtype(node, run)


@rule(BlockDiagonal)
def block_diagonal(op: BlockDiagonal, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    return lambda *xs: jsl.block_diag(*(cast(x, dtype) for x in xs))
