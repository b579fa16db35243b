"""Loops of unknown length, and ``shard_map``, in a program that `seed` evaluates."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxlink.sampling.interpret import REF, Interpreter, without_refs
from jaxlink.sampling.keys import Count, Streams, streams

__all__ = ["shard_map", "while_loop"]


def while_loop(
    interpreter: Interpreter, eqn: Any, stream: Any, operands: list[Any]
) -> list[Any]:
    """Step t is the scope ``fold_in(stream, t)``."""
    params, one = eqn.params, np.uint32(1)
    condition, body = params["cond_jaxpr"], params["body_jaxpr"]
    i = params["cond_nconsts"]
    j = i + params["body_nconsts"]
    of_condition, of_body, start = operands[:i], operands[i:j], operands[j:]
    in_body, in_condition = interpreter.counted(body), interpreter.counted(condition)

    def at(t: Any) -> Streams:
        n = in_body.plus(in_condition)
        return streams(jax.random.fold_in(stream, t), n) if any(n) else Streams()

    def goes_on(t: Any, carry: Sequence[Any]) -> Any:
        feeds = at(t).part(in_body, in_condition)
        return interpreter.run(condition, feeds, [*of_condition, *carry])[0][0]

    def step(t: Any, carry: Sequence[Any]) -> list[Any]:
        feeds = at(t).part(Count(), in_body)
        return interpreter.run(body, feeds, [*of_body, *carry])[0]

    if not condition.outvars[0].aval.shape:
        _, end = lax.while_loop(
            lambda state: goes_on(*state),
            lambda state: (state[0] + one, step(*state)),
            (np.uint32(0), start),
        )
        return list(end)

    # vmap gave each lane a predicate. JAX evaluates it again for lanes that have
    # stopped, and a random one could wake them up. Here, they stay stopped.
    def masked(state: Any) -> Any:
        alive, t, carry = state
        pairs = zip(step(t, carry), carry, strict=True)
        carry = [_where(alive, new, old) for new, old in pairs]
        return alive & goes_on(t + one, carry), t + one, carry

    first = np.uint32(0)
    state = goes_on(first, start), first, start
    _, _, end = lax.while_loop(lambda state: state[0].any(), masked, state)
    return list(end)


def _where(alive: jax.Array, new: Any, old: Any) -> Any:
    mask = alive.reshape(alive.shape + (1,) * (jnp.ndim(new) - alive.ndim))
    return jnp.where(mask, new, old)


def shard_map(
    interpreter: Interpreter, eqn: Any, stream: Any, operands: Sequence[Any]
) -> list[Any]:
    """A shard's scope folds its index into the stream, axis by axis."""
    params = eqn.params
    known, whole = without_refs(operands)
    mesh = params["mesh"]
    axes = [axis for axis in mesh.axis_names if axis in params["newly_manual_axes"]]
    pairs = zip(params["in_specs"], operands, strict=True)
    specs = [spec for spec, x in pairs if x is not REF]

    def body(stream: Any, *known: Any) -> list[Any]:
        for axis in axes:
            stream = jax.random.fold_in(stream, lax.axis_index(axis))
        return interpreter.in_scope(params["jaxpr"], stream, whole(known))[0]

    return jax.shard_map(
        body,
        mesh=mesh,
        in_specs=(PartitionSpec(), *specs),
        out_specs=list(params["out_specs"]),
        axis_names=set(axes),
        check_vma=params["check_vma"],
    )(stream, *known)
