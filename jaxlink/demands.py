"""What must be known before the call: demands, followed backwards through a graph.

A rule says which operands it must know, or is better off to know. Such a demand, or
wish, goes from an operand to all that this is computed from, and ends well at a
constant, a shape or an input that can be static.
"""

import os
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from pytensor.graph.basic import AbstractApply, Constant, Variable
from pytensor.tensor.random.type import RandomType

from jaxlink.errors import CompileError, DynamicShapeError
from jaxlink.static import name_of

if TYPE_CHECKING:
    from jaxlink.linker import Step

__all__ = [
    "describe_node",
    "dynamic_shape",
    "follow_demands",
    "follow_wishes",
    "made_at",
]


def follow_demands(
    inputs: Sequence[Variable],
    steps: Sequence["Step"],
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
    steps: Sequence["Step"],
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


def dynamic_shape(
    node: AbstractApply, operand: int, var: Variable, reason: str
) -> DynamicShapeError:
    direct = var is node.inputs[operand]
    which = f"{name_of(var)}, which {reason}"
    source = f"{name_of(var)} {reason}" if direct else f"it depends on {which}"
    way_out = getattr(node.tag, "needed_because", None) or (
        "Either fix the size (a constant, a shape, an integer input), or allocate an "
        "upper bound and mask it."
    )
    return DynamicShapeError(
        f"{describe_node(node)} needs its operand {operand}, "
        f"{name_of(node.inputs[operand])}, before the function runs, but {source}. "
        f"A JAX array cannot change its shape between calls. {way_out}"
    )


def describe_node(node: AbstractApply) -> str:
    named = [out.name for out in node.outputs if out.name]
    return f"`{node.op}`" + (f" (which computes `{named[0]}`)" if named else "")


def made_at(node: AbstractApply) -> str:
    """The line of the user's code that made ``node``, if PyTensor took it down."""
    libraries = [sys.modules.get(name) for name in ("pytensor", "pymc", "jaxlink")]
    inside = tuple(os.path.dirname(lib.__file__ or "") for lib in libraries if lib)
    for frames in getattr(node.outputs[0].tag, "trace", None) or ():
        own = takewhile(lambda frame: not frame[0].startswith(inside), frames)
        for file, line, *_ in list(own)[-1:]:
            return f", made at {file}:{line}"
    return ""
