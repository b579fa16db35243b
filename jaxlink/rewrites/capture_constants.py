"""Large constants become inputs of the graph.

A large constant slows XLA's compilation down, and forces a recompilation when it
changes. An argument does neither. Small constants stay, and XLA folds them.
"""

from typing import Any

from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorConstant

__all__ = ["capture_constants", "take_values"]

# In elements. Scalars, shapes and small tables are better folded into the program.
LARGE = 1024


def capture_constants(fgraph: FunctionGraph) -> None:
    """Add an input for each large constant: a shared variable with its value."""
    used = [var for node in fgraph.toposort() for var in node.inputs] + fgraph.outputs
    for constant in dict.fromkeys(used):
        if isinstance(constant, TensorConstant) and constant.data.size > LARGE:
            var = TensorSharedVariable(
                constant.type, constant.data, strict=True, name=constant.name
            )
            fgraph.add_input(var)
            fgraph.replace(constant, var, reason="capture_constants")


def take_values(fgraph: FunctionGraph, first: int) -> list[Any]:
    """Take the values out of the captured constants, which are the inputs from
    ``first`` on. They become plain inputs, so the graph itself holds no data.

    Returns:
        Their values.
    """
    captured = fgraph.inputs[first:]
    for var in captured:
        plain = var.type(name=var.name)
        fgraph.add_input(plain)
        fgraph.replace(var, plain, reason="take_values")
        fgraph.remove_input(first)
    return [var.get_value(borrow=True) for var in captured]
