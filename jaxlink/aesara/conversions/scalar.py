"""Scalar Ops, on their own and under `Elemwise`.

A row gives a function of PyTensor scalars. Mostly that is the scalar Op itself. Where
PyTensor has no such Op, the function builds it from others.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.scalar.basic as basic
import pytensor.scalar.math as special
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors, toposort
from pytensor.tensor.basic import get_underlying_scalar_constant_value
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.exceptions import NotScalarConstantError
from pytensor.tensor.math import mul_without_zeros

from jaxlink.aesara.archive import damaged
from jaxlink.aesara.parts import Node, OldOp, Rows

__all__ = ["ROWS", "SCALARS", "is_scalar", "scalar_node", "scalar_op"]

# Takes the old Op, returns the function of scalars.
ScalarRow = Callable[[OldOp], Callable[..., Any]]


def _scalars(*ops: basic.ScalarOp) -> dict[str, ScalarRow]:
    """Rows for Ops whose classes have Aesara's names."""
    return {type(op).__name__: _call(op) for op in ops}


def _call(fn: Callable[..., Any]) -> ScalarRow:
    """The row of a formula."""

    def row(old: OldOp) -> Callable[..., Any]:
        del old
        return fn

    return row


def _in_range(old: OldOp) -> Callable[..., Any]:
    above = ps.gt if old["openlow"] else ps.ge
    below = ps.lt if old["openhi"] else ps.le
    return lambda x, low, high: ps.and_(above(x, low), below(x, high))


def _composite(old: OldOp) -> Callable[..., Any]:
    inner = old.subgraph

    def composite(*inputs: Any) -> Any:
        replace = dict(zip(inner.inputs, inputs, strict=True))
        outputs = graph_replace(inner.outputs, replace, strict=False)
        return outputs[0] if len(outputs) == 1 else outputs

    return composite


def _beta_inc_der(p: Any, q: Any, x: Any, wrt_p: Any) -> Any:
    if not isinstance(wrt_p, Constant):
        raise damaged("`scalar.BetaIncDer` does not say by which argument")
    return special.betainc_grad(p, q, x, bool(wrt_p.data))


def _hyp2f1_der(a: Any, b: Any, c: Any, z: Any, wrt: Any) -> Any:
    if not isinstance(wrt, Constant):
        raise damaged("`scalar.Hyp2F1Der` does not say by which argument")
    (derivative,) = special.hyp2f1_grad(a, b, c, z, wrt=(int(wrt.data),))
    return derivative


def _mean(*values: Any) -> Any:
    return ps.true_div(ps.add(*values), len(values))


def _polar(radius: Any, angle: Any) -> Any:
    return ps.complex(radius * ps.cos(angle), radius * ps.sin(angle))


def _x_log_y(x: Any, y: Any) -> Any:
    product = x * ps.log(y)
    return ps.switch(ps.eq(x, 0), 0, product)


SCALARS: dict[str, ScalarRow] = {
    **_scalars(
        *(ps.lt, ps.gt, ps.le, ps.ge, ps.eq, ps.neq, ps.isnan, ps.isinf),
        *(ps.switch, ps.or_, ps.xor, ps.and_, ps.invert, ps.clip, ps.second),
        *(ps.add, ps.mul, ps.sub, ps.mod, ps.pow, ps.abs, ps.neg, ps.reciprocal),
        *(ps.identity, ps.ceil, ps.floor, ps.trunc, ps.round_half_to_even),
        *(ps.round_half_away_from_zero, ps.sqr, ps.sqrt, ps.exp, ps.exp2, ps.expm1),
        *(ps.log, ps.log2, ps.log10, ps.log1p, ps.cos, ps.arccos, ps.sin, ps.arcsin),
        *(ps.tan, ps.arctan, ps.arctan2, ps.cosh, ps.arccosh, ps.sinh, ps.arcsinh),
        *(ps.tanh, ps.arctanh, ps.real, ps.imag, ps.conj, ps.complex),
        *(special.erf, special.erfc, special.erfcx, special.erfinv, special.erfcinv),
        *(special.owens_t, special.gamma, special.gammaln, special.psi),
        *(special.tri_gamma, special.gammainc, special.gammaincc, special.j0),
        *(special.j1, special.jv, special.i0, special.i1, special.sigmoid),
        *(special.softplus, special.log1mexp, special.betainc, special.hyp2f1),
    ),
    "Sgn": _call(ps.sign),
    "TrueDivide": _call(ps.true_div),
    "TrueDiv": _call(ps.true_div),
    "FloorDivide": _call(ps.int_div),
    "IntDiv": _call(ps.int_div),
    "ScalarMaximum": _call(ps.maximum),
    "ScalarMinimum": _call(ps.minimum),
    "Cast": lambda old: basic.Cast(old["o_type"]),
    "Composite": _composite,
    "InRange": _in_range,
    "Mean": _call(_mean),
    "Angle": _call(lambda z: ps.arctan2(ps.imag(z), ps.real(z))),
    "ComplexFromPolar": _call(_polar),
    "Deg2Rad": _call(lambda x: x * (np.pi / 180)),
    "Rad2Deg": _call(lambda x: x * (180 / np.pi)),
    # Special functions: an incomplete gamma function is a regularized one, times gamma.
    "Chi2SF": _call(lambda x, k: special.gammaincc(k / 2, x / 2)),
    "GammaU": _call(lambda k, x: special.gammaincc(k, x) * special.gamma(k)),
    "GammaL": _call(lambda k, x: special.gammainc(k, x) * special.gamma(k)),
    "Iv": _call(lambda v, x: special.ive(v, x) * ps.exp(ps.abs(x))),
    "GammaIncDer": _call(special.gammainc_grad),
    "GammaIncCDer": _call(special.gammaincc_grad),
    "BetaIncDer": _call(_beta_inc_der),
    "Hyp2F1Der": _call(_hyp2f1_der),
    "XlogX": _call(lambda x: _x_log_y(x, x)),
    "XlogY0": _call(_x_log_y),
    "ScalarSoftsign": _call(lambda x: x / (1.0 + ps.abs(x))),
    # An approximation in C only.
    "UltraFastScalarSigmoid": _call(special.sigmoid),
    "BNComposite": _composite,
    "MulWithoutZeros": _call(mul_without_zeros),
}

