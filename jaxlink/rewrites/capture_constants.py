"""Large constants become inputs of the graph.

A large constant slows XLA's compilation down, and forces a recompilation when it
changes. An argument does neither. Small constants stay, and XLA folds them.
"""

from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorConstant

__all__ = ["capture_constants"]

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
