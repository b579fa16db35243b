"""In differentiation a zero stays zero.

JAX differentiates both branches of ``where(s > 0, sqrt(s), s)``. In the one that is not
taken, a cotangent (or tangent) of zero meets the slope of sqrt, which is nan or
infinite there, and zero times that is nan. So each operand of a function that can have
such a slope gets a `MaskedGradient`, whose derivative is exactly zero where no
cotangent can come from:

    where(m, sqrt(s), s)   ->   where(m, sqrt(masked(s, m)), s)

The elements that are left out are then enclosed: their cotangents are set to zero where
they enter the branch (by the ``where``) and where they leave it, so that nothing that
happens in between comes out, in any order and mode of differentiation. A mask costs one
select in the derivative, and nothing in the value.

The walk goes from the outputs to the inputs, and keeps the `Support` of each variable's
cotangent. It sets masks as late as it can: through ``log(sqrt(x))`` one is enough.
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
    """An operand of a node, with the support of the cotangent that it gets from there.
    ``tainted``: outside of it the cotangent may be nan, where it should be zero."""

    node: Any
    place: int
    support: Support | None
    tainted: bool


def shield(fgraph: FunctionGraph) -> FunctionGraph:
    """``fgraph`` with masks where a cotangent of zero may meet an infinite slope."""
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
        # What has no support, as the parameters of a draw, cannot be masked later.
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
    """The cotangent of an operand that is broadcast is a sum: a mask has to come before
    it, and what is left of the support is where it holds for any element."""
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
    """The floats that depend on inputs, by which JAX may differentiate."""
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
            return list(node.inputs)  # one decision for the values and for the masks
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
