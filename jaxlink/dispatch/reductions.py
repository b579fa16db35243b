"""Reductions (`CAReduce`), `Argmax`, and cumulative sums and products."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax import lax
from pytensor.tensor.elemwise import CAReduce
from pytensor.tensor.extra_ops import CumOp
from pytensor.tensor.math import Argmax, MulWithoutZeros

from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics.arithmetic import convert
from jaxlink.numerics.reductions import attained_at, extremum, prod_without_zeros
from jaxlink.ops.attained import Attained, ReadAttained
from jaxlink.values.static import canonical


def _bitwise(reduce: Function) -> Function:
    return lambda x, axis: reduce(x, range(x.ndim) if axis is None else axis)


# Each function takes (x, axis) and returns an array of x's dtype.
REDUCTIONS: dict[type[ps.ScalarOp], Function] = {
    ps.Add: lambda x, axis: jnp.sum(x, axis=axis, dtype=x.dtype),
    ps.Mul: lambda x, axis: jnp.prod(x, axis=axis, dtype=x.dtype),
    MulWithoutZeros: prod_without_zeros,
    ps.Maximum: lambda x, axis: extremum(jnp.max, x, axis),
    ps.Minimum: lambda x, axis: extremum(jnp.min, x, axis),
    ps.AND: _bitwise(lax.reduce_and),
    ps.OR: _bitwise(lax.reduce_or),
    ps.XOR: _bitwise(lax.reduce_xor),
}

# These are exact in their operand's dtype. The others need the accumulator's dtype.
_EXACT = (ps.Maximum, ps.Minimum, ps.AND, ps.OR, ps.XOR)


@rule(CAReduce)
def reduction(op: CAReduce, node: Any) -> Function:
    scalar_op = type(op.scalar_op)
    if scalar_op not in REDUCTIONS:
        raise UnsupportedOpError(f"jaxlink has no reduction with {op.scalar_op}: {op}.")
    fn: Function = REDUCTIONS[scalar_op]
    axis = op.axis
    to = node.outputs[0].type.dtype
    exact = scalar_op in _EXACT
    within = node.inputs[0].type.dtype if exact else op.acc_dtype or to
    if getattr(op, "initial", False):
        extreme = {ps.Maximum: jnp.max, ps.Minimum: jnp.min}[scalar_op]

        def fn(x: Any, axis: Any) -> Any:
            return extremum(extreme, x, axis, initial=op.initial_value(x.dtype))

    return lambda x: convert(fn(jnp.asarray(x, canonical(within)), axis), to)


@rule(Argmax)
def argmax(op: Argmax, node: Any) -> Function:
    ndim = node.inputs[0].type.ndim
    axes = tuple(range(ndim)) if op.axis is None else op.axis
    kept = tuple(i for i in range(ndim) if i not in axes)

    def run(x: Any) -> Any:
        x = jnp.transpose(x, kept + axes)
        x = x.reshape(*x.shape[: len(kept)], -1) if x.size or not axes else x
        if not axes:
            return jnp.zeros(x.shape, canonical("int64"))
        if x.dtype.kind == "c":  # JAX orders complex numbers in max but not in argmax
            greatest = x == jnp.max(x, axis=-1, keepdims=True)
            x = jnp.where(jnp.isnan(x), 2, greatest.astype("int32"))
        return jnp.argmax(x, axis=-1).astype(canonical("int64"))

    return run


@rule(CumOp)
def cumulative(op: CumOp, node: Any) -> Function:
    fn = jnp.cumsum if op.mode == "add" else jnp.cumprod
    if node.inputs[0].type.dtype == "bool":
        return lambda x: fn(x.astype("int32"), axis=op.axis).astype(bool)
    return lambda x: fn(x, axis=op.axis, dtype=x.dtype)


@rule(Attained)
def attained(op: Attained, node: Any) -> Function:
    reduce = reduction(op.reduction, op.reduction.make_node(*node.inputs))

    @jax.custom_jvp
    def run(x: Any) -> Any:
        return attained_at(x, reduce(x), op.reduction.axis)

    @run.defjvp
    def run_jvp(primals: Any, tangents: Any) -> Any:
        del tangents
        where = lax.optimization_barrier(run(*lax.optimization_barrier(primals)))
        return where, np.zeros(where.shape, jax.dtypes.float0)

    return lambda x: run(jnp.asarray(x))


@rule(ReadAttained)
def read_attained(op: ReadAttained, node: Any) -> Function:
    reduce = reduction(op.reduction, op.reduction.make_node(node.inputs[0]))

    @jax.custom_jvp
    def run(x: Any, attained: Any) -> Any:
        return reduce(x)

    @run.defjvp
    def run_jvp(primals: Any, tangents: Any) -> Any:
        kept = jnp.where(primals[1], tangents[0], 0)
        return run(*primals), jnp.sum(kept, axis=op.reduction.axis)

    return lambda x, attained: run(jnp.asarray(x), attained)
