"""Elementwise Ops, and Ops that choose between whole operands."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.special import LogAddExp, XLog1PY, XLogY

from jaxlink.dispatch.control import IfElse
from jaxlink.ops.decide import Decide
from jaxlink.ops.gradients import MaskedGradient
from jaxlink.rewrites.derivatives.decisions import is_float
from jaxlink.rewrites.derivatives.spread.rules import Spread, Walk, mixed, spreads
from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support, both

# Their slopes are finite for all operands.
_FINITE_SLOPES = (
    *(ps.Add, ps.Sub, ps.Neg, ps.Cast, ps.Identity, ps.Second, ps.Switch, ps.Conj),
    *(ps.Maximum, ps.Minimum, ps.Clip, ps.Real, ps.Imag, ps.Complex, ps.Abs),
)


@spreads(Elemwise)
def _elemwise(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    scalar_op = node.op.scalar_op
    choose = _CHOICES.get(type(scalar_op))
    n = len(node.inputs)
    chosen = choose(walk, node) if choose else [EVERYWHERE] * n
    return [
        Spread(both(support, own), _is_singular(scalar_op, node, i))
        for i, own in enumerate(chosen)
    ]


def _is_singular(scalar_op: Any, node: Any, place: int) -> bool:
    if isinstance(scalar_op, _FINITE_SLOPES):
        return False
    others = [var for i, var in enumerate(node.inputs) if i != place]
    if isinstance(scalar_op, ps.Mul):
        return not all(isinstance(v, Constant) and _is_finite(v) for v in others)
    if isinstance(scalar_op, ps.TrueDiv) and place == 0:
        (over,) = others
        return not (isinstance(over, Constant) and _is_finite(over) and over.data.all())
    return True


def _is_finite(var: Constant) -> bool:
    return bool(np.isfinite(var.data).all())


def _switch(walk: Walk, node: Any) -> list[Support | None]:
    condition = node.inputs[0]
    support = Support.of(condition)
    return [EVERYWHERE, support, ~support]


def _extremum(wins: Callable[..., Variable]) -> Callable[..., Any]:
    """The first operand of a maximum or minimum wins if there is a tie or it is nan."""

    def choose(walk: Walk, node: Any) -> list[Support | None]:
        x, y = node.inputs
        first = _own_decision(
            node, lambda: pt.or_(wins(x, y), pt.isnan(x)), node.inputs
        )

        def by_mask(x: Variable, y: Variable) -> Variable:
            mask = first.array(node.outputs[0].type.ndim)
            return pt.switch(mask, node.op(x, _constant(y)), node.op(_constant(x), y))

        walk.choose(node, by_mask, first)
        return [first, ~first]

    return choose


def _clip(walk: Walk, node: Any) -> list[Support | None]:
    x, low, high = node.inputs
    ndim = node.outputs[0].type.ndim
    below = _own_decision(node, lambda: pt.lt(x, low), (x, low))
    above = _own_decision(node, lambda: pt.gt(x, high), (x, high))

    def by_mask(x: Variable, low: Variable, high: Variable) -> Variable:
        inside = node.op(x, _constant(low), _constant(high))
        inside = pt.switch(above.array(ndim), high, inside)
        return pt.switch(below.array(ndim), low, inside)

    walk.choose(node, by_mask, below, above)
    not_below = ~below
    return [both(not_below, ~above), below, both(not_below, above)]


def _constant(bound: Variable) -> Variable:
    """``bound`` without a derivative. The mask chooses the operand to differentiate.
    But XLA may round the copies of the operands that the mask was computed from
    differently, so the Op itself still enforces the bound."""
    nowhere = pt.constant(np.zeros([1] * bound.type.ndim, bool))
    return MaskedGradient()(bound, nowhere)


def _own_decision(
    node: Any, condition: Callable[[], Variable], between: Sequence[Variable]
) -> Support:
    chosen = [var for var in between if is_float(var) and not isinstance(var, Constant)]

    def build() -> Variable:
        decision = Decide()(condition(), *chosen)
        return decision if any(not f for f in flags) else decision.reshape(())

    flags = node.outputs[0].type.broadcastable
    return Support(build, flags if not all(flags) else ())


def _product_with_mask(walk: Walk, node: Any) -> list[Support | None]:
    """A condition as a factor, ``(x > 0) * y``, cuts off the other factors."""
    conditions = [_as_condition(var) for var in node.inputs]
    inside = both(*conditions)
    if inside is not EVERYWHERE:

        def by_mask(*factors: Variable) -> Variable:
            product = node.op(*factors)
            return MaskedGradient()(product, inside.array(product.type.ndim))

        walk.choose(node, by_mask, inside)
    return [inside if own is None else EVERYWHERE for own in conditions]


def _as_condition(var: Variable) -> Support | None:
    """The support where ``var`` is not zero, or ``None`` if it is not a condition."""
    if var.type.dtype == "bool":
        return Support.of(var)
    if var.owner is None:
        return None
    scalar_op = getattr(var.owner.op, "scalar_op", None)
    if isinstance(scalar_op, ps.Cast) or isinstance(var.owner.op, DimShuffle):
        own = _as_condition(var.owner.inputs[0])
        return own and (own if own.is_scalar else Support.of(var))
    return None


_CHOICES: dict[type, Callable[[Walk, Any], list[Support | None]]] = {
    ps.Switch: _switch,
    ps.Maximum: _extremum(pt.ge),
    ps.Minimum: _extremum(pt.le),
    ps.Clip: _clip,
    ps.Mul: _product_with_mask,
}


@spreads(LogAddExp, XLogY, XLog1PY)
def _elementwise(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    ndim = node.outputs[0].type.ndim
    if any(var.type.ndim != ndim for var in node.inputs):
        return mixed(node, [support])
    return [Spread(support, singular=True)] * len(node.inputs)


@spreads(IfElse)
def _if_else(walk: Walk, node: Any, *supports: Support | None) -> list[Spread]:
    condition = Support.of(node.inputs[0])
    return [
        Spread(EVERYWHERE),
        *(Spread(both(condition, s)) for s in supports),
        *(Spread(both(~condition, s)) for s in supports),
    ]
