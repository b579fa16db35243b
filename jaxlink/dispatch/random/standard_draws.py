"""Standard draws that are made before their parameters are known.

Many draws transform a standard draw by their parameters: ``loc + scale * z``. So all
standard draws of a graph can be made together, from one generation of random bits. That
compiles faster, and gives the same bits: number *j* of a draw comes from the hash of
its key and *j*, whatever else is drawn (with `jax_threefry_partitionable`, JAX's
default).

Salmon, Moraes, Dror, Shaw (2011). Parallel random numbers: as easy as 1, 2, 3.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_2x32
from pytensor.graph.basic import Apply
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType

from jaxlink.dispatch.random.registry import find_row
from jaxlink.numerics.random.continuous import FromStandard
from jaxlink.values.static import canonical
from jaxlink.values.streams import Stream

__all__ = ["StandardDraw", "draws_along", "standard_of", "with_standard_draws"]

# In elements. XLA takes as long to compile a small draw as a large one, but many large
# ones run faster if each goes from bits to its end in one piece.
LARGEST = 256


class StandardDraw(NamedTuple):
    """A standard draw, which a draw of a graph transforms.

    Attributes:
        standard: ``(key, shape, dtype) -> draws``.
        shape, dtype: of the draw.
    """

    standard: Callable[..., jax.Array]
    shape: tuple[int, ...]
    dtype: str

    @property
    def family(self) -> tuple[Any, str]:
        """Equal for draws that one call of ``standard`` can make."""
        return self.standard, str(canonical(self.dtype))

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def standard_of(op: RandomVariable) -> Callable[..., jax.Array] | None:
    """What makes the standard draws that this random variable transforms, if any."""
    row = find_row(op)
    draw = None if row is None else row.draw
    return draw.standard if isinstance(draw, FromStandard) else None


def draws_along(fgraph: Any, stream: Any) -> tuple[Apply | None, ...]:
    """The draws along a random generator, in order. ``None`` stands for one that does
    not transform a standard draw."""
    found: list[Apply | None] = []
    while isinstance(stream.type, RandomType):
        draws = [
            client
            for client, i in fgraph.clients[stream]
            if isinstance(client.op, RandomVariable) and i == 0
        ]
        if not draws:
            break
        if len(draws) > 1 or len(fgraph.clients[stream]) > 1:
            return ()
        stream = draws[0].outputs[0]
        found.append(None if standard_of(draws[0].op) is None else draws[0])
    return tuple(found)


def with_standard_draws(
    streams: Sequence[Stream], planned: Sequence[Sequence[StandardDraw | None]]
) -> list[Stream]:
    """The streams with the standard draws of their first draws, where there are some.

    Arguments:
        streams: the streams of all roots, with their keys ahead.
        planned: for each, its first draws.
    """
    chosen = [
        (root, place, draw)
        for root, draws in enumerate(planned)
        for place, draw in enumerate(draws)
        if draw is not None and 0 < draw.size <= LARGEST
    ]
    # Only these bits do not depend on the number of draws.
    impl = str(jax.random.key_impl(streams[0].key)) if streams else ""
    separable = impl == "threefry2x32" and jax.config.jax_threefry_partitionable
    if len(chosen) < 2 or not separable:
        return list(streams)
    families = list(dict.fromkeys(draw.family for _, _, draw in chosen))
    chosen.sort(key=lambda each: families.index(each[2].family))
    keys = [replace(streams[root], count=place).draw_key() for root, place, _ in chosen]
    drawn = _together([draw for _, _, draw in chosen], keys)
    of_root: dict[int, dict[int, Any]] = defaultdict(dict)
    for (root, place, _), value in zip(chosen, drawn, strict=True):
        of_root[root][place] = value
    return [
        replace(stream, drawn=[of_root[root].get(i) for i in range(len(draws))])
        for root, (stream, draws) in enumerate(zip(streams, planned, strict=True))
    ]


def _together(
    draws: Sequence[StandardDraw], keys: Sequence[jax.Array]
) -> list[jax.Array]:
    """All standard draws, for a key of each. Those of one family follow each other, and
    are one piece."""
    found: list[jax.Array] = []
    pairs = zip(draws, keys, strict=True)
    for (standard, dtype), group in groupby(pairs, lambda pair: pair[0].family):
        members, own = zip(*group, strict=True)
        sizes = [draw.size for draw in members]
        total = sum(sizes)
        key = jax.random.wrap_key_data(_bits(own, sizes), impl=_impl_of_bits(total))
        # Otherwise XLA draws again in each place that reads a part.
        flat = jax.lax.optimization_barrier(standard(key, (total,), dtype))
        found += [
            piece.reshape(draw.shape)
            for piece, draw in zip(jax.lax.split(flat, sizes), members, strict=True)
        ]
    return found


def _bits(keys: Sequence[jax.Array], sizes: Sequence[int]) -> jax.Array:
    """The random bits of draws of these sizes: the first words of all numbers, and then
    their second words. Apart they run faster than as pairs."""
    words = [jax.random.key_data(key) for key in keys]
    of_elements = [
        jnp.concatenate(
            [jnp.full(size, word[i]) for word, size in zip(words, sizes, strict=True)]
        )
        for i in range(2)
    ]
    numbers = [jax.lax.iota(np.uint32, size) for size in sizes]
    counts = [jnp.zeros(sum(sizes), np.uint32), *numbers]
    return threefry_2x32(of_elements, jnp.concatenate(counts))


@cache
def _impl_of_bits(size: int) -> Any:
    """An implementation of keys that consist of ``size`` random numbers, two words
    each. So JAX's samplers use these."""

    def random_bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
        assert shape == (size,), "a standard draw reads its bits once"
        high, low = jax.lax.split(key, [size, size])
        if width == 64:
            return high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
        return (high ^ low).astype(f"uint{width}")

    def refuse(*args: Any) -> Any:
        raise AssertionError("a standard draw reads its bits once")

    return define_prng_impl(
        key_shape=(2 * size,),
        seed=refuse,
        split=refuse,
        random_bits=random_bits,
        fold_in=refuse,
        name=f"bits{size}",
        tag="bits",
    )
