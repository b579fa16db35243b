"""Decisions that depend on floats are made once (see `jaxlink.dispatch.decisions`).

A decision is a discrete value computed from floats: a comparison, a sign, an integer
part, an index. If two nodes read it, both read one `Decide`. If one node reads it to
choose between differentiable values, `Decide` acts when these are differentiated. A
comparison of inputs, constants or their elements needs no `Decide`: nothing is rounded,
so every recomputation agrees.

Ops that contain a decision (`clip`, `maximum`, `abs`, max reductions) handle it in
their rules.
"""

from collections.abc import Sequence
from typing import Any

import pytensor.scalar as ps
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.basic import Alloc, Join, MakeVector
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import Argmax
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.subtensor import BaseSubtensor

from jaxlink.ops.decide import Decide
from jaxlink.rewrites.derivatives.rebuild import rebuilt
from jaxlink.values.types import dtype_of

__all__ = ["decide_once", "is_float"]

# These round nothing.
_EXACT = (Alloc, BaseSubtensor, DimShuffle, Join, MakeVector, Reshape, SpecifyShape)
_EXACT_SCALARS = (ps.Cast, ps.Identity, ps.Second, ps.Neg, ps.Abs)
# Scalar Ops with a float result that jumps.
_JUMPS = (
    *(ps.Sign, ps.Floor, ps.Ceil, ps.Trunc, ps.IntDiv),
    *(ps.RoundHalfToEven, ps.RoundHalfAwayFromZero),
)


def is_float(var: Variable) -> bool:
    return dtype_of(var.type).startswith(("float", "complex"))


def decide_once(fgraph: FunctionGraph) -> FunctionGraph:
    """``fgraph`` with a `Decide` after each decision that might be made twice."""
    decisions = [node for node in fgraph.toposort() if _decides(node)]
    if not decisions:
        return fgraph
    exact: dict[Variable, bool] = {}
    always: set[Variable] = set()
    between: set[tuple[Any, int]] = set()
    for node in decisions:
        if all(_is_exact(var, exact) for var in node.inputs):
            continue
        decision = _last_discrete(fgraph, node.outputs[0])
        if _is_read_twice(fgraph, decision):
            always.add(decision)
        elif place := _where_it_chooses(fgraph, decision):
            between.add(place)
    if not always and not between:
        return fgraph

    def operands(node: Any, given: list[Variable]) -> Sequence[Variable]:
        return [
            Decide()(var, *_floats(node, i, given)) if (node, i) in between else var
            for i, var in enumerate(given)
        ]

    def output(old: Variable, new: Variable) -> Variable:
        return Decide()(new) if old in always else new

    return rebuilt(fgraph, operands, output)


def _decides(node: Any) -> bool:
    """Whether the output of ``node`` jumps where its float operands do not."""
    if isinstance(node.op, Elemwise):
        if not any(map(is_float, node.inputs)):
            return False
        return isinstance(node.op.scalar_op, _JUMPS) or not is_float(node.outputs[0])
    return isinstance(node.op, Argmax) and is_float(node.inputs[0])


def _is_exact(var: Variable, known: dict[Variable, bool]) -> bool:
    """Whether ``var`` is computed without rounding."""
    if var not in known:
        node = var.owner if is_float(var) else None
        known[var] = node is None or (
            _rounds_nothing(node.op) and all(_is_exact(i, known) for i in node.inputs)
        )
    return known[var]


def _rounds_nothing(op: Any) -> bool:
    if isinstance(op, Elemwise):
        return isinstance(op.scalar_op, _EXACT_SCALARS)
    return isinstance(op, _EXACT)


def _readers(fgraph: FunctionGraph, var: Variable) -> list[tuple[Any, int]]:
    """The nodes that read ``var``, and ``None`` for each output that is ``var``."""
    outputs = sum(out is var for out in fgraph.outputs)
    clients = [(n, i) for n, i in fgraph.clients[var] if n in fgraph.apply_nodes]
    return [*clients, *[(None, 0)] * outputs]


def _only_reader(fgraph: FunctionGraph, var: Variable) -> Any:
    """The only reader of ``var``, if XLA can fuse ``var`` into it, else ``None``."""
    readers = _readers(fgraph, var)
    node = readers[0][0] if len(readers) == 1 else None
    fusible = node and isinstance(node.op, Elemwise | DimShuffle | CAReduce)
    return node if fusible else None


def _last_discrete(fgraph: FunctionGraph, decision: Variable) -> Variable:
    """The combined decision that ``decision`` is part of: ``(x > 0) & (y > 0)``."""
    while node := _only_reader(fgraph, decision):
        if is_float(node.outputs[0]) or len(node.outputs) > 1:
            break
        decision = node.outputs[0]
    return decision


def _is_read_twice(fgraph: FunctionGraph, decision: Variable) -> bool:
    """Whether ``decision``, or an elementwise function of it, is read twice. (XLA fuses
    elementwise functions into each reader.)"""
    var = decision
    while True:
        if len(_readers(fgraph, var)) > 1:
            return True
        node = _only_reader(fgraph, var)
        if node is None or isinstance(node.op, CAReduce):
            return False
        var = node.outputs[0]


def _where_it_chooses(
    fgraph: FunctionGraph, decision: Variable
) -> tuple[Any, int] | None:
    """The first node that combines ``decision`` with floats, and its operand number."""
    var = decision
    while len(readers := _readers(fgraph, var)) == 1 and readers[0][0] is not None:
        node, place = readers[0]
        if _floats(node, place, node.inputs):
            return node, place
        if _only_reader(fgraph, var) is None:
            break
        var = node.outputs[0]
    return None


def _floats(node: Any, place: int, given: Sequence[Variable]) -> list[Variable]:
    """The other operands that are floats, constants excluded."""
    return [
        var
        for i, var in enumerate(given)
        if i != place and is_float(var) and not isinstance(var, Constant)
    ]
