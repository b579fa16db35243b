"""The registry of rules, and `Spread`, their result.

A rule takes a node and the supports of its outputs' cotangents, and returns a `Spread`
for each operand. It may leave out the last operands if they are integers, which have no
cotangent. An Op without a rule mixes all elements: its operands' cotangents are zero
only if its outputs' whole cotangents are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytensor.graph.basic import Variable

from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support, either

__all__ = ["Spread", "Walk", "mixed", "spread", "spreads", "spreads_by_element"]


@dataclass
class Spread:
    """An operand's cotangent.

    Attributes:
        support: where it may be nonzero.
        singular: whether a slope that can be infinite or nan multiplies it.
        exact: whether each element comes only from elements of the output's cotangent
            with the same support.
    """

    support: Support | None
    singular: bool = False
    exact: bool = True


@dataclass
class Walk:
    """State that the rules share: for each Op that makes its own comparison, the graph
    that chooses by a mask instead. It is used if the mask is built."""

    chosen: dict[Variable, Callable[..., Any]] = field(default_factory=dict)

    def choose(
        self, node: Any, by_mask: Callable[..., Variable], *masks: Support
    ) -> None:
        """Replace ``node`` by ``by_mask`` if one of ``masks`` is built."""
        self.chosen[node.outputs[0]] = lambda: (
            by_mask if any(mask.is_built for mask in masks) else None
        )


Rule = Callable[..., Sequence[Spread]]
_RULES: dict[type, Rule] = {}


def spreads(*op_types: type) -> Callable[[Rule], Rule]:
    """Register a rule, ``fn(walk, node, *supports)``, for ``op_types``."""

    def register(fn: Rule) -> Rule:
        _RULES.update(dict.fromkeys(op_types, fn))
        return fn

    return register


def spreads_by_element(*op_types: type) -> Callable[[Rule], Rule]:
    """Register a rule for ``op_types``, for a support that differs between elements.
    All operands inherit any other support."""

    def register(fn: Rule) -> Rule:
        @spreads(*op_types)
        def rule(walk: Walk, node: Any, support: Support | None) -> Sequence[Spread]:
            if support is EVERYWHERE or support.is_scalar:
                return [Spread(support)] * len(node.inputs)
            return fn(walk, node, support)

        return rule

    return register


def spread(walk: Walk, node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    """The `Spread` of each operand, from the supports of the outputs that have a
    cotangent."""
    rule = next((_RULES[t] for t in type(node.op).__mro__ if t in _RULES), None)
    if rule is None or len(supports) != len(node.outputs):
        return mixed(node, supports)
    found = list(rule(walk, node, *supports))
    return found + [Spread(EVERYWHERE)] * (len(node.inputs) - len(found))


def mixed(node: Any, supports: Sequence[Support | None]) -> list[Spread]:
    """The result if every operand element may affect every output element."""
    anywhere = either([s and s.any() for s in supports])
    return [Spread(anywhere, singular=True, exact=False)] * len(node.inputs)
