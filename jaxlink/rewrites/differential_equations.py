"""Lower PyMC's differential equations: replace a Python function by its graph.

A graph can be rewritten, pickled and compared with others; a Python function cannot. A
DifferentialEquation that cannot be lowered stays, and its rule says why.
"""

import sys
from typing import Any

from pytensor.graph.fg import FunctionGraph

from jaxlink.errors import UnsupportedOpError
from jaxlink.ops.initial_value_problem import InitialValueProblem
from jaxlink.rewrites.gradients import keep_gradients
from jaxlink.rewrites.inner_graphs import all_nodes, rewrite_inner_graphs
from jaxlink.rewrites.pytensor_rewrites import pytensor_rewrites

__all__ = ["is_differential_equation", "lower_differential_equations", "lowered"]


def is_differential_equation(op: Any) -> bool:
    """Whether ``op`` is PyMC's. PyMC is optional, so it may not be loaded."""
    ode = sys.modules.get("pymc.ode")
    return ode is not None and isinstance(op, ode.DifferentialEquation)


def lowered(node: Any, sensitivities: bool) -> InitialValueProblem | None:
    """The Op that replaces a DifferentialEquation, or ``None`` if it stays."""
    from jaxlink.dispatch.pymc.differential_equation import as_initial_value_problem

    try:
        return as_initial_value_problem(node, sensitivities)
    except UnsupportedOpError:
        return None


def lower_differential_equations(fgraph: FunctionGraph) -> None:
    """Lower the differential equations in ``fgraph`` and in its inner graphs."""
    if not any(is_differential_equation(node.op) for node in all_nodes(fgraph)):
        return
    reason = "lower_differential_equations"
    for node in fgraph.toposort():
        if not is_differential_equation(node.op):
            continue
        op = lowered(node, sensitivities=bool(fgraph.clients[node.outputs[1]]))
        if op is not None:
            new = _rewritten(op).make_node(*node.inputs).outputs
            fgraph.replace_all(zip(node.outputs, new, strict=False), reason=reason)
            _forget(node, fgraph)
    rewrite_inner_graphs(
        fgraph, lambda _, inner: lower_differential_equations(inner), reason
    )


def _forget(node: Any, fgraph: FunctionGraph) -> None:
    """Remove what ``fgraph`` remembers of a node that was replaced: PyMC's Op holds the
    graphs that it is in, and a program would keep them alive."""
    fgraph.checkpoint()
    for out in node.outputs:
        fgraph.clients.pop(out, None)


def _rewritten(op: InitialValueProblem) -> InitialValueProblem:
    """``op`` with its graph rewritten by PyTensor, which stabilizes its formulas."""
    inner = op.fgraph.unfreeze()
    keep_gradients.rewrite(inner)
    pytensor_rewrites(inner)
    return InitialValueProblem(inner, op.times, op.t0, op.dtype, op.sensitivities)
