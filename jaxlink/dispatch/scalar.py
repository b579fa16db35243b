"""Scalar Ops: what `Elemwise` and `Composite` compute an element with.

Most are rows of two tables. `ARITHMETIC` and `SPECIAL` cast the operands to the dtype
of the output, which is where PyTensor computes; `RELATIONS` cast them to their common
dtype. The rest, whose operands keep dtypes of their own, are rules below.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax import lax
from jax.scipy import special
from pytensor.tensor.math import MulWithoutZeros

from jaxlink.dispatch.registry import find_rule, foreign_conversion, rule
from jaxlink.dispatch.special import SPECIAL
from jaxlink.errors import UnsupportedOpError
from jaxlink.static import canonical

__all__ = ["ARITHMETIC", "RELATIONS", "cast", "scalar_rule"]

Function = Callable[..., Any]


def cast(x: Any, dtype: Any) -> Any:
    """``x`` in the dtype that JAX uses for ``dtype``; NumPy stays NumPy."""
    dtype = canonical(dtype)
    return x if x.dtype == dtype else x.astype(dtype)


def variadic(fn: Function) -> Function:
    return lambda *args: reduce(fn, args)


def maximum(x: Any, y: Any) -> Any:
    # The first operand wins a tie and takes all of the gradient, as in PyTensor.
    return jnp.where((x >= y) | _isnan(x), x, y)


def minimum(x: Any, y: Any) -> Any:
    return jnp.where((x <= y) | _isnan(x), x, y)


def _isnan(x: Any) -> Any:
    return x != x


def clip(x: Any, low: Any, high: Any) -> Any:
    # Not jnp.clip: where low > high, low wins.
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def floor_divide(x: Any, y: Any) -> Any:
    x, y = lax.stop_gradient((x, y))
    return _zero_over_zero(jnp.floor_divide, x, y)


def mod(x: Any, y: Any) -> Any:
    return _zero_over_zero(jnp.mod, x, y)


def _zero_over_zero(fn: Function, x: Any, y: Any) -> Any:
    """Integers divided by zero give zero, as in NumPy."""
    if x.dtype.kind == "f":
        return fn(x, y)
    if x.dtype.kind == "b":
        return _zero_over_zero(fn, x.astype("int8"), y.astype("int8")).astype(bool)
    zero = y == 0
    return jnp.where(zero, jnp.zeros_like(y), fn(x, jnp.where(zero, 1, y)))


def power(x: Any, y: Any) -> Any:
    exponent = _integer(y)
    # The gradient of a whole power is finite at zero, that of exp(y log(x)) is not.
    return jnp.power(x, y) if exponent is None else lax.integer_pow(x, exponent)


def _integer(y: Any) -> int | None:
    """The value of ``y`` if it is known, one for all elements, whole and small."""
    if not isinstance(y, np.ndarray | np.generic) or y.dtype.kind == "c" or not y.size:
        return None
    exponent = float(y.flat[0])
    if not (exponent.is_integer() and abs(exponent) <= 64 and (y == exponent).all()):
        return None
    # An integer to a negative power is no integer: PyTensor raises, JAX does not.
    return None if exponent < 0 and y.dtype.kind != "f" else int(exponent)


@jax.custom_jvp
def expm1(x: Any) -> Any:
    return jnp.expm1(x)


# JAX 0.11 differentiates to expm1(x) + 1, which loses its digits far below zero.
expm1.defjvps(lambda t, ans, x: t * jnp.exp(x))


def mul_without_zeros(x: Any, y: Any) -> Any:
    return jnp.where(x == 0, y, jnp.where(y == 0, x, x * y))


ARITHMETIC: dict[type[ps.ScalarOp], Function] = {
    ps.Add: variadic(jnp.add),
    ps.Mul: variadic(jnp.multiply),
    ps.Sub: jnp.subtract,
    ps.TrueDiv: jnp.true_divide,
    ps.IntDiv: floor_divide,
    ps.Mod: mod,
    ps.Pow: power,
    ps.Neg: jnp.negative,
    ps.Reciprocal: jnp.reciprocal,
    ps.Sqr: jnp.square,
    ps.Sqrt: jnp.sqrt,
    ps.Maximum: maximum,
    ps.Minimum: minimum,
    ps.Clip: clip,
    ps.Identity: lambda x: x,
    ps.Conj: jnp.conj,
    ps.Sign: jnp.sign,
    ps.Ceil: jnp.ceil,
    ps.Floor: jnp.floor,
    ps.Trunc: jnp.trunc,
    ps.RoundHalfToEven: jnp.round,
    ps.RoundHalfAwayFromZero: lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    ps.Exp: jnp.exp,
    ps.Exp2: jnp.exp2,
    ps.Expm1: expm1,
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
    ps.ArcTan2: jnp.arctan2,
    ps.Sinh: jnp.sinh,
    ps.Cosh: jnp.cosh,
    ps.Tanh: jnp.tanh,
    ps.ArcSinh: jnp.arcsinh,
    ps.ArcCosh: jnp.arccosh,
    ps.ArcTanh: jnp.arctanh,
    ps.AND: jnp.bitwise_and,
    ps.OR: jnp.bitwise_or,
    ps.XOR: jnp.bitwise_xor,
    ps.Invert: jnp.invert,
    MulWithoutZeros: mul_without_zeros,
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


def scalar_rule(op: ps.ScalarOp, node: Any) -> Function:
    """Stage two of the rule of a scalar Op; it broadcasts as NumPy does."""
    found = find_rule(op)
    assert found is not None
    return found.build(op, node)


@rule(ps.ScalarOp)
def from_table(op: ps.ScalarOp, node: Any) -> Function:
    # By the exact class: a subclass may compute something else.
    fn = ARITHMETIC.get(type(op)) or SPECIAL.get(type(op)) or _named_by_scipy(op)
    if fn is None:
        convert = foreign_conversion(op)
        if convert is None:
            raise UnsupportedOpError(
                f"jaxlink has no function for the scalar Op {op} "
                f"({type(op).__module__}.{type(op).__qualname__}). Write one with "
                f"@jaxlink.rule({type(op).__name__}), or rewrite the graph without it."
            )
        return convert(op, node)
    dtype = node.outputs[0].type.dtype
    return lambda *args: cast(fn(*(cast(x, dtype) for x in args)), dtype)


def _named_by_scipy(op: ps.ScalarOp) -> Function | None:
    """For others' Ops, such as PyMC's ``I0e``, that say which function they are."""
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
    """NumPy compares these exactly; as floats, large ones would be equal."""
    below = bool(op.impl(-1, 0) if first_signed else op.impl(0, -1))

    def run(x: Any, y: Any) -> Any:
        negative = (x if first_signed else y) < 0
        return jnp.where(negative, below, fn(cast(x, "uint64"), cast(y, "uint64")))

    return run


@rule(ps.Switch)
def switch(op: ps.Switch, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype
    return lambda condition, x, y: jnp.where(
        condition.astype(bool), cast(x, dtype), cast(y, dtype)
    )


@rule(ps.Second)
def second(op: ps.Second, node: Any) -> Function:
    def run(x: Any, y: Any) -> Any:
        return jnp.broadcast_to(y, jnp.broadcast_shapes(x.shape, y.shape))

    return run


@rule(ps.Cast)
def convert(op: ps.Cast, node: Any) -> Function:
    to = np.dtype(op.o_type.dtype)
    from_kind = np.dtype(node.inputs[0].type.dtype).kind

    def run(x: Any) -> Any:
        x = jnp.asarray(x)
        if from_kind == "f" and to.kind in "iu":
            # C wraps where JAX saturates. (What does not fit 64 bits is undefined.)
            wrapped = x.astype(canonical("int64")).astype(canonical(to))
            if to != np.uint64:
                return wrapped
            return jnp.where(x < 0, wrapped, x.astype(canonical(to)))
        return x.astype(canonical(to))

    return run


@rule(ps.Abs)
def absolute(op: ps.Abs, node: Any) -> Function:
    if np.dtype(node.inputs[0].type.dtype).kind != "f":
        return jnp.abs
    # The gradient at zero is zero, as in PyTensor, where that of jnp.abs is one.
    return lambda x: x * lax.stop_gradient(jnp.sign(x))


@rule(ps.Real)
def real(op: ps.Real, node: Any) -> Function:
    return jnp.real


@rule(ps.Imag)
def imag(op: ps.Imag, node: Any) -> Function:
    return jnp.imag


@rule(ps.Complex)
def complex_number(op: ps.Complex, node: Any) -> Function:
    part = "float32" if node.outputs[0].type.dtype == "complex64" else "float64"
    return lambda x, y: lax.complex(*jnp.broadcast_arrays(cast(x, part), cast(y, part)))
