"""Stacked graphs: stacks, their parts, and many draws of one distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import optimization_barrier

from jaxlink.dispatch.random.rule import random_variable, static_operands
from jaxlink.dispatch.registry import Function, rule
from jaxlink.ops.stacked import Part, Stack, StackedDraws, Whole
from jaxlink.values.streams import KeysAhead, Stream, draw_keys


@rule(Stack)
def stack(op: Stack, node: Any) -> Function:
    del op, node

    def run(*parts: Any) -> Any:
        # The cotangent is computed as a whole before it is divided (see `Whole`).
        return optimization_barrier(jnp.stack([jnp.asarray(part) for part in parts]))

    return run


@rule(Whole)
def whole(op: Whole, node: Any) -> Function:
    del op, node
    return optimization_barrier


@rule(Part)
def part(op: Part, node: Any) -> Function:
    del node
    return lambda stack: jax.lax.index_in_dim(stack, op.index, keepdims=False)


def _static_operands(op: StackedDraws, node: Any) -> tuple[int, ...]:
    del node
    own = static_operands(op.core_op, op.core_node())
    return tuple(i + op.count - 1 for i in own)


@rule(StackedDraws, static=_static_operands)
def stacked_draws(op: StackedDraws, node: Any) -> Function:
    del node
    draw_one = random_variable(op.core_op, op.core_node())
    axes = tuple(0 if mapped else None for mapped in op.mapped)

    def run(*operands: Any) -> tuple[Any, ...]:
        streams, (size, *parameters) = operands[: op.count], operands[op.count :]
        keys = draw_keys(streams)

        def draw(key: Any, *parameters: Any) -> Any:
            stream = Stream(key, ahead=KeysAhead(key[None, None], 0))
            return draw_one(stream, size, *parameters)[1]

        pairs = list(zip(parameters, op.mapped, strict=True))
        if str(jax.random.key_impl(keys)) == "threefry2x32":
            arrays = [jnp.asarray(x) if mapped else x for x, mapped in pairs]
            draws = jax.vmap(draw, (0, *axes))(keys, *arrays)
        else:  # other implementations draw other bits under vmap
            draws = jnp.stack(
                [
                    draw(key, *(x[i] if mapped else x for x, mapped in pairs))
                    for i, key in enumerate(keys)
                ]
            )
        return (*(stream.next() for stream in streams), draws)

    return run
