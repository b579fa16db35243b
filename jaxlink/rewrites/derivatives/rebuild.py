"""Rebuild a graph with some variables replaced."""

from collections.abc import Callable, Sequence
from typing import Any

from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph

__all__ = ["rebuilt"]


def rebuilt(
    fgraph: FunctionGraph,
    operands: Callable[[Any, list[Variable]], Sequence[Variable]],
    output: Callable[[Variable, Variable], Variable] = lambda old, new: new,
) -> FunctionGraph:
    """``fgraph`` on the same inputs, with operands and outputs of its nodes replaced.

    The old graph stays intact, so new variables may depend on it. Both graphs share the
    nodes before the first change.

    Arguments:
        operands: returns a node's new operands, given the old node and its operands in
            the new graph.
        output: returns the replacement for a node's output, given the old and the new
            variable.
    """
    new: dict[Variable, Variable] = {}
    for node in fgraph.toposort():
        given = operands(node, [new.get(var, var) for var in node.inputs])
        outs = node.outputs
        if any(a is not b for a, b in zip(given, node.inputs, strict=True)):
            outs = node.clone_with_new_inputs(list(given), strict=False).outputs
        for old, out in zip(node.outputs, outs, strict=True):
            out.name = old.name
            changed = output(old, out)
            if changed is not old:
                new[old] = changed
    if not new:
        return fgraph
    outputs = [new.get(out, out) for out in fgraph.outputs]
    return FunctionGraph(list(fgraph.inputs), outputs, clone=False)
