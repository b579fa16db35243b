"""PyMC's differential equations."""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.ode import DifferentialEquation
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import graph_inputs

from jaxlink.dispatch.ode import initial_value_problem, load_diffrax
from jaxlink.dispatch.registry import Linked, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.ops.initial_value_problem import InitialValueProblem


# Most are lowered before they are linked. This is for the others: those in a graph that
# a rule makes, and those that cannot be lowered, so that the reason is an obstacle.
@rule(DifferentialEquation, inner=True)
def differential_equation(op: Any, node: Any, link: Any) -> Linked:
    del op
    problem = as_initial_value_problem(node, sensitivities=True)
    return initial_value_problem(problem, node, link)


def as_initial_value_problem(node: Any, sensitivities: bool) -> InitialValueProblem:
    """The Op of ``node``, with a graph instead of its Python function.

    Arguments:
        node: applies PyMC's Op. Its function is called once, as PyMC calls it.
        sensitivities: whether they are an output.

    Raises:
        UnsupportedOpError: if this cannot become a JAX function.
    """
    load_diffrax()
    op = node.op
    name = getattr(op.func, "__name__", repr(op.func))
    steps = np.diff([op.t0, *op.times])
    if not len(steps) or not ((steps >= 0).all() or (steps <= 0).all()):
        raise UnsupportedOpError(
            f"the DifferentialEquation of `{name}` needs times that rise or fall, from "
            f"t0={op.t0} on, but they are {op.times}."
        )
    y = pt.vector("y", dtype="float64", shape=(op.n_states,))
    t = pt.scalar("t", dtype="float64")
    theta = pt.vector("theta", dtype="float64", shape=(op.n_theta,))
    slope = _as_vector(op.func(y, t, theta))
    shared = [v for v in graph_inputs([slope]) if isinstance(v, SharedVariable)]
    if shared:
        names = ", ".join(f"`{v.name}`" for v in shared)
        raise UnsupportedOpError(
            f"the DifferentialEquation of `{name}` reads shared data, {names}. Pass "
            "them as elements of theta, or use a NumPy array."
        )
    fgraph = FunctionGraph([y, t, theta], [slope], clone=False)
    times, t0 = tuple(map(float, op.times)), float(op.t0)
    dtype = node.outputs[0].type.dtype
    return InitialValueProblem(fgraph, times, t0, dtype, sensitivities)


def _as_vector(slope: Any) -> Variable:
    """What a function returned: a variable, or a sequence of scalars."""
    if isinstance(slope, Variable):
        return pt.atleast_1d(slope)
    return pt.stack(slope)
