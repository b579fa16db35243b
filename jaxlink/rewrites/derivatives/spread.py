"""How the support of a cotangent spreads from an Op's output to its operands.

Each rule takes a node and the support of its output's cotangent, and returns a `Spread`
for each operand. What has no rule mixes all elements: the cotangents of its operands
are zero only if the whole cotangent of its outputs is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.compile.ops import DeepCopyOp, TypeCastingOp, ViewOp
from pytensor.graph.basic import Constant, Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import (
    Alloc,
    AllocDiag,
    ExtractDiag,
    Join,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.blas import BatchedDot
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import Dot
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.special import (
    LogAddExp,
    LogSoftmax,
    LogSumExp,
    Softmax,
    XLog1PY,
    XLogY,
)
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
)

from jaxlink.dispatch.control import IfElse
from jaxlink.dispatch.decisions import Decide
from jaxlink.dispatch.gradients import MaskedGradient
from jaxlink.dispatch.indexing.unselected import FillUnselected
from jaxlink.dispatch.reductions import Attained, ReadAttained
from jaxlink.rewrites.derivatives.decisions import is_float
from jaxlink.rewrites.derivatives.supports import (
    EVERYWHERE,
    Support,
    both,
    either,
)

__all__ = ["Spread", "Walk", "spread"]


@dataclass
class Spread:
    """What an operand's cotangent is like.

    ``support``: where it may be other than zero. ``singular``: whether it is multiplied
    by a slope that can be infinite or nan. ``exact``: whether each element of it comes
    from elements of the output's cotangent that have the same support as it.
    """

    support: Support | None
    singular: bool = False
    exact: bool = True


@dataclass
class Walk:
    """What the rules share: Ops that choose by a comparison of their own, each with
    the graph that chooses by a mask instead, in case that something is masked by it."""

    chosen: dict[Variable, Callable[..., Variable]] = field(default_factory=dict)


Rule = Callable[[Walk, Any, Support | None], Sequence[Spread]]
_RULES: dict[type, Rule] = {}


def _spreads(*op_types: type) -> Callable[[Rule], Rule]:
    def register(fn: Rule) -> Rule:
        _RULES.update(dict.fromkeys(op_types, fn))
        return fn

    return register


def spread(walk: Walk, node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    """The `Spread` of each operand, from the supports of the outputs that have a
    cotangent."""
    rule = next((_RULES[t] for t in type(node.op).__mro__ if t in _RULES), None)
    if rule is not None and len(supports) == len(node.outputs) == 1:
        return list(rule(walk, node, supports[0]))
    if isinstance(node.op, IfElse) and len(supports) == len(node.outputs):
        return _if_else(node, supports)
    return _mixed(node, supports)


def _mixed(node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    anywhere = either([s and s.any() for s in supports])
    return [Spread(anywhere, singular=True, exact=False)] * len(node.inputs)


# --- elementwise ---------------------------------------------------------------------

# Their slopes are finite whatever the operands are.
_FINITE_SLOPES = (
    *(ps.Add, ps.Sub, ps.Neg, ps.Cast, ps.Identity, ps.Second, ps.Switch, ps.Conj),
    *(ps.Maximum, ps.Minimum, ps.Clip, ps.Real, ps.Imag, ps.Complex, ps.Abs),
)


@_spreads(Elemwise)
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
    return [EVERYWHERE, support, _not(support)]


def _not(support: Support) -> Support:
    return support.map(pt.invert, support.broadcastable)


def _extremum(wins: Callable[..., Variable]) -> Callable[..., Any]:
    """The first operand of a maximum or minimum wins a tie, and if it is nan."""

    def choose(walk: Walk, node: Any) -> list[Support | None]:
        x, y = node.inputs
        first = _own_decision(
            node, lambda: pt.or_(wins(x, y), pt.isnan(x)), node.inputs
        )

        def by_mask(x: Variable, y: Variable) -> Variable:
            return pt.switch(first.array(node.outputs[0].type.ndim), x, y)

        walk.chosen[node.outputs[0]] = _used(first, by_mask)
        return [first, _not(first)]

    return choose


def _clip(walk: Walk, node: Any) -> list[Support | None]:
    x, low, high = node.inputs
    ndim = node.outputs[0].type.ndim
    below = _own_decision(node, lambda: pt.lt(x, low), (x, low))
    above = _own_decision(node, lambda: pt.gt(x, high), (x, high))

    def by_mask(x: Variable, low: Variable, high: Variable) -> Variable:
        inside = pt.switch(above.array(ndim), high, x)
        return pt.switch(below.array(ndim), low, inside)

    walk.chosen[node.outputs[0]] = _used(below, by_mask, above)
    not_below = _not(below)
    return [both(not_below, _not(above)), below, both(not_below, above)]


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
    """A factor that is a condition in numbers, ``(x > 0) * y``, cuts off the others."""
    conditions = [_as_condition(var) for var in node.inputs]
    inside = both(*conditions)
    if inside is not EVERYWHERE:

        def by_mask(*factors: Variable) -> Variable:
            product = node.op(*factors)
            return MaskedGradient()(product, inside.array(product.type.ndim))

        walk.chosen[node.outputs[0]] = _used(inside, by_mask)
    return [inside if own is None else EVERYWHERE for own in conditions]


def _as_condition(var: Variable) -> Support | None:
    """Where ``var`` is not zero, if it is a condition."""
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


def _used(mask: Support, by_mask: Any, *more: Support) -> Any:
    """``by_mask``, or ``None`` as long as no mask is built."""
    masks = (mask, *more)
    return lambda: by_mask if any(m.is_built for m in masks) else None


@_spreads(LogAddExp, XLogY, XLog1PY)
def _elementwise(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    ndim = node.outputs[0].type.ndim
    if any(var.type.ndim != ndim for var in node.inputs):
        return _mixed(node, [support])
    return [Spread(support, singular=True)] * len(node.inputs)


# --- reductions ----------------------------------------------------------------------


@_spreads(CAReduce)
def _reduction(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x = node.inputs[0]
    support = _spread_out(node, support)
    scalar_op = node.op.scalar_op
    if not isinstance(scalar_op, ps.Maximum | ps.Minimum):
        return [Spread(support, not isinstance(scalar_op, ps.Add))]
    attained = Support(lambda: Attained(node.op)(x), x.type.broadcastable)

    def by_mask(x: Variable) -> Variable:
        return ReadAttained(node.op)(x, attained.array(x.type.ndim))

    walk.chosen[node.outputs[0]] = _used(attained, by_mask)
    return [Spread(both(support, attained))]


def _spread_out(node: Any, support: Support | None) -> Support | None:
    """The support of a reduction's operand: along the axes that are reduced, that of
    the result."""
    if support is EVERYWHERE or support.is_scalar:
        return support
    x, axis = node.inputs[0].type, node.op.axis
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % x.ndim
    kept = [i for i in range(x.ndim) if i not in axes]
    order = [kept.index(i) if i in kept else "x" for i in range(x.ndim)]
    flags = [i not in kept or x.broadcastable[i] for i in range(x.ndim)]
    return support.map(lambda mask: mask.dimshuffle(order), flags)


@_spreads(LogSumExp)
def _log_sum_exp(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    return [Spread(_spread_out(node, support), singular=True)]


@_spreads(Softmax, LogSoftmax)
def _softmax(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    axis = node.op.axis
    ndim = node.inputs[0].type.ndim
    axes = range(ndim) if axis is None else np.atleast_1d(axis) % ndim
    return [Spread(support and support.any(axes), singular=True, exact=False)]


@_spreads(Dot, BatchedDot)
def _product(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    """Sums over products: what one element of the result does not need, others do."""
    own = support if support and support.is_scalar else EVERYWHERE
    return [Spread(own, singular=True, exact=False)] * len(node.inputs)


@_spreads(Blockwise)
def _blockwise(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    """Each element of the batch on its own."""
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support, singular=True)] * len(node.inputs)
    n_batch = node.op.batch_ndim(node)
    core = range(n_batch, node.outputs[0].type.ndim)

    def of(var: Variable) -> Support:
        n_core = var.type.ndim - n_batch
        flags = support.broadcastable[:n_batch]
        order = [*range(n_batch), *["x"] * n_core]
        own = support.any(core).map(
            lambda mask: mask[(..., *[0] * len(core))].dimshuffle(order),
            [*flags, *[True] * n_core],
        )
        return own.any(i for i in range(n_batch) if var.type.broadcastable[i])

    return [Spread(of(var), singular=True, exact=False) for var in node.inputs]


# --- shapes --------------------------------------------------------------------------


@_spreads(TypeCastingOp, ViewOp, DeepCopyOp, CheckAndRaise)
@_spreads(SpecifyShape, ScalarFromTensor, TensorFromScalar)
def _same(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    return [Spread(support)] * len(node.inputs)


@_spreads(Alloc)
def _alloc(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    value, *lengths = node.inputs
    rest = [Spread(EVERYWHERE)] * len(lengths)
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support), *rest]
    n_new = len(lengths) - value.type.ndim
    repeated = [
        *range(n_new),
        *(n_new + i for i, flag in enumerate(value.type.broadcastable) if flag),
    ]
    own = support.any(repeated)
    if n_new and not own.is_scalar:
        own = own.map(itemgetter((0,) * n_new), own.broadcastable[n_new:])
    return [Spread(own, exact=own is support), *rest]


@_spreads(DimShuffle)
def _dimshuffle(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)]
    order = node.op.new_order
    x = node.inputs[0]
    if x.type.ndim == 0:
        return [Spread(support.any())]
    kept = [o for o in order if o != "x"]
    back = [kept.index(i) if i in kept else "x" for i in range(x.type.ndim)]

    def undo(mask: Variable) -> Variable:
        index = tuple(0 if o == "x" else slice(None) for o in order)
        return mask[index].dimshuffle(back)

    flags = [
        i not in kept or support.broadcastable[order.index(i)]
        for i in range(x.type.ndim)
    ]
    return [Spread(support.map(undo, flags))]


@_spreads(ExtractDiag)
def _extract_diag(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    """The diagonal is the last axis of the result."""
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)]
    ndim = node.inputs[0].type.ndim
    matrix = {node.op.axis1 % ndim, node.op.axis2 % ndim}
    kept = [i for i in range(ndim) if i not in matrix]
    order = [kept.index(i) if i in kept else "x" for i in range(ndim)]
    flags = [i in matrix or support.broadcastable[kept.index(i)] for i in range(ndim)]
    rows = support.any([ndim - 2])
    spread_out = rows.map(lambda mask: mask[..., 0].dimshuffle(order), flags)
    return [Spread(rows if rows.is_scalar else spread_out, exact=False)]


@_spreads(AllocDiag)
def _alloc_diag(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)]
    op, out = node.op, node.outputs[0]
    diagonal = support.map(
        lambda mask: pt.diagonal(
            pt.broadcast_to(mask, out.shape), op.offset, op.axis1, op.axis2
        ),
        node.inputs[0].type.broadcastable,
    )
    return [Spread(diagonal)]


@_spreads(Reshape)
def _reshape(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, out = node.inputs[0], node.outputs[0]
    if support is not EVERYWHERE and not support.is_scalar:
        support = support.map(
            lambda mask: pt.broadcast_to(mask, out.shape).reshape(
                x.shape, ndim=x.type.ndim
            ),
            x.type.broadcastable,
        )
    return [Spread(support), Spread(EVERYWHERE)]


@_spreads(MakeVector)
def _make_vector(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support)] * len(node.inputs)
    return [Spread(support.map(itemgetter(i), ())) for i in range(len(node.inputs))]


@_spreads(Join)
def _join(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    axis = node.op.axis % node.outputs[0].type.ndim
    if support is EVERYWHERE or support.is_scalar or support.broadcastable[axis]:
        return [Spread(support)] * len(node.inputs)
    spreads: list[Spread] = []
    start: Any = 0
    for part in node.inputs:
        stop = start + part.shape[axis]
        place = (*[slice(None)] * axis, slice(start, stop))
        flags = [
            part.type.broadcastable[i] if i == axis else flag
            for i, flag in enumerate(support.broadcastable)
        ]
        spreads.append(Spread(support.map(itemgetter(place), flags)))
        start = stop
    return spreads


# --- indices -------------------------------------------------------------------------


@_spreads(Subtensor, AdvancedSubtensor)
def _read(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, *indices = node.inputs
    rest = [Spread(EVERYWHERE)] * len(indices)
    is_known = all(isinstance(i, Constant) for i in indices)
    by_element = isinstance(getattr(x.owner, "op", None), Elemwise)
    if support is EVERYWHERE and not (is_known and by_element):
        # To find out what is read would cost more, or is no use to a mixing Op.
        return [Spread(EVERYWHERE), *rest]
    if support is not EVERYWHERE and support.is_scalar:
        return [Spread(support), *rest]
    ndim = node.outputs[0].type.ndim

    def build() -> Variable:
        read = support.array(ndim) if support else pt.constant(True)
        place = node.op(pt.zeros(x.shape, dtype="int32"), *indices)
        # A sum, since an element may be read several times.
        return pt.gt(pt.inc_subtensor(place, read.astype("int32")), 0)

    return [Spread(Support(build, x.type.broadcastable)), *rest]


@_spreads(IncSubtensor, AdvancedIncSubtensor)
def _write(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, y, *indices = node.inputs
    rest = [Spread(EVERYWHERE)] * len(indices)
    if node.op.set_instead_of_inc:

        def build() -> Variable:
            place = _read_op(node.op)(pt.ones(x.shape, dtype="bool"), *indices)
            return pt.set_subtensor(place, pt.constant(False))

        own: Support | None = Support(build, x.type.broadcastable)
    else:
        own = EVERYWHERE
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(both(support, own)), Spread(support), *rest]
    place = _read_op(node.op)(x, *indices).type
    if place.broadcastable != y.type.broadcastable or any(
        i.type.dtype == "bool" for i in indices
    ):
        return [
            Spread(both(support, own), exact=False),
            Spread(support.any(), exact=False),
            *rest,
        ]
    written = support.map(
        lambda mask: _read_op(node.op)(pt.broadcast_to(mask, x.shape), *indices),
        y.type.broadcastable,
    )
    return [Spread(both(support, own)), Spread(written), *rest]


def _read_op(op: Any) -> Any:
    read = Subtensor if isinstance(op, IncSubtensor) else AdvancedSubtensor
    return read(op.idx_list)


@_spreads(FillUnselected)
def _fill(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x, mask = node.inputs
    order: list[Any] = ["x"] * x.type.ndim
    order[node.op.axis] = 0
    flags = [i != node.op.axis for i in range(x.type.ndim)]
    selected = Support(lambda: mask.dimshuffle(order), flags)
    return [Spread(both(support, selected)), Spread(EVERYWHERE)]


# --- conditions ----------------------------------------------------------------------


def _if_else(node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    condition = Support.of(node.inputs[0])
    return [
        Spread(EVERYWHERE),
        *(Spread(both(condition, s)) for s in supports),
        *(Spread(both(_not(condition), s)) for s in supports),
    ]
