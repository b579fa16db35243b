"""Ops that hold an inner graph, and the gradient that its author wrote for it."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.null_type import NullType

from jaxlink.dispatch.registry import Linked, rule
from jaxlink.values.static import is_static, to_dynamic
from jaxlink.values.streams import Stream
from jaxlink.values.types import dtype_of


@rule(OpFromGraph, inner=True)
def op_from_graph(op: Any, node: Any, link: Any) -> Linked:
    inner = link.link(op.fgraph)
    forward = Linked(inner, inner.static, inner.preferred_static)
    if op.pullback_overrides is None:
        return forward
    return with_pullback(op, node, forward, link)


def with_pullback(op: Any, node: Any, forward: Linked, link: Any) -> Linked:
    """``forward``, which computes ``op``, with the gradient of the Op's pullback."""
    inputs = [var.type() for var in node.inputs]
    outputs = [var.type() for var in node.outputs]
    dtypes = [dtype_of(out.type) for out in outputs]
    smooth = [i for i, dtype in enumerate(dtypes) if dtype.startswith(("f", "c"))]
    cotangents = [
        out.type() if i in smooth else disconnected_type()
        for i, out in enumerate(outputs)
    ]
    given = [cotangents[i] for i in smooth]

    @cache
    def linked_pullback() -> tuple[list[Any], Any]:
        gradients = op.pullback(inputs, outputs, cotangents)
        connected = [
            g for g in gradients if not isinstance(g.type, DisconnectedType | NullType)
        ]
        fgraph = FunctionGraph([*inputs, *outputs, *given], connected, clone=False)
        return gradients, link.of_pullback()(fgraph)

    # A pullback may contain the Op itself (the Sylvester equation's does). So a
    # pullback inside a pullback is linked only for second derivatives.
    wanted = () if link.in_pullback else linked_pullback()[1].static
    static = {*forward.static, *(i for i in wanted if i < len(inputs))}

    def run(*operands: Any) -> tuple[Any, ...]:
        dynamic = [i for i, value in enumerate(operands) if not is_static(value)]

        def full(values: Sequence[Any]) -> list[Any]:
            given = dict(zip(dynamic, values, strict=True))
            return [given.get(i, value) for i, value in enumerate(operands)]

        @jax.custom_vjp
        def call(*values: Any) -> tuple[Any, ...]:
            return tuple(map(to_dynamic, forward.run(*full(values))))

        def call_and_save(*values: Any) -> tuple[tuple[Any, ...], Any]:
            outs = call(*values)
            return outs, (values, outs)

        def backward(residuals: Any, cts: Any) -> tuple[Any, ...]:
            gradients, pullback = linked_pullback()
            values, outs = residuals
            given = [cts[i] for i in smooth]
            computed = iter(pullback(*full(values), *outs, *given))
            cotangents = [_cotangent(g, computed) for g in gradients]
            pairs = zip(dynamic, values, strict=True)
            return tuple(cotangents[i](value) for i, value in pairs)

        call.defvjp(call_and_save, backward)
        return call(*(operands[i] for i in dynamic))

    return Linked(run, tuple(sorted(static)), forward.preferred)


def _cotangent(gradient: Any, computed: Any) -> Callable[[Any], Any]:
    """A function from an operand's value to its cotangent.

    ``None`` is JAX's zero. An undefined gradient is nan, so that it is never mistaken
    for a number.
    """
    if isinstance(gradient.type, DisconnectedType):
        return lambda value: None
    undefined = isinstance(gradient.type, NullType)
    g = None if undefined else next(computed)

    def of(value: Any) -> Any:
        if isinstance(value, Stream) or not jnp.issubdtype(value.dtype, jnp.inexact):
            return None
        if undefined:
            return jnp.full_like(value, jnp.nan)
        return jnp.asarray(g, value.dtype)

    return of
