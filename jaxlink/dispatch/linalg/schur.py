"""Schur forms, QZ, and the Sylvester equation between Schur forms.

On a CPU JAX calls LAPACK for the Schur form. It has no QZ and no Schur form on an
accelerator, and it cannot order the eigenvalues. For these, PyTensor's own
``Op.perform`` (SciPy) calls LAPACK on the host. That has a price: each call waits for
Python, an accelerator sends its matrices to the host and waits for the factors, and
`jax.export` refuses a program that calls the host.

The bases are not unique, and a rounding error may change them completely. So they have
no gradient, as in PyTensor. TRSYL has one, and so do functions that use the bases
(`solve_sylvester`, `solve_discrete_are`).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.tensor.linalg.decomposition.schur import QZ, Schur
from pytensor.tensor.linalg.solvers.linear_control import TRSYL

from jaxlink.dispatch.linalg.support import (
    DIVERGED,
    check_rows,
    check_square,
    demand,
    without_gradient,
)
from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.linalg.matrices import nan_unless
from jaxlink.numerics.linalg.sylvester import solve_quasi_triangular_sylvester
from jaxlink.values.static import canonical
from jaxlink.values.types import describe

_NOT_ORDERED = f"{DIVERGED}, or its eigenvalues are too close to be put in order"


@rule(QZ, Schur)
def schur(op: Any, node: Any) -> Function:
    dtypes = [canonical(out.type.dtype) for out in node.outputs]
    factorize = _on_host(op, node, dtypes)
    if isinstance(op, Schur) and op.sort is None:
        factorize = partial(_in_program, factorize)
    factorize = without_gradient(factorize, type(op).__name__)
    failure = DIVERGED if op.sort is None else _NOT_ORDERED

    def run(*operands: Any) -> Any:
        matrices = [jnp.asarray(x, dtypes[0]) for x in operands]
        for i, matrix in enumerate(matrices):
            check_square(node, matrix, i)
        check_rows(node, matrices)
        if matrices[0].size == 0:
            shapes = ((0,) * out.type.ndim for out in node.outputs)
            return tuple(map(jnp.zeros, shapes, dtypes))
        outs = factorize(*matrices)
        demand(node, ~jnp.isnan(outs[0]).any(), failure)
        return outs

    return run


def _in_program(on_host: Function, a: Any) -> tuple[Any, ...]:
    finite = jnp.isfinite(a).all()
    outs = lax.platform_dependent(
        jnp.where(finite, a, 0),
        cpu=lambda a: tuple(lax.linalg.schur(a)),
        default=on_host,
    )
    return tuple(nan_unless(finite, out) for out in outs)


def _on_host(op: Any, node: Any, dtypes: list[np.dtype]) -> Function:
    """``op.perform`` as a function of JAX arrays: one call for a whole batch."""

    def perform(*matrices: Any) -> tuple[Any, ...]:
        if not all(np.isfinite(x).all() for x in matrices):  # QZ does not check
            n = len(matrices[0])
            return tuple(np.full((n,) * out.type.ndim, np.nan) for out in node.outputs)
        cells: list[list[Any]] = [[None] for _ in node.outputs]
        with np.errstate(all="ignore"):
            op.perform(node, matrices, cells)
        return tuple(cell for (cell,) in cells)

    over_batch = np.vectorize(perform, dtypes, signature=op.gufunc_signature)

    def run(*matrices: Any) -> Any:
        shapes = (matrices[0].shape[: out.type.ndim] for out in node.outputs)
        results = tuple(map(jax.ShapeDtypeStruct, shapes, dtypes))
        return jax.pure_callback(
            over_batch, results, *matrices, vmap_method="expand_dims"
        )

    return run


@rule(TRSYL)
def trsyl(op: TRSYL, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    if dtype.startswith(("int", "uint", "bool")):
        raise UnsupportedOpError(
            f"{op}: PyTensor declares the solution as {describe(node.outputs[0].type)}."
            " Cast the operands to float64."
        )

    def run(*operands: Any) -> Any:
        a, b, c = (jnp.asarray(x, canonical(dtype)) for x in operands)
        check_square(node, a)
        check_square(node, b, 1)
        check_rows(node, [a, c])
        check_rows(node, [b, c.T])
        if c.size == 0:
            return c
        x = solve_quasi_triangular_sylvester(a, b, c)
        demand(node, jnp.isfinite(x).all(), "A and -B share an eigenvalue")
        return x

    return run
