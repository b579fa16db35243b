"""Functions that run in stages, because a shape depends on an intermediate value.

Two intermediate values can fix later shapes: the number of steps of a Scan that stops
on a condition, and the condition of an ``ifelse`` with branches of different shapes. A
JAX function cannot compute such a value and then continue, but a PyTensor function
under `jaxlink.MODE` can. A first program computes the number of steps, or the
condition, and the next program takes it as known.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs, io_toposort
from pytensor.scan.op import Scan

from jaxlink.dispatch.control import IfElse

Program = Callable[..., Any]


def needs_stages(outputs: Sequence[Variable]) -> bool:
    """Whether the graph computes a value that a later stage must know."""
    return _first_unknown(outputs) is not None


class Staged:
    """A graph as a sequence of programs, one per stage.

    Arguments:
        outputs, inputs: the graph. A stage after a Scan has one more input.
        build: compiles outputs and inputs to a program.
    """

    def __init__(
        self,
        outputs: Sequence[Variable],
        inputs: Sequence[Variable],
        build: Callable[[Sequence[Variable], Sequence[Variable]], Program],
    ):
        self.outputs, self.inputs, self.build = list(outputs), list(inputs), build
        self.node = _first_unknown(outputs)
        self.stages: dict[Any, Staged] = {}
        if self.node is None:
            self.run = build(outputs, inputs)
        elif isinstance(self.node.op, Scan):
            out, _, depth = _traced(self.node)[0]
            self.run = build([out.shape[0] - depth], inputs)  # the steps made
            self._after(None)  # raise any compile error now
        else:
            self.run = build([pt.neq(self.node.inputs[0], 0)], inputs)

    def __call__(self, *args: Any) -> Any:
        if self.node is None:
            return self.run(*args)
        value = np.asarray(self.run(*args)[0])
        if isinstance(self.node.op, Scan):
            # One program for any number of steps; JAX compiles it for each.
            return self._after(None)(*args, value)
        return self._after(bool(value))(*args)

    def _after(self, known: Any) -> "Staged":
        if known not in self.stages:
            node, inputs = self.node, self.inputs
            if isinstance(node.op, Scan):
                n_steps = pt.lscalar("n_steps")
                inputs = [*inputs, n_steps]
                new = _with_n_steps(node, n_steps)
            else:
                n = node.op.n_outs
                new = node.inputs[1 : 1 + n] if known else node.inputs[1 + n :]
            pairs = {
                old: old.type.filter_variable(var, allow_convert=True)
                for old, var in zip(node.outputs, new, strict=True)
            }
            outputs = graph_replace(self.outputs, pairs, strict=False)
            self.stages[known] = Staged(outputs, inputs, self.build)
        return self.stages[known]


def _first_unknown(outputs: Sequence[Variable]) -> Any:
    """The first node that fixes shapes by a value it computes. An ``ifelse`` comes
    first, because a Scan may be in the branch that is not taken."""
    scans = []
    for node in io_toposort(list(graph_inputs(outputs)), outputs):
        if isinstance(node.op, IfElse) and _may_differ(node):
            return _first_unknown([node.inputs[0]]) or node
        if isinstance(node.op, Scan) and node.op.info.as_while and _traced(node):
            scans.append(node)
    return scans[0] if scans else None


def _may_differ(node: Any) -> bool:
    """Whether the branches of an ``ifelse`` may have different shapes."""
    n = node.op.n_outs
    shapes = [getattr(var.type, "shape", ()) for var in node.inputs[1:]]
    return shapes[:n] != shapes[n:] or any(None in shape for shape in shapes)


def _traced(node: Any) -> list[tuple[Variable, int, int]]:
    """The outputs of a Scan that hold all steps, each with the number of its operand,
    and the number of initial values before the steps."""
    info = node.op.info
    states = [*info.mit_sot_in_slices, *info.sit_sot_in_slices]
    depths = [-min(taps) for taps in states] + [0] * info.n_nit_sot
    first = 1 + info.n_seqs + info.n_mit_mot
    places = [first + i for i in range(len(states))]
    first_nit_sot = first + len(states) + info.n_untraced_sit_sot
    places += [first_nit_sot + i for i in range(info.n_nit_sot)]
    outs = node.outputs[info.n_mit_mot :]
    return list(zip(outs, places, depths, strict=False))


def _with_n_steps(node: Any, n_steps: Variable) -> Sequence[Variable]:
    """The outputs of the Scan with ``n_steps`` steps and no condition."""
    op = node.op
    inputs = [n_steps, *node.inputs[1:]]
    for _, place, depth in _traced(node):
        inputs[place] = inputs[place][: n_steps + depth] if depth else n_steps
    inner = op.fgraph.unfreeze()
    fixed = Scan(
        inner.inputs,
        inner.outputs[:-1],
        replace(op.info, as_while=False),
        mode=op.mode,
        truncate_gradient=op.truncate_gradient,
        name=op.name,
    )
    return fixed(*inputs, return_list=True)
