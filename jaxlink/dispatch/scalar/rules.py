"""Scalar Ops, which `Elemwise` and `Composite` apply to each element.

Most are rows of a table. For `ARITHMETIC` and `SPECIAL` the operands are cast to the
dtype of the output, because PyTensor computes in that dtype. For `RELATIONS` they are
cast to their common dtype. For `AS_GIVEN`, and for the rules below, they keep their own
dtypes.
"""

from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax import lax
from jax.scipy import special
from pytensor.tensor.math import MulWithoutZeros

from jaxlink.dispatch.registry import Function, find_rule, foreign_conversion, rule
from jaxlink.dispatch.special import SPECIAL
from jaxlink.errors import UnsupportedOpError
from jaxlink.numerics import arithmetic, elementary
from jaxlink.numerics.arithmetic import cast
from jaxlink.values.types import dotted


def variadic(fn: Function) -> Function:
    return lambda *args: reduce(fn, args)


ARITHMETIC: dict[type[ps.ScalarOp], Function] = {
    ps.Add: variadic(jnp.add),
    ps.Mul: variadic(jnp.multiply),
    ps.Sub: jnp.subtract,
    ps.TrueDiv: jnp.true_divide,
    ps.IntDiv: arithmetic.floor_divide,
    ps.Mod: arithmetic.mod,
    ps.Pow: arithmetic.power,
    ps.Neg: jnp.negative,
    ps.Reciprocal: jnp.reciprocal,
    ps.Sqr: jnp.square,
    ps.Sqrt: jnp.sqrt,
    ps.Maximum: arithmetic.maximum,
    ps.Minimum: arithmetic.minimum,
    ps.Clip: arithmetic.clip,
    ps.Identity: lambda x: x,
    ps.Conj: jnp.conj,
    ps.Sign: elementary.sign,
    ps.Ceil: jnp.ceil,
    ps.Floor: jnp.floor,
    ps.Trunc: jnp.trunc,
    ps.RoundHalfToEven: jnp.round,
    ps.RoundHalfAwayFromZero: lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    ps.Exp: jnp.exp,
    ps.Exp2: elementary.exp2,
    ps.Expm1: arithmetic.expm1,
    ps.Log: jnp.log,
    ps.Log2: jnp.log2,
    ps.Log10: jnp.log10,
    ps.Log1p: jnp.log1p,
    ps.Sin: jnp.sin,
    ps.Cos: jnp.cos,
    ps.Tan: jnp.tan,
    ps.ArcSin: jnp.arcsin,
    ps.ArcCos: jnp.arccos,
    ps.ArcTan: jnp.arctan,
    ps.ArcTan2: arithmetic.arctan2,
    ps.Sinh: elementary.sinh,
    ps.Cosh: elementary.cosh,
    ps.Tanh: jnp.tanh,
    ps.ArcSinh: jnp.arcsinh,
    ps.ArcCosh: jnp.arccosh,
    ps.ArcTanh: jnp.arctanh,
    ps.AND: jnp.bitwise_and,
    ps.OR: jnp.bitwise_or,
    ps.XOR: jnp.bitwise_xor,
    ps.Invert: jnp.invert,
    MulWithoutZeros: arithmetic.mul_without_zeros,
}

RELATIONS: dict[type[ps.ScalarOp], Function] = {
    ps.LT: jnp.less,
    ps.GT: jnp.greater,
    ps.LE: jnp.less_equal,
    ps.GE: jnp.greater_equal,
    ps.EQ: jnp.equal,
    ps.NEQ: jnp.not_equal,
    ps.IsNan: jnp.isnan,
    ps.IsInf: jnp.isinf,
}

AS_GIVEN: dict[type[ps.ScalarOp], Function] = {
    ps.Abs: arithmetic.absolute,
    ps.Real: jnp.real,
    ps.Imag: jnp.imag,
    ps.Second: lambda x, y: jnp.broadcast_to(y, jnp.broadcast_shapes(x.shape, y.shape)),
}


def scalar_rule(op: ps.ScalarOp, node: Any) -> Function:
    """Stage two of a scalar Op's rule, which broadcasts as NumPy does."""
    found = find_rule(op)
    assert found is not None
    return found.build(op, node)


@rule(ps.ScalarOp)
def from_table(op: ps.ScalarOp, node: Any) -> Function:
    # Look up the exact class, because a subclass may compute something else.
    fn = ARITHMETIC.get(type(op)) or SPECIAL.get(type(op)) or _named_by_scipy(op)
    if fn is None:
        convert = foreign_conversion(op)
        if convert is None:
            raise UnsupportedOpError(
                f"jaxlink has no rule for the scalar Op {op} "
                f"({dotted(type(op))}). Write one with "
                f"@jaxlink.rule({type(op).__name__}), or remove the Op from the graph."
            )
        return convert(op, node)
    dtype = node.outputs[0].type.dtype
    return lambda *args: cast(fn(*(cast(x, dtype) for x in args)), dtype)


def _named_by_scipy(op: ps.ScalarOp) -> Function | None:
    """The ``jax.scipy.special`` function that a third party's Op names (PyMC's ``I0e``
    does)."""
    if type(op).__module__.split(".")[0] == "pytensor":
        return None
    module, _, name = (getattr(op, "nfunc_spec", None) or [""])[0].rpartition(".")
    return getattr(special, name, None) if module == "scipy.special" else None


@rule(*RELATIONS)
def relation(op: ps.ScalarOp, node: Any) -> Function:
    fn = RELATIONS[type(op)]
    dtypes = [var.type.dtype for var in node.inputs]
    common = np.result_type(*dtypes)
    if common.kind == "f" and all(np.dtype(dtype).kind in "iu" for dtype in dtypes):
        return _signed_and_unsigned(op, fn, np.dtype(dtypes[0]).kind == "i")
    return lambda *args: fn(*(cast(x, common) for x in args))


def _signed_and_unsigned(op: Any, fn: Function, first_signed: bool) -> Function:
    """Compare a signed and an unsigned integer exactly, as NumPy does. As floats, large
    ones would be equal."""
    below = bool(op.impl(-1, 0) if first_signed else op.impl(0, -1))

    def run(x: Any, y: Any) -> Any:
        negative = (x if first_signed else y) < 0
        return jnp.where(negative, below, fn(cast(x, "uint64"), cast(y, "uint64")))

    return run


@rule(*AS_GIVEN)
def as_given(op: ps.ScalarOp, node: Any) -> Function:
    return AS_GIVEN[type(op)]


@rule(ps.Switch)
def switch(op: ps.Switch, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    return lambda condition, x, y: jnp.where(
        condition.astype(bool), cast(x, dtype), cast(y, dtype)
    )


@rule(ps.Cast)
def convert(op: ps.Cast, node: Any) -> Function:
    return lambda x: arithmetic.convert(x, op.o_type.dtype)


@rule(ps.Complex)
def complex_number(op: ps.Complex, node: Any) -> Function:
    part = "float32" if node.outputs[0].type.dtype == "complex64" else "float64"
    return lambda x, y: lax.complex(*jnp.broadcast_arrays(cast(x, part), cast(y, part)))
