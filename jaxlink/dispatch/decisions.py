"""`Decide`: a decision is made once, for a value and for its derivative.

XLA recomputes a comparison in each fusion that reads it, and each fusion may round
differently (fused multiply-add). At a tie, one reader of a mask may then see it true
and another false: a cotangent reaches some operands of a sum and not others, and terms
that should cancel do not. An `optimization_barrier` makes XLA compute the mask once.

A barrier costs a pass over memory, so we use one only if the mask has two readers:
either two in the graph, or one in the graph and one in the derivative, when JAX
differentiates the values that the mask chooses between.
"""

from typing import Any

from jax import lax

from jaxlink.dispatch.registry import Function, rule
from jaxlink.numerics.derivatives import decided
from jaxlink.ops.decide import Decide
from jaxlink.values.static import is_static


@rule(Decide, inner=True)
def decide(op: Decide, node: Any, link: Any) -> Function:
    always = len(node.inputs) == 1

    def run(decision: Any, *differentiated: Any) -> Any:
        if is_static(decision):
            return decision
        if always:
            return lax.optimization_barrier(decision)
        return decided(decision, *(x for x in differentiated if not is_static(x)))

    return run
