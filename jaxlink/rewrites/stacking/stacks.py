"""Stack nodes, and take parts out of a stack."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.basic import (
    Alloc,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.random.op import RandomVariable

from jaxlink.ops.stacked import Part, Stack, StackedDraws, Whole
from jaxlink.rewrites.stacking.groups import (
    FEWEST,
    known_size,
    operands_of,
    shared_operands,
    stacked_check_of,
    value_of,
)

__all__ = ["Stacks"]


class Stacks:
    """The stacks made so far.

    Arguments:
        same: variables that are the same as an earlier one.

    Attributes:
        places: for each variable, its stack and its place there.
        streams: for each random generator after a draw, its replacement.
    """

    def __init__(self, same: dict[Variable, Variable]):
        self.same = same
        self.places: dict[Variable, tuple[Variable, int]] = {}
        self.streams: dict[Variable, Variable] = {}
        self._wholes: dict[Variable, Variable] = {}
        self._parts: dict[Variable, Variable] = {}

    def part(self, var: Variable) -> Variable:
        """The replacement for a variable that is in a stack."""
        if var in self.streams:
            return self.streams[var]
        if var not in self._parts:
            stack, i = self.places[var]
            if stack not in self._wholes:
                self._wholes[stack] = Whole()(stack)
            part = Part(i)(self._wholes[stack])
            part.name = var.name
            if isinstance(var.type, ScalarType):
                part = pt.scalar_from_tensor(part)
            self._parts[var] = part
        return self._parts[var]

    def add(self, nodes: list[Any]) -> None:
        """Stack ``nodes``."""
        nodes = self._in_order(nodes)
        core, count = nodes[0], len(nodes)
        shared = shared_operands(core) or set()
        if isinstance(core.op, RandomVariable):
            (size, _), *operands = [
                self._joined(nodes, i, shared) for i in range(1, len(core.inputs))
            ]
            if (known := known_size(core)) is not None:
                size = pt.constant(np.array(known, np.int64))
            op = StackedDraws(core, count, [is_mapped for _, is_mapped in operands])
            streams = [self._current(node.inputs[0]) for node in nodes]
            parameters = [var for var, _ in operands]
            *rngs, stack = op(*streams, size, *parameters, return_list=True)
            self.streams.update(
                zip((node.outputs[0] for node in nodes), rngs, strict=True)
            )
        else:
            operands = [
                self._joined(nodes, i, shared) for i in range(len(operands_of(core)))
            ]
            stack = _applied(core, operands, count)
        for i, node in enumerate(nodes):
            self.places[node.outputs[-1]] = stack, i

    def _current(self, var: Variable) -> Variable:
        """A variable, or its replacement."""
        var = self.same.get(var, var)
        return self.part(var) if var in self.places or var in self.streams else var

    def _in_order(self, nodes: list[Any]) -> list[Any]:
        """``nodes`` in the order of their first operand that comes from one stack."""
        for operands in zip(*(node.inputs for node in nodes), strict=True):
            found = self._found(operands)
            if len(found) == len(nodes) and len({stack for stack, _ in found}) == 1:
                order = np.argsort(np.array([i for _, i in found]), kind="stable")
                return [nodes[i] for i in order]
        return nodes

    def _found(self, operands: Sequence[Variable]) -> list[tuple[Variable, int]]:
        variables = [self.same.get(var, var) for var in operands]
        return [self.places[var] for var in variables if var in self.places]

    def _joined(
        self, nodes: list[Any], i: int, shared: set[int]
    ) -> tuple[Variable, bool]:
        """Operand ``i`` of all nodes, and whether it has an axis for them."""
        operands = [self.same.get(node.inputs[i], node.inputs[i]) for node in nodes]
        first = operands[0]
        if i in shared or len({value_of(var) for var in operands}) == 1:
            return self._current(first), False
        if all(isinstance(var, Constant) for var in operands):
            values = np.stack([np.asarray(var.data) for var in operands])
            return pt.constant(values, dtype=values.dtype), True
        found = self._found(operands)
        stacks = {stack for stack, _ in found}
        if len(found) == len(operands) and len(stacks) == 1:
            return _taken(stacks.pop(), [place for _, place in found]), True
        dtype = np.result_type(*(var.type.dtype for var in operands)).name
        parts = [_as_tensor(self._current(var)).astype(dtype) for var in operands]
        return Stack()(*parts), True

    def join_sums(self, fgraph: FunctionGraph) -> dict[Variable, Variable]:
        """In sums of many terms, add up the terms of each stack at once.

        Returns:
            the replaced sums, and their replacements.
        """
        replaced: dict[Variable, Variable] = {}
        for node in fgraph.toposort():
            scalar_op = getattr(node.op, "scalar_op", None)
            if not isinstance(scalar_op, ps.Add) or len(node.inputs) < FEWEST:
                continue
            of_stack: dict[Variable, list[int]] = defaultdict(list)
            terms = []
            for var in node.inputs:
                place = self.places.get(self.same.get(var, var))
                if place is None or var.type != node.outputs[0].type:
                    terms.append(self._current(var))
                else:
                    of_stack[place[0]].append(place[1])
            if max(map(len, of_stack.values()), default=0) < FEWEST:
                continue
            out = node.outputs[0]
            terms += [_taken(stack, sorted(i)).sum(0) for stack, i in of_stack.items()]
            total = pt.add(*terms) if len(terms) > 1 else terms[0]
            replaced[out] = out.type.filter_variable(total.astype(out.type.dtype))
            replaced[out].name = out.name
        return replaced


def _applied(core: Any, operands: Sequence[tuple[Variable, bool]], count: int) -> Any:
    """The node ``core`` for a whole stack."""
    op, variables = core.op, [var for var, _ in operands]
    if isinstance(op, ScalarFromTensor | TensorFromScalar):
        return variables[0]
    if isinstance(op, MakeVector):
        return variables[0].astype(op.dtype)[:, None]
    if (check := stacked_check_of(core)) is not None:
        value, *conditions = map(_as_tensor, variables)
        if not operands[0][1]:
            value = Stack()(*[value] * count)
        return check(value, *conditions)
    if isinstance(op, Elemwise):
        return op(*map(_as_tensor, variables))
    (value,) = variables
    ndim = core.inputs[0].type.ndim
    if isinstance(op, DimShuffle):
        order = ["x" if axis == "x" else axis + 1 for axis in op.new_order]
        return value.dimshuffle([0, *order])
    if isinstance(op, Alloc):
        shape = core.outputs[0].type.shape
        new = len(shape) - ndim
        value = value.dimshuffle([0, *["x"] * new, *range(1, ndim + 1)])
        return pt.alloc(value, count, *shape) if shape else value
    axes = range(ndim) if op.axis is None else [axis % ndim for axis in op.axis]
    return op.clone(axis=[axis + 1 for axis in axes])(value) if axes else value


def _taken(stack: Variable, indices: list[int]) -> Variable:
    """These elements of a stack."""
    first, last = indices[0], indices[-1] + 1
    if indices == list(range(first, last)):
        whole = first == 0 and last == stack.type.shape[0]
        return stack if whole else stack[first:last]
    return stack[np.array(indices)]


def _as_tensor(var: Variable) -> Variable:
    return pt.tensor_from_scalar(var) if isinstance(var.type, ScalarType) else var
