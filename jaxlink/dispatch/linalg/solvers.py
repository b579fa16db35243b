"""Linear systems and least squares.

A system without a solution gives nan, as in PyTensor, and an error under ``checkify``.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax.scipy import linalg as jsl
from pytensor.tensor.linalg.solvers.general import Solve
from pytensor.tensor.linalg.solvers.lstsq import Lstsq, TensorSolve
from pytensor.tensor.linalg.solvers.psd import CholeskySolve
from pytensor.tensor.linalg.solvers.triangular import SolveTriangular

from jaxlink.dispatch.linalg.support import (
    check_rows,
    check_square,
    demand,
    in_lapack_dtype,
    refuse,
)
from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.linalg.decompositions import lower_cholesky
from jaxlink.numerics.linalg.matrices import mirror, nan_unless
from jaxlink.numerics.linalg.solve import least_squares, solve_general
from jaxlink.values.static import canonical
from jaxlink.values.types import describe


@rule(Solve)
def solve(op: Solve, node: Any) -> Function:
    def general(a: Any, b: Any) -> Any:
        x, ok = solve_general(a, b)
        demand(node, ok, "the matrix is singular")
        return x

    def positive(a: Any, b: Any) -> Any:
        factor, ok = lower_cholesky(mirror(a, op.lower))
        demand(node, ok, "the matrix is not positive definite")
        return jsl.cho_solve((factor, True), b)

    # A banded matrix is a general one: LAPACK's bands only save time.
    solvers = {
        "gen": general,
        "banded": general,
        "sym": lambda a, b: general(mirror(a, op.lower, jnp.matrix_transpose), b),
        "her": lambda a, b: general(mirror(a, op.lower), b),
        "pos": positive,
        "tridiagonal": lambda a, b: general(jnp.triu(jnp.tril(a, 1), -1), b),
    }
    if op.assume_a not in solvers:
        raise UnsupportedOpError(f"jaxlink cannot solve with assume_a={op.assume_a!r}.")
    return in_lapack_dtype(node, solvers[op.assume_a], square=(0,), rows=(0, 1))


_ZERO_DIAGONAL = "an element of the diagonal is zero"


@rule(SolveTriangular)
def solve_triangular(op: SolveTriangular, node: Any) -> Function:
    def run(a: Any, b: Any) -> Any:
        x = jsl.solve_triangular(
            a, b, lower=op.lower, unit_diagonal=op.unit_diagonal, check_finite=False
        )
        if op.unit_diagonal:
            return x
        ok = (jnp.diagonal(a) != 0).all()
        demand(node, ok, _ZERO_DIAGONAL)
        return nan_unless(ok, x)

    return in_lapack_dtype(node, run, square=(0,), rows=(0, 1))


@rule(CholeskySolve)
def cholesky_solve(op: CholeskySolve, node: Any) -> Function:
    def run(c: Any, b: Any) -> Any:
        demand(node, (jnp.diagonal(c) != 0).all(), _ZERO_DIAGONAL)
        return jsl.cho_solve((c, op.lower), b)

    return in_lapack_dtype(node, run, square=(0,), rows=(0, 1))


@rule(TensorSolve)
def tensorsolve(op: TensorSolve, node: Any) -> Function:
    a, b = node.inputs
    dtype = node.outputs[0].type.dtype
    if a.type.ndim - b.type.ndim != 2 or dtype.startswith(("int", "uint", "bool")):
        raise UnsupportedOpError(
            f"{op} of {describe(a.type)} and {describe(b.type)}: PyTensor declares its "
            f"output as {describe(node.outputs[0].type)}, which it is not. Reshape to "
            "matrices and use pytensor.tensor.linalg.solve."
        )

    def run(a: Any, b: Any) -> Any:
        if op.axes is not None:
            axes = {axis % a.ndim for axis in op.axes}
            rest = [axis for axis in range(a.ndim) if axis not in axes]
            a = jnp.transpose(a, (*rest, *(axis % a.ndim for axis in op.axes)))
        known, unknown = a.shape[: b.ndim], a.shape[b.ndim :]
        matrix = a.reshape(math.prod(known), -1)
        b = b.reshape(-1)
        check_square(node, matrix)
        check_rows(node, [matrix, b])
        x, ok = solve_general(matrix, b)
        demand(node, ok, "the tensor is singular")
        return x.reshape(unknown)

    return in_lapack_dtype(node, run)


@rule(Lstsq)
def lstsq(op: Lstsq, node: Any) -> Function:
    """PyTensor declares all outputs as float64, so it is computed in that."""
    x, y, _ = node.inputs
    if y.type.ndim != 2 or x.type.ndim != 2:
        raise UnsupportedOpError(
            f"{op} of {describe(x.type)} and {describe(y.type)}: PyTensor declares the "
            "solution as a matrix. Write lstsq(x, y[:, None], rcond)."
        )
    for var in node.inputs:
        refuse("c", op, var, "PyTensor declares the solution as real. Use pinv(x) @ y.")

    def run(x: Any, y: Any, rcond: Any) -> Any:
        dtype = canonical("float64")
        x, y, rcond = (jnp.asarray(v, dtype) for v in (x, y, rcond))
        check_rows(node, [x, y])
        solution, residuals, rank, values = least_squares(x, y, rcond)
        demand(node, ~jnp.isnan(values).any(), "the matrix is not finite")
        m, n = x.shape
        if m > n:
            demand(node, rank == n, "residuals are known for full column rank only")
        return solution, residuals, rank.astype("int32"), values

    return run
