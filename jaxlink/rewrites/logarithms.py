"""Logarithms of probabilities near zero.

`pymc.logccdf` is ``log1mexp`` of the logarithm of a distribution function. At the lower
end of a support, p is zero and log(p) is -inf. There, the slope of log1mexp is zero and
the slope of the logarithm is infinite, so their product is nan although the derivative
of log(1 - p) is finite. So we join the two.

PyTensor's rewrite of log(erfc(x)) handles the underflow of erfc for 64 bits only. Here,
log(erfc(x)) is one function that is right for every dtype.

A density that contains a product with an exponential, such as Rice's, underflows before
its logarithm is taken. PyTensor's gradient stays finite, because its rewrites cancel
the exponential, but JAX differentiates the product.
"""

from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar.math import Erfc, Log1mexp
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.math import log1mexp

from jaxlink.ops.log_erfc import log_erfc_of

__all__ = ["join_complements", "join_logarithms"]


@node_rewriter([log1mexp])
def complement(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """log1mexp(log(p)) -> log1p(-p), log1mexp(log1p(-p)) -> log(p),
    log1mexp(log1mexp(x)) -> x and log1mexp(log(p) - log(q)) -> log1p(-p / q), also in
    the branches of a switch; declines if no branch matches."""
    del fgraph
    new = _joined(node.inputs[0])
    return None if new is None else [new.astype(node.outputs[0].type.dtype)]


def _joined(x: Variable) -> Variable | None:
    """log1mexp(x), joined with the logarithm in ``x``; ``None`` if it has none."""
    if x.owner is None:
        return None
    op, operands = x.owner.op, x.owner.inputs
    if isinstance(op, CheckAndRaise):
        inner = _joined(operands[0])
        return None if inner is None else op(inner, *operands[1:])
    match getattr(op, "scalar_op", None):
        case ps.Switch():
            condition, *branches = operands
            new = [_joined(branch) for branch in branches]
            if all(branch is None for branch in new):
                return None
            pairs = zip(branches, new, strict=True)
            return pt.switch(condition, *(_or_log1mexp(x, y) for x, y in pairs))
        case ps.Log():
            (p,) = operands
            y = _with_exp_from_one(p)
            if y is not None:
                return _unless(y > 0, y)
            return _unless(p < 0, pt.log1p(-p))
        case ps.Log1p():
            (y,) = operands
            return _unless(y < -1, pt.log(-y))
        case Log1mexp():
            (y,) = operands
            return _unless(y > 0, y)
        case ps.Sub():
            p, q = map(_exp_of, operands)
            if p is not None and q is not None:
                return _unless(pt.or_(p < 0, q < 0), pt.log1p(-p / q))
    return None


def _or_log1mexp(x: Variable, complement: Variable | None) -> Variable:
    if complement is not None:
        return complement
    if isinstance(x, Constant) and np.all(x.data == -np.inf):
        return pt.zeros_like(x)
    return log1mexp(x)


def _is(var: Variable, scalar_op: type) -> bool:
    op = getattr(var.owner, "op", None)
    return isinstance(getattr(op, "scalar_op", None), scalar_op)


def _with_exp_from_one(p: Variable) -> Variable | None:
    """y if ``p`` is 1 - exp(y), else ``None``."""
    if not _is(p, ps.Sub):
        return None
    one, exp = p.owner.inputs
    is_one = isinstance(one, Constant) and np.all(one.data == 1)
    return exp.owner.inputs[0] if is_one and _is(exp, ps.Exp) else None


def _exp_of(var: Variable) -> Variable | None:
    """p if ``var`` is log(p), else ``None``."""
    if _is(var, ps.Log):
        return var.owner.inputs[0]
    if var.owner is not None and isinstance(var.owner.op, DimShuffle):
        p = _exp_of(var.owner.inputs[0])
        return None if p is None else var.owner.op(p)
    return None


def _unless(undefined: Variable, value: Variable) -> Variable:
    """``value``, but nan where the original logarithm is undefined."""
    return pt.switch(undefined, np.nan, value)


@node_rewriter([pt.log])
def log_of_erfc(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """log(erfc(x)) -> one Op; declines any other logarithm."""
    del fgraph
    (x,) = node.inputs
    if not _is(x, Erfc):
        return None
    return [log_erfc_of(x.owner.inputs[0]).astype(node.outputs[0].type.dtype)]


@node_rewriter([pt.log])
def log_of_product(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """log(x * exp(y) / exp(z)) -> log(x) + y - z; declines if the operand is not a
    product or quotient that contains an exponential."""
    del fgraph
    exponents: list[Variable] = []
    rest = _without_exponentials(node.inputs[0], exponents)
    if not exponents or rest is None:
        return None
    return [pt.add(pt.log(rest), *exponents).astype(node.outputs[0].type.dtype)]


def _without_exponentials(
    x: Variable, exponents: list[Variable], sign: int = 1
) -> Variable | None:
    """``x`` without its exponential factors, or ``None`` if no factor is left. Their
    exponents are added to ``exponents``, with their sign in the logarithm."""
    if _is(x, ps.Exp) and (y := x.owner.inputs[0]).type.dtype.startswith("float"):
        exponents.append(y if sign > 0 else -y)
        return None
    if _is(x, ps.Mul):
        parts = [_without_exponentials(f, exponents, sign) for f in x.owner.inputs]
        factors = [part for part in parts if part is not None]
        return pt.mul(*factors) if factors else None
    if _is(x, ps.TrueDiv):
        over, under = x.owner.inputs
        top = _without_exponentials(over, exponents, sign)
        bottom = _without_exponentials(under, exponents, -sign)
        if bottom is None:
            return top
        return (1 if top is None else top) / bottom
    return x


join_complements = dfs_rewriter(complement)
join_logarithms = dfs_rewriter(complement, log_of_erfc, log_of_product)
