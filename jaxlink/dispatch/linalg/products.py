"""Products of matrices, including the BLAS calls that PyTensor's rewrites make."""

from typing import Any

import jax.numpy as jnp
from pytensor.tensor.blas.batched import BatchedDot
from pytensor.tensor.blas.gemm import Dot22, Dot22Scalar, Gemm
from pytensor.tensor.blas.gemv import Gemv
from pytensor.tensor.math import Dot

from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.static import cast


def _matmul(node: Any, x: Any, y: Any) -> Any:
    if x.shape[-1] != y.shape[max(y.ndim - 2, 0)]:
        raise ValueError(
            f"{node.op} cannot multiply operands of shapes {x.shape} and {y.shape}: "
            f"{x.shape[-1]} columns and {y.shape[max(y.ndim - 2, 0)]} rows."
        )
    return jnp.matmul(x, y)


@rule(Dot, Dot22)
def dot(op: Any, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    return lambda x, y: _matmul(node, *(cast(a, dtype) for a in (x, y)))


@rule(BatchedDot)
def batched_dot(op: BatchedDot, node: Any) -> Function:
    def run(x: Any, y: Any) -> Any:
        if x.shape[0] != y.shape[0]:
            raise ValueError(f"{op} got {x.shape[0]} and {y.shape[0]} matrices.")
        return _matmul(node, x, y)

    return run


@rule(Dot22Scalar)
def scaled_dot(op: Dot22Scalar, node: Any) -> Function:
    return lambda x, y, scale: scale * _matmul(node, x, y)


def _scaled_sum(z: Any, beta: Any, alpha: Any, product: Any) -> Any:
    """beta z + alpha product. If beta is zero, z may hold anything, even nan."""
    unread = (beta == 0) & ~jnp.isfinite(z)
    return beta * jnp.where(unread, 0, z) + alpha * product


@rule(Gemm)
def gemm(op: Gemm, node: Any) -> Function:
    return lambda z, alpha, x, y, beta: _scaled_sum(z, beta, alpha, _matmul(node, x, y))


@rule(Gemv)
def gemv(op: Gemv, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(*operands: Any) -> Any:
        y, alpha, a, x, beta = (cast(o, dtype) for o in operands)
        return _scaled_sum(y, beta, alpha, _matmul(node, a, x))

    return run