# Those that Aesara does not define among its scalars.
_TENSOR = (
    *("BNComposite", "MulWithoutZeros", "ScalarSoftsign", "UltraFastScalarSigmoid"),
    *("XlogX", "XlogY0"),
)


def is_scalar(name: str) -> bool:
    """Whether an Op by its name, such as ``scalar.Add``, is one of `SCALARS`."""
    area, _, simple = name.partition(".")
    return simple in SCALARS and (area == "scalar" or simple in _TENSOR)


def _applied(old: OldOp, inputs: Sequence[Variable], types: Sequence[Any]) -> Any:
    """The results of a scalar Op for scalars, with the dtypes that Aesara gave them."""
    results = SCALARS[old.name.rpartition(".")[2]](old)(*inputs)
    results = list(results) if isinstance(results, list | tuple) else [results]
    return [
        result if result.type.dtype == type_.dtype else ps.cast(result, type_.dtype)
        for result, type_ in zip(map(ps.as_scalar, results), types, strict=True)
    ]


def scalar_op(old: OldOp, dtype: str) -> basic.ScalarOp:
    """The scalar Op with which a reduction combines two values."""
    scalars = [ps.get_scalar_type(dtype)() for _ in range(2)]
    (result,) = _applied(old, scalars, [scalars[0].type])
    if result.owner is None or list(result.owner.inputs) != scalars:
        return basic.Composite(scalars, [result])
    return result.owner.op


def scalar_node(node: Node) -> list[Variable]:
    """A scalar Op on its own."""
    return _applied(node.op, [ps.as_scalar(v) for v in node.inputs], node.types)


def elemwise(node: Node) -> list[Variable]:
    """`Elemwise`: the scalar Op at each element.

    A formula, and a `Composite` of a compiled graph, becomes one `Elemwise` per Op,
    which PyTensor's and our rewrites understand.
    """
    scalars = [_scalar(node.op["scalar_op"], v) for v in node.inputs]
    results = _applied(node.op["scalar_op"], scalars, node.types)
    tensors: dict[Variable, Variable] = dict(zip(scalars, node.inputs, strict=True))

    def tensor(scalar: Variable) -> Variable:
        if scalar not in tensors and isinstance(scalar, Constant):
            tensors[scalar] = pt.constant(scalar.data, ndim=0, dtype=scalar.type.dtype)
        return tensors[scalar]

    for inner in toposort(results, blockers=scalars):
        op = Elemwise(inner.op)
        outputs = op.make_node(*map(tensor, inner.inputs)).outputs
        tensors.update(zip(inner.outputs, outputs, strict=True))
    return [_filled(result, tensor(result), scalars, node.inputs) for result in results]


def _scalar(old: OldOp, variable: Variable) -> Variable:
    """A scalar in place of a tensor, which is a constant where that is needed."""
    if old.name.rpartition(".")[2] in ("BetaIncDer", "Hyp2F1Der"):
        with suppress(NotScalarConstantError):
            return ps.constant(get_underlying_scalar_constant_value(variable))
    return ps.get_scalar_type(variable.type.dtype)()


def _filled(
    scalar: Variable,
    result: Variable,
    scalars: Sequence[Variable],
    inputs: Sequence[Variable],
) -> Variable:
    """A result that does not depend on all operands still has the shape of all."""
    used = set(ancestors([scalar], blockers=scalars))
    missing = [
        x for s, x in zip(scalars, inputs, strict=True) if s not in used or s is scalar
    ]
    if not any(n != 1 for x in missing for n in x.type.shape):
        return result
    return pt.broadcast_to(result, pt.broadcast_shape(*inputs, result))


ROWS: Rows = {"tensor.Elemwise": elemwise}
