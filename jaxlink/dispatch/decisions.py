"""`Decide`: a decision is made once, for its value and for its derivative.

XLA computes a comparison anew in each fusion that reads it, and rounds differently in
each (fused multiply-add). At a tie, one reader of a mask then sees it true and another
false: a cotangent reaches some of the operands of a sum and not others, and terms that
should cancel do not. What passes an `optimization_barrier` is computed once.

A barrier costs a pass over memory, so it is set only if there are two readers: in the
graph, or because JAX differentiates what is chosen between, so that the derivative
reads the mask, too.
"""

from collections.abc import Callable
from typing import Any

from jax import lax

from jaxlink.dispatch.registry import rule
from jaxlink.numerics.derivatives import decided
from jaxlink.ops.decide import Decide
from jaxlink.values.static import is_static

__all__: list[str] = []


@rule(Decide, inner=True)
def decide(op: Decide, node: Any, link: Any) -> Callable[..., Any]:
    del op, link
    always = len(node.inputs) == 1

    def run(decision: Any, *differentiated: Any) -> Any:
        if is_static(decision):
            return decision
        if always:
            return lax.optimization_barrier(decision)
        return decided(decision, *(x for x in differentiated if not is_static(x)))

    return run
