"""Gradient overrides in the graph survive until JAX differentiates.

PyTensor takes gradients before it rewrites, so its rewrites may drop overrides: they
merge ``grad_clip`` Ops with different bounds, because these compare equal, and inline
an OpFromGraph that has its own pullback. JAX differentiates after the rewrites. So we
replace the first by Ops that compare by their bounds, and do not inline the second.
"""

from typing import Any

from pytensor.compile.builders import OpFromGraph
from pytensor.compile.rewriting import inline_ofg_node
from pytensor.gradient import GradClip, GradScale
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter

from jaxlink.ops.gradients import ClippedGradient, ScaledGradient
from jaxlink.rewrites.sparse import distinguish_structured


@node_rewriter([GradClip, GradScale])
def distinguish_gradient_modifier(fgraph: FunctionGraph, node: Any) -> list[Variable]:
    """grad_clip(x), grad_scale(x) -> Ops that compare by their bounds or multiplier."""
    del fgraph
    op = node.op
    if isinstance(op, GradClip):
        new = ClippedGradient(op.clip_lower_bound, op.clip_upper_bound)
    else:
        new = ScaledGradient(op.multiplier)
    return [new(*node.inputs)]


@node_rewriter([OpFromGraph])
def inline_without_pullback(fgraph: FunctionGraph, node: Any) -> list[Variable] | None:
    """An OpFromGraph made with ``inline=True`` -> its inner graph; declines if it has
    its own pullback."""
    del fgraph
    if not node.op.is_inline or node.op.pullback_overrides is not None:
        return None
    return inline_ofg_node(node)


keep_gradients = dfs_rewriter(
    distinguish_gradient_modifier, inline_without_pullback, distinguish_structured
)
