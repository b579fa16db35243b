"""What must be known before the call: demands, followed backwards through a graph.

A rule says which operands it must know, or is better off to know. Such a demand, or
wish, goes from an operand to all that this is computed from, and ends well at a
constant, a shape or an input that can be static.
"""

from collections.abc import Callable, Collection, Sequence

from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.tensor.random.type import RandomType

from jaxlink.errors import CompileError
from jaxlink.link.step import Step, dynamic_shape

__all__ = ["follow_demands", "follow_wishes"]


def follow_demands(
    inputs: Sequence[Variable],
    steps: Sequence[Step],
    obstacles: list[CompileError],
    why_not_static: Callable[[Variable], str | None],
) -> dict[Variable, tuple[AbstractApply, int]]:
    """All variables whose value is needed before the call, each with who needs it.

    A demand goes from an output of a node to all its operands, and ends at a shape, a
    constant or an input. At anything else it is an obstacle.
    """
    arguments = set(inputs)
    demands: dict[Variable, tuple[AbstractApply, int]] = {}
    refused: set[tuple[Variable, AbstractApply, int]] = set()

    def demand(var: Variable, by: tuple[AbstractApply, int]) -> None:
        if isinstance(var, Constant) or var in demands:
            return
        reason = None
        if var in arguments:
            reason = why_not_static(var)
        elif any(isinstance(i.type, RandomType) for i in var.owner.inputs):
            reason = f"is a draw of {getattr(var.owner.op, 'name', var.owner.op)}"
        if reason is None:
            demands[var] = by
        elif (var, *by) not in refused:
            refused.add((var, *by))
            obstacles.append(dynamic_shape(*by, var, reason))

    for step in reversed(steps):
        node = step.node
        known = step.rule.known_outputs(node)
        unknown = [out for out in node.outputs if out not in known]
        by = next((demands[out] for out in unknown if out in demands), None)
        if by is not None:
            step.demanded = True
            for var in node.inputs:
                demand(var, by)
        for i in step.static:
            demand(node.inputs[i], (node, i))
    return demands


def follow_wishes(
    inputs: Sequence[Variable],
    steps: Sequence[Step],
    why_not_static: Callable[[Variable], str | None],
    varying: Collection[int],
) -> set[Variable]:
    """All variables that some node is better off to know before the call, of those that
    can be known then."""
    numbers = {var: i for i, var in enumerate(inputs)}
    known_outputs = {
        out for step in steps for out in step.rule.known_outputs(step.node)
    }

    def can_be_known(var: Variable) -> bool:
        pending, seen = [var], {var}
        while pending:
            var = pending.pop()
            if var in numbers:
                if numbers[var] in varying or why_not_static(var) is not None:
                    return False
            elif not isinstance(var, Constant) and var not in known_outputs:
                new = set(var.owner.inputs) - seen
                if any(isinstance(i.type, RandomType) for i in new):
                    return False
                seen |= new
                pending.extend(new)
        return True

    wishes: set[Variable] = set()
    for step in reversed(steps):
        unknown = set(step.node.outputs) - known_outputs
        if not wishes.isdisjoint(unknown):
            step.demanded = True
            wishes.update(step.node.inputs)
        wishes.update(
            step.node.inputs[i]
            for i in step.wished
            if can_be_known(step.node.inputs[i])
        )
    return wishes
