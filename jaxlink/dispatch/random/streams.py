"""A function's single key, and the streams in which its random generators start."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlink.dispatch.registry import Function, rule
from jaxlink.ops.streams import RootStreams, Streams, StreamStates
from jaxlink.values.streams import KeysAhead, Stream, root_streams


@rule(RootStreams)
def streams_of_key(op: RootStreams, node: Any) -> Function:
    return lambda stream: tuple(root_streams(stream, op.draws))


@rule(Streams)
def _streams(op: Streams, node: Any) -> Function:
    def run(words: jax.Array) -> tuple[Stream, ...]:
        keys = jax.random.wrap_key_data(words, impl="threefry2x32")
        # Most generators draw once. One fold_in for all makes a smaller program.
        first = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
        ahead = first[:, None]
        return tuple(
            Stream(key, ahead=KeysAhead(ahead, i)) for i, key in enumerate(keys)
        )

    return run


@rule(StreamStates)
def _stream_states(op: StreamStates, node: Any) -> Function:
    def row(stream: Stream) -> jax.Array:
        count = jnp.asarray(stream.count, "uint32")
        return jnp.append(jax.random.key_data(stream.key), count)

    return lambda *streams: jnp.stack([row(stream) for stream in streams])
