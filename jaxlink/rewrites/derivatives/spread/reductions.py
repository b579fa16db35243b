"""Ops that combine many elements: reductions, products, linear algebra."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytensor.scalar as ps
from pytensor.graph.basic import Variable
from pytensor.tensor.blas import BatchedDot
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce
from pytensor.tensor.math import Dot
from pytensor.tensor.special import LogSoftmax, LogSumExp, Softmax

from jaxlink.ops.attained import Attained, ReadAttained
from jaxlink.rewrites.derivatives.spread.rules import Spread, Walk, mixed, spreads
from jaxlink.rewrites.derivatives.supports import EVERYWHERE, Support, both


@spreads(CAReduce)
def _reduction(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    x = node.inputs[0]
    support = _spread_out(node, support)
    scalar_op = node.op.scalar_op
    if not isinstance(scalar_op, ps.Maximum | ps.Minimum):
        return [Spread(support, singular=not isinstance(scalar_op, ps.Add))]
    attained = Support(lambda: Attained(node.op)(x), x.type.broadcastable)

    def by_mask(x: Variable) -> Variable:
        return ReadAttained(node.op)(x, attained.array(x.type.ndim))

    walk.choose(node, by_mask, attained)
    return [Spread(both(support, attained))]


def _spread_out(node: Any, support: Support | None) -> Support | None:
    """The support of a reduction's operand: the result's support, repeated along the
    reduced axes."""
    if support is EVERYWHERE or support.is_scalar:
        return support
    x = node.inputs[0].type
    axes = _axes(node)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = [kept.index(i) if i in kept else "x" for i in range(x.ndim)]
    flags = [i not in kept or x.broadcastable[i] for i in range(x.ndim)]
    return support.map(lambda mask: mask.dimshuffle(order), flags)


def _axes(node: Any) -> Iterable[int]:
    ndim, axis = node.inputs[0].type.ndim, node.op.axis
    return range(ndim) if axis is None else np.atleast_1d(axis) % ndim


@spreads(LogSumExp)
def _log_sum_exp(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    return [Spread(_spread_out(node, support), singular=True)]


@spreads(Softmax, LogSoftmax)
def _softmax(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    over = support and support.any(_axes(node))
    return [Spread(over, singular=True, exact=False)]


@spreads(Dot, BatchedDot)
def _product(walk: Walk, node: Any, support: Support | None) -> list[Spread]:
    """Each operand element affects several results, so only a scalar support passes."""
    own = support if support and support.is_scalar else EVERYWHERE
    return [Spread(own, singular=True, exact=False)] * len(node.inputs)


@spreads(Blockwise)
def _blockwise(walk: Walk, node: Any, *supports: Support | None) -> list[Spread]:
    """The elements of a batch are independent."""
    if len(supports) > 1:
        return mixed(node, supports)
    (support,) = supports
    if support is EVERYWHERE or support.is_scalar:
        return [Spread(support, singular=True)] * len(node.inputs)
    n_batch = node.op.batch_ndim(node)
    core = range(n_batch, node.outputs[0].type.ndim)

    def of(var: Variable) -> Support:
        n_core = var.type.ndim - n_batch
        flags = support.broadcastable[:n_batch]
        order = [*range(n_batch), *["x"] * n_core]
        own = support.any(core).map(
            lambda mask: mask[(..., *[0] * len(core))].dimshuffle(order),
            [*flags, *[True] * n_core],
        )
        return own.any(i for i in range(n_batch) if var.type.broadcastable[i])

    return [Spread(of(var), singular=True, exact=False) for var in node.inputs]
