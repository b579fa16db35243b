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

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from jaxlink.dispatch.registry import rule
from jaxlink.static import is_static

__all__ = ["Decide", "decided"]


class Decide(Op):
    """The first operand, computed once. If there are others, this is needed only if
    one of them is differentiated."""

    __props__ = ()

    def make_node(self, decision: Any, *differentiated: Any) -> Apply:
        return Apply(self, [decision, *differentiated], [decision.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = inputs[0]


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


@jax.custom_jvp
def decided(decision: Any, *differentiated: Any) -> Any:
    """``decision``, computed once if what it chooses between is differentiated. It has
    no derivative."""
    del differentiated
    return lax.stop_gradient(decision)


@decided.defjvp
def _decided_jvp(primals: Any, tangents: Any) -> Any:
    del tangents
    once = lax.stop_gradient(lax.optimization_barrier(primals[0]))
    if jnp.issubdtype(once.dtype, jnp.inexact):
        return once, jnp.zeros_like(once)
    return once, np.zeros(once.shape, jax.dtypes.float0)
