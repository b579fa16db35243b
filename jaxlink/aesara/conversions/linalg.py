"""Linear algebra: decompositions, solvers, BLAS, Fourier transforms."""

from typing import Any

import numpy as np
import pytensor.tensor as pt
import pytensor.tensor.linalg as linalg
from pytensor.gradient import pullback
from pytensor.graph.basic import Variable
from pytensor.tensor.fft import IRFFTOp, RFFTOp
from pytensor.tensor.fourier import Fourier
from pytensor.tensor.signal.conv import convolve1d

from jaxlink.aesara.conversions.tensor import constant_of
from jaxlink.aesara.parts import Node, Rows, same

__all__ = ["ROWS"]


def _eigh(node: Node) -> list[Variable]:
    return linalg.Eigh(lower=node.op["UPLO"] == "L").make_node(*node.inputs).outputs


def _eig(node: Node) -> list[Variable]:
    """Aesara declares them to be real. They are NaN where they are not."""
    made = linalg.eig(*node.inputs)
    if node.types[0].dtype.startswith("complex"):
        return list(made)
    return [pt.switch(pt.eq(pt.imag(z), 0), pt.real(z), np.nan) for z in made]


def _qr(node: Node) -> Any:
    """In NumPy's modes: `r` has as many rows as it needs."""
    mode = node.op["mode"]
    q, r = linalg.qr(*node.inputs, mode="full" if mode == "complete" else "economic")
    return r if mode == "r" else [q, r]


def _lstsq(node: Node) -> list[Variable]:
    x, y, rcond = node.inputs
    y = y if y.type.ndim == 2 else y[:, None]
    return linalg.Lstsq().make_node(x, y, rcond).outputs


def _solve(node: Node) -> Variable:
    a, b = node.inputs
    # Aesara's "sym" and "her" read the triangle that `lower` names, as PyTensor's do.
    options = {name: node.op[name] for name in ("assume_a", "lower")}
    return linalg.solve(a, b, **options, b_ndim=b.type.ndim)


def _solve_triangular(node: Node) -> Variable:
    a, b = node.inputs
    options = {name: node.op[name] for name in ("lower", "trans", "unit_diagonal")}
    return linalg.solve_triangular(a, b, **options, b_ndim=b.type.ndim)


def _cholesky_solve(node: Node) -> Variable:
    c, b = node.inputs
    return linalg.cho_solve((c, node.op["lower"]), b, b_ndim=b.type.ndim)


def _bilinear_lyapunov(node: Node) -> Variable:
    return linalg.solve_discrete_lyapunov(*node.inputs, method="bilinear")


def _eigh_grad(node: Node) -> Variable:
    x, values, vectors, *cotangents = node.inputs
    del values, vectors
    outputs = linalg.Eigh(lower=node.op["UPLO"] == "L").make_node(x).outputs
    return pullback(outputs, x, cotangents)


def _eigvalsh_grad(node: Node) -> list[Variable]:
    a, b, cotangent = node.inputs
    values = linalg.Eigvalsh(lower=node.op["lower"])(a, b)
    return pullback(values, [a, b], cotangent)


def _expm_grad(node: Node) -> Variable:
    a, cotangent = node.inputs
    return pullback(linalg.expm(a), a, cotangent)


def _gemm(node: Node) -> Variable:
    z, alpha, x, y, beta = node.inputs
    return beta * z + alpha * pt.dot(x, y)


def _gemv(node: Node) -> Variable:
    y, alpha, a, x, beta = node.inputs
    return beta * y + alpha * pt.dot(a, x)


def _ger(node: Node) -> Variable:
    a, alpha, x, y = node.inputs
    return a + alpha * pt.outer(x, y)


def _dot22_scalar(node: Node) -> Variable:
    x, y, a = node.inputs
    return a * pt.dot(x, y)


def _convolve(node: Node) -> Variable:
    return convolve1d(*node.inputs, mode=node.op["mode"])


def _fourier(node: Node) -> Any:
    a, n, axis = node.inputs
    axis = int(constant_of(node, 2, "axis"))
    return Fourier().make_node(a, n, axis).outputs


ROWS: Rows = {
    "tensor.Det": same(linalg.Det),
    "tensor.Eig": _eig,
    "tensor.Eigh": _eigh,
    "tensor.EighGrad": _eigh_grad,
    "tensor.Lstsq": _lstsq,
    "tensor.MatrixInverse": same(linalg.MatrixInverse),
    "tensor.Inv": same(linalg.MatrixInverse),
    "tensor.MatrixPinv": same(linalg.MatrixPinv, "hermitian"),
    "tensor.QRFull": _qr,
    "tensor.SVD": same(linalg.SVD, "full_matrices", "compute_uv"),
    "tensor.TensorInv": same(linalg.TensorInv, "ind"),
    "tensor.TensorSolve": same(linalg.TensorSolve, "axes"),
    "tensor.Cholesky": same(linalg.Cholesky, "lower"),
    "tensor.CholeskySolve": _cholesky_solve,
    "tensor.Eigvalsh": same(linalg.Eigvalsh, "lower"),
    "tensor.EigvalshGrad": _eigvalsh_grad,
    "tensor.Expm": same(linalg.Expm),
    "tensor.ExpmGrad": _expm_grad,
    "tensor.Solve": _solve,
    "tensor.SolveTriangular": _solve_triangular,
    "tensor.SolveContinuousLyapunov": lambda node: linalg.solve_continuous_lyapunov(
        *node.inputs
    ),
    "tensor.BilinearSolveDiscreteLyapunov": _bilinear_lyapunov,
    "tensor.BatchedDot": lambda node: pt.matmul(*node.inputs),
    "tensor.Dot22": lambda node: pt.dot(*node.inputs),
    "tensor.Dot22Scalar": _dot22_scalar,
    "tensor.Gemm": _gemm,
    "tensor.Gemv": _gemv,
    "tensor.CGemv": _gemv,
    "tensor.Ger": _ger,
    "tensor.CGer": _ger,
    "tensor.ScipyGer": _ger,
    "tensor.Convolve": _convolve,
    "tensor.RFFTOp": same(RFFTOp),
    "tensor.IRFFTOp": same(IRFFTOp),
    "tensor.Fourier": _fourier,
}
