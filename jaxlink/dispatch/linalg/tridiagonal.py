"""Tridiagonal systems."""

from typing import Any

import jax.numpy as jnp
from pytensor.tensor.linalg.solvers.tridiagonal import (
    LUFactorTridiagonal,
    SolveLUFactorTridiagonal,
)

from jaxlink.dispatch.linalg.support import demand
from jaxlink.dispatch.registry import Function, rule
from jaxlink.numerics.linalg.tridiagonal import (
    lu_factor_tridiagonal,
    lu_solve_tridiagonal,
)
from jaxlink.values.static import canonical

_SINGULAR = "the matrix is singular"


@rule(LUFactorTridiagonal)
def lu_factor(op: LUFactorTridiagonal, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(*diagonals: Any) -> Any:
        diagonals = tuple(jnp.asarray(x, canonical(dtype)) for x in diagonals)
        factors = lu_factor_tridiagonal(*diagonals)
        d = factors[1]
        if d.shape[0] > 1:
            demand(node, (d != 0).all(), _SINGULAR)
        return factors

    return run


@rule(SolveLUFactorTridiagonal)
def lu_solve(op: SolveLUFactorTridiagonal, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(dl: Any, d: Any, du: Any, du2: Any, pivots: Any, b: Any) -> Any:
        dl, d, du, du2, b = (
            jnp.asarray(x, canonical(dtype)) for x in (dl, d, du, du2, b)
        )
        if b.size == 0:
            return b
        demand(node, (d != 0).all(), _SINGULAR)
        return lu_solve_tridiagonal(dl, d, du, du2, pivots, b, op.transposed)

    return run
