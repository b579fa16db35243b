"""Pickle a graph as flat lists, so that deep graphs need no recursion."""

from typing import Any

from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph

__all__ = ["pack", "unpack"]


def pack(fgraph: FunctionGraph) -> dict[str, list[Any]]:
    """``fgraph`` as lists in which numbers stand for variables."""
    numbers: dict[Variable, int] = {}

    def number(var: Variable) -> int:
        return numbers.setdefault(var, len(numbers))

    leaves = [(number(var), var.type, var.name) for var in fgraph.inputs]
    constants, nodes = [], []

    def use(var: Variable) -> int:
        if isinstance(var, Constant) and var not in numbers:
            constants.append((number(var), var))
        return number(var)

    for node in fgraph.toposort():
        operands = [use(var) for var in node.inputs]
        outs = [(number(var), var.type, var.name) for var in node.outputs]
        nodes.append((node.op, operands, outs))
    outputs = [use(var) for var in fgraph.outputs]
    return {
        "inputs": leaves,
        "constants": constants,
        "nodes": nodes,
        "outputs": outputs,
    }


def unpack(packed: dict[str, list[Any]]) -> FunctionGraph:
    """Rebuild the graph that `pack` flattened."""
    variables: dict[int, Variable] = dict(packed["constants"])
    inputs = []
    for number, type_, name in packed["inputs"]:
        variables[number] = type_(name=name)
        inputs.append(variables[number])
    for op, operands, outs in packed["nodes"]:
        made = [type_(name=name) for _, type_, name in outs]
        Apply(op, [variables[number] for number in operands], made)
        variables |= {n: var for (n, _, _), var in zip(outs, made, strict=True)}
    outputs = [variables[number] for number in packed["outputs"]]
    return FunctionGraph(inputs, outputs, clone=False)
