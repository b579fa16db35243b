"""In derivatives, a zero cotangent stays zero.

JAX differentiates both branches of ``where(s > 0, sqrt(s), s)``. In the branch not
taken, a zero cotangent (or tangent) is multiplied by the slope of sqrt, which may be
nan or infinite there, and the product is nan. So each operand of a function with such a
slope gets a `MaskedGradient`, whose derivative is exactly zero where the cotangent must
be zero:

    where(m, sqrt(s), s)   ->   where(m, sqrt(masked(s, m)), s)

This encloses the elements that are not selected: their cotangents are set to zero where
they enter the branch (by the ``where``) and where they leave it. So no nan in between
can escape, at any order and in any mode of differentiation. A mask costs one select in
the derivative, and nothing in the value.

The walk goes from the outputs to the inputs, and keeps the `Support` of each variable's
cotangent. It masks as late as possible: for ``log(sqrt(x))``, one mask is enough.
"""

from dataclasses import dataclass
from typing import Any

import pytensor.scalar as ps
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.type import RandomType

from jaxlink.ops.decide import Decide
from jaxlink.ops.gradients import MaskedGradient
from jaxlink.rewrites.derivatives.decisions import is_float
from jaxlink.rewrites.derivatives.rebuild import rebuilt
from jaxlink.rewrites.derivatives.spread import Spread, Walk, spread
from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support, either

__all__ = ["shield"]


@dataclass(frozen=True)
class Edge:
    """An operand of a node, with the support of the cotangent that it gets from the
    node. If ``tainted``, the cotangent may be nan outside the support, where it should
    be zero."""

    node: Any
    place: int
    support: Support | None
    tainted: bool


def shield(fgraph: FunctionGraph) -> FunctionGraph:
    """``fgraph`` with masks where an infinite slope may multiply a zero cotangent."""
    nodes = fgraph.toposort()
    active = _active(fgraph, nodes)
    walk = Walk()
    edges: dict[Variable, list[Edge]] = {out: [] for out in fgraph.outputs}
    outputs = set(fgraph.outputs)
    masks: dict[tuple[Any, int], Support] = {}

    def mask(tainted: list[Edge]) -> None:
        for edge in tainted:
            if edge.tainted and edge.support is not EVERYWHERE:
                masks[edge.node, edge.place] = edge.support

    for node in reversed(nodes):
        outs = [
            (out, edges.get(out, []))
            for out in node.outputs
            if out in active and (edges.get(out) or out in outputs)
        ]
        if not outs or isinstance(node.op, Decide):
            continue
        supports, tainted = [], False
        for out, those in outs:
            alone = len(those) == 1 and out not in outputs
            supports.append(
                EVERYWHERE if out in outputs else either([e.support for e in those])
            )
            if alone and len(outs) == 1:
                tainted = those[0].tainted
            else:
                mask(those)
        if _is_random(node):
            spreads = [Spread(EVERYWHERE)] * len(node.inputs)
        else:
            spreads = spread(walk, node, supports)
        is_active = [var in active for var in node.inputs]
        # Operands without a support, like a draw's parameters, cannot be masked later.
        if tainted and not all(
            s.exact and s.support is not EVERYWHERE
            for s, flag in zip(spreads, is_active, strict=True)
            if flag
        ):
            mask(outs[0][1])
            tainted = False
        for place, (var, own) in enumerate(zip(node.inputs, spreads, strict=True)):
            if not is_active[place]:
                continue
            taints = own.support is not EVERYWHERE and (tainted or own.singular)
            edge = Edge(node, place, own.support, taints)
            edges.setdefault(var, []).append(_unbroadcast(edge, var, mask))
    for var in fgraph.inputs:
        mask(edges.get(var, []))
    if not masks:
        return fgraph
    return _masked(fgraph, masks, walk)


def _unbroadcast(edge: Edge, var: Variable, mask: Any) -> Edge:
    """The cotangent of a broadcast operand is a sum. So the mask must come before the
    sum, and the support after it is where any summed element had support."""
    if not isinstance(edge.node.op, Elemwise) or edge.support is EVERYWHERE:
        return edge
    smaller = edge.support.any(
        i for i, flag in enumerate(var.type.broadcastable) if flag
    )
    if smaller is edge.support:
        return edge
    mask([edge])
    return Edge(edge.node, edge.place, smaller, False)


def _active(fgraph: FunctionGraph, nodes: Any) -> set[Variable]:
    """The floats through which JAX may differentiate."""
    active = set(filter(is_float, fgraph.inputs))
    for node in nodes:
        if any(var in active for var in node.inputs) or _is_random(node):
            active.update(filter(is_float, node.outputs))
    return active


def _is_random(node: Any) -> bool:
    return any(isinstance(var.type, RandomType) for var in node.inputs)


def _masked(
    fgraph: FunctionGraph, masks: dict[tuple[Any, int], Support], walk: Walk
) -> FunctionGraph:
    arrays = {
        place: support.array(place[0].inputs[place[1]].type.ndim)
        for place, support in masks.items()
    }

    def operands(node: Any, given: list[Variable]) -> list[Variable]:
        if isinstance(node.op, Decide):
            return list(node.inputs)  # the same decision for values and masks
        if isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, ps.Switch):
            given[0] = node.inputs[0]
        return [
            MaskedGradient()(var, arrays[node, i]) if (node, i) in arrays else var
            for i, var in enumerate(given)
        ]

    def output(old: Variable, new: Variable) -> Variable:
        by_mask = walk.chosen.get(old, lambda: None)()
        if by_mask is None:
            return new
        chosen = by_mask(*new.owner.inputs)
        return chosen.astype(old.type.dtype) if chosen.type != old.type else chosen

    return rebuilt(fgraph, operands, output)
