"""The registry of rules, and what a rule returns.

Each rule takes a node and the supports of its outputs' cotangents, and returns a
`Spread` for each operand. What has no rule mixes all elements: the cotangents of its
operands are zero only if the whole cotangent of its outputs is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytensor.graph.basic import Variable

from jaxlink.rewrites.derivatives.supports import Support, either

__all__ = ["Spread", "Walk", "mixed", "spread", "spreads"]


@dataclass
class Spread:
    """What an operand's cotangent is like.

    ``support``: where it may be other than zero. ``singular``: whether it is multiplied
    by a slope that can be infinite or nan. ``exact``: whether each element of it comes
    from elements of the output's cotangent that have the same support as it.
    """

    support: Support | None
    singular: bool = False
    exact: bool = True


@dataclass
class Walk:
    """What the rules share: Ops that choose by a comparison of their own, each with
    the graph that chooses by a mask instead, in case something is masked by it."""

    chosen: dict[Variable, Callable[..., Any]] = field(default_factory=dict)

    def choose(
        self, node: Any, by_mask: Callable[..., Variable], *masks: Support
    ) -> None:
        """Let ``by_mask`` replace ``node`` if one of ``masks`` is built."""
        self.chosen[node.outputs[0]] = lambda: (
            by_mask if any(mask.is_built for mask in masks) else None
        )


Rule = Callable[..., Sequence[Spread]]
_RULES: dict[type, Rule] = {}


def spreads(*op_types: type) -> Callable[[Rule], Rule]:
    """Register a rule, ``fn(walk, node, *supports)``, for types of Ops."""

    def register(fn: Rule) -> Rule:
        _RULES.update(dict.fromkeys(op_types, fn))
        return fn

    return register


def spread(walk: Walk, node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    """The `Spread` of each operand, from the supports of the outputs that have a
    cotangent."""
    rule = next((_RULES[t] for t in type(node.op).__mro__ if t in _RULES), None)
    if rule is None or len(supports) != len(node.outputs):
        return mixed(node, supports)
    return list(rule(walk, node, *supports))


def mixed(node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    """That each element of each operand may reach each element of each output."""
    anywhere = either([s and s.any() for s in supports])
    return [Spread(anywhere, singular=True, exact=False)] * len(node.inputs)
