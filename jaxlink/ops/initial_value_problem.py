"""`InitialValueProblem`: a differential equation, solved from its initial state on."""

from collections.abc import Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import HasInnerGraph, Op


class InitialValueProblem(Op, HasInnerGraph):
    """The states at some times, for dy/dt = f(y, t, theta).

    The operands are the initial state, of shape (n,), and theta, of shape (p,). The
    outputs are the states, of shape (n_times, n), and on request their derivatives with
    respect to the initial state and theta, of shape (n_times, n, n + p).

    Arguments:
        fgraph: f, as a graph. The types of its inputs have the lengths n and p.
        times: when the state is wanted. They rise or fall, on one side of ``t0``.
        t0: the time of the initial state.
        dtype: of the outputs.
        sensitivities: whether the derivatives are an output.
    """

    __props__ = ("dtype", "fgraph", "sensitivities", "t0", "times")

    def __init__(
        self,
        fgraph: FunctionGraph,
        times: Sequence[float],
        t0: float,
        dtype: str,
        sensitivities: bool,
    ):
        self.fgraph, self.times, self.t0 = fgraph.freeze(), tuple(times), t0
        self.dtype, self.sensitivities = dtype, sensitivities

    @property
    def inner_inputs(self) -> Sequence[Variable]:
        return self.fgraph.inputs

    @property
    def inner_outputs(self) -> Sequence[Variable]:
        return self.fgraph.outputs

    @property
    def lengths(self) -> tuple[int, int]:
        """The lengths of the initial state and of theta."""
        y, _, theta = self.fgraph.inputs
        return y.type.shape[0], theta.type.shape[0]

    def make_node(self, y0: Variable, theta: Variable) -> Apply:
        n, p = self.lengths
        shapes = [(len(self.times), n), (len(self.times), n, n + p)]
        outputs = [pt.tensor(dtype=self.dtype, shape=shape) for shape in shapes]
        return Apply(self, [y0, theta], outputs[: 1 + self.sensitivities])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise NotImplementedError("InitialValueProblem runs only in JAX")

    def __str__(self) -> str:
        return f"InitialValueProblem{{n_times={len(self.times)}, t0={self.t0}}}"
