"""A function's single key, and the streams in which its random generators start."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.dispatch.random.standard_draws import (
    StandardDraw,
    standard_of,
    with_standard_draws,
)
from jaxlink.dispatch.registry import Function, Linked, rule
from jaxlink.ops.streams import RootStreams, Streams, StreamStates
from jaxlink.sampling.unseeded import is_unseeded, unseeded_roots
from jaxlink.values.streams import KeysAhead, Stream, root_streams
from jaxlink.values.symbolic_sizes import is_symbolic


@rule(RootStreams, inner=True)
def streams_of_key(op: RootStreams, node: Any, link: Any) -> Linked:
    del link
    planned = [
        [entry and (standard_of(entry[0]), *entry[1:]) for entry in along]
        for along in op.standard
    ]

    def run(*operands: Any) -> tuple[Stream, ...]:
        if is_unseeded(operands[0].key):
            return _starting_at(*unseeded_roots(len(op.draws)))
        streams = root_streams(operands[0], op.draws)
        draws = [[_known(entry, operands) for entry in along] for along in planned]
        return tuple(with_standard_draws(streams, draws))

    return Linked(run, preferred=tuple(range(1, len(node.inputs))))


def _known(entry: Any, operands: Sequence[Any]) -> StandardDraw | None:
    """The draw of an entry, if its shape is known."""
    if entry is None or entry[0] is None:
        return None
    standard, dtype, shape = entry
    if isinstance(shape, int):
        shape = operands[shape]
        if not isinstance(shape, np.ndarray) or is_symbolic(shape):
            return None
        shape = tuple(shape.tolist())
    return StandardDraw(standard, shape, dtype)


@rule(Streams)
def _streams(op: Streams, node: Any) -> Function:
    def run(words: jax.Array) -> tuple[Stream, ...]:
        keys = jax.random.wrap_key_data(words, impl="threefry2x32")
        # Most generators draw once. One fold_in for all makes a smaller program.
        first = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
        return _starting_at(keys, first)

    return run


def _starting_at(keys: jax.Array, first: jax.Array) -> tuple[Stream, ...]:
    """The streams of these keys, given the keys of their first draws."""
    ahead = first[:, None]
    return tuple(Stream(key, ahead=KeysAhead(ahead, i)) for i, key in enumerate(keys))


@rule(StreamStates)
def _stream_states(op: StreamStates, node: Any) -> Function:
    def row(stream: Stream) -> jax.Array:
        count = jnp.asarray(stream.count, "uint32")
        return jnp.append(jax.random.key_data(stream.key), count)

    return lambda *streams: jnp.stack([row(stream) for stream in streams])
