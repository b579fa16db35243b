"""Find the variables that must be known before the call, backwards through the graph.

A rule says which operands are *required* to be static, and which are only *preferred*
static. Everything that such an operand is computed from must then be static too, back
to constants, shapes and inputs that can be static.
"""

from collections.abc import Callable, Collection, Sequence

from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.tensor.random.type import RandomType

from jaxlink.errors import CompileError
from jaxlink.link.step import Step, dynamic_shape

__all__ = ["follow_preferred", "follow_required"]


def follow_required(
    inputs: Sequence[Variable],
    steps: Sequence[Step],
    obstacles: list[CompileError],
    why_not_static: Callable[[Variable], str | None],
) -> dict[Variable, tuple[AbstractApply, int]]:
    """All variables whose values are required before the call, each with the node and
    the operand number that require it.

    A requirement passes from a node's output to all its operands, and ends at shapes,
    constants and inputs. If it reaches a draw, or an input that cannot be static, that
    is an obstacle.
    """
    arguments = set(inputs)
    required: dict[Variable, tuple[AbstractApply, int]] = {}
    refused: set[tuple[Variable, AbstractApply, int]] = set()

    def require(var: Variable, by: tuple[AbstractApply, int]) -> None:
        if isinstance(var, Constant) or var in required:
            return
        reason = None
        if var in arguments:
            reason = why_not_static(var)
        elif any(isinstance(i.type, RandomType) for i in var.owner.inputs):
            reason = f"is a draw of {getattr(var.owner.op, 'name', var.owner.op)}"
        if reason is None:
            required[var] = by
        elif (var, *by) not in refused:
            refused.add((var, *by))
            obstacles.append(dynamic_shape(*by, var, reason))

    for step in reversed(steps):
        node = step.node
        known = step.rule.known_outputs(node)
        unknown = [out for out in node.outputs if out not in known]
        by = next((required[out] for out in unknown if out in required), None)
        if by is not None:
            step.is_required = True
            for var in node.inputs:
                require(var, by)
        for i in step.static:
            require(node.inputs[i], (node, i))
    return required


def follow_preferred(
    inputs: Sequence[Variable],
    steps: Sequence[Step],
    why_not_static: Callable[[Variable], str | None],
    varying: Collection[int],
) -> set[Variable]:
    """All variables that some node prefers static, and that can be."""
    numbers = {var: i for i, var in enumerate(inputs)}
    known_outputs = {
        out for step in steps for out in step.rule.known_outputs(step.node)
    }

    def can_be_static(var: Variable) -> bool:
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

    preferred: set[Variable] = set()
    for step in reversed(steps):
        unknown = set(step.node.outputs) - known_outputs
        if not preferred.isdisjoint(unknown):
            step.is_required = True
            preferred.update(step.node.inputs)
        preferred.update(
            step.node.inputs[i]
            for i in step.preferred
            if can_be_static(step.node.inputs[i])
        )
    return preferred
