"""A PyTensor random generator is a stream of keys in JAX.

A stream is a pair ``(key, count)``. A draw uses ``fold_in(key, count)`` and passes on
``(key, count + 1)``. Root *i* of a function's key is ``(fold_in(key, i), 0)``. Hence
the law: the *t*-th draw along root *i* uses ``fold_in(fold_in(key, i), t)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import KeyArgumentError

# The length of a raw key -> its implementation. JAX's default does not matter, because
# the same arguments must give the same result. (A raw unsafe_rbg key counts as rbg, the
# better one; to use unsafe_rbg, pass a typed key.)
_RAW_IMPL = {2: "threefry2x32", 4: "rbg"}

# fold_in commutes with vmap for these. unsafe_rbg promises nothing under vmap.
_BATCHABLE_IMPLS = ("threefry2x32", "rbg")


@dataclass(frozen=True, eq=False)
class KeysAhead:
    """The keys of the first draws along several streams, which were computed in one
    batch: those of one stream are a row of ``keys``."""

    keys: jax.Array
    row: int


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Stream:
    """The state of a random generator while a graph is traced.

    Arguments:
        key: a scalar typed key.
        count: the number of draws made: a Python int while it is known, a ``uint32``
            scalar inside a loop.
        raw: whether the caller passed a raw ``uint32`` key, and so gets one back.
        ahead: the keys of the first draws, if they were computed ahead in a batch.
        drawn: for the next draws, the standard draws that were made ahead; ``None``
            where there is none.
    """

    key: jax.Array
    count: Any = 0
    raw: bool = False
    ahead: KeysAhead | None = field(default=None, compare=False)
    drawn: Sequence[Any] = field(default=(), compare=False)

    def draw_key(self) -> jax.Array:
        """The key of the next draw."""
        if self.ahead is not None and self._is_ahead:
            return self.ahead.keys[self.ahead.row, self.count]
        return jax.random.fold_in(self.key, self.count)

    @property
    def _is_ahead(self) -> bool:
        if self.ahead is None or not isinstance(self.count, int):
            return False
        return self.count < int(self.ahead.keys.shape[1])

    def next(self) -> "Stream":
        """The stream after one draw."""
        step = 1 if isinstance(self.count, int) else np.uint32(1)
        return replace(self, count=self.count + step, drawn=self.drawn[1:])

    def fresh_key(self) -> jax.Array:
        """A key for the caller to continue with: ``key`` itself if nothing was drawn,
        else ``fold_in(key, count)``, which no earlier draw has used."""
        if isinstance(self.count, int):
            key = self.draw_key() if self.count else self.key
        else:
            folded = jax.random.fold_in(self.key, self.count)
            key = jax.lax.select(self.count > 0, folded, self.key)
        return jax.random.key_data(key) if self.raw else key

    def tree_flatten(self) -> tuple[tuple[Any, Any], bool]:
        count = np.uint32(self.count) if isinstance(self.count, int) else self.count
        return (self.key, count), self.raw

    @classmethod
    def tree_unflatten(cls, raw: bool, leaves: Sequence[Any]) -> "Stream":
        key, count = leaves
        return cls(key, count, raw)


def draw_keys(streams: Sequence[Stream]) -> jax.Array:
    """The keys of the next draw along each stream, in one array."""
    first = streams[0]
    rows = [
        stream.ahead.row
        for stream in streams
        if stream.ahead is not None
        and first.ahead is not None
        and stream.ahead.keys is first.ahead.keys
        and stream._is_ahead
        and stream.count == first.count
    ]
    if first.ahead is not None and len(rows) == len(streams):
        return first.ahead.keys[np.array(rows), first.count]
    return jnp.stack([stream.draw_key() for stream in streams])


def root_streams(stream: Stream, draws: Sequence[int]) -> list[Stream]:
    """The streams of all roots of ``stream``, the function's key.

    ``draws[i]`` keys along root *i* are computed ahead. Two batched ``fold_in`` for the
    whole graph compile and run faster than two per random variable, and give the same
    bits.
    """
    key, n_roots = stream.key, len(draws)
    if sum(draws) <= 1 or str(jax.random.key_impl(key)) not in _BATCHABLE_IMPLS:
        keys = [jax.random.fold_in(key, i) for i in range(n_roots)]
        return [Stream(root_key, raw=stream.raw) for root_key in keys]
    fold_in_each = jax.vmap(jax.random.fold_in, (None, 0))
    roots = fold_in_each(key, jnp.arange(n_roots, dtype=np.uint32))
    ahead: dict[int, KeysAhead] = {}
    for n in set(draws) - {0}:
        # Roots with the same number of draws; usually, that is all of them.
        group = [i for i in range(n_roots) if draws[i] == n]
        parents = roots if len(group) == n_roots else roots[np.array(group)]
        counts = jnp.arange(n, dtype=np.uint32)
        children = jax.vmap(fold_in_each, (0, None))(parents, counts)
        ahead |= {i: KeysAhead(children, row) for row, i in enumerate(group)}
    return [Stream(roots[i], 0, stream.raw, ahead.get(i)) for i in range(n_roots)]


def is_typed_key(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def as_stream(value: Any, name: str = "key") -> Stream:
    """The stream that starts at a PRNG key.

    Arguments:
        value: a scalar typed key (``jax.random.key``) of any implementation, or one
            raw ``uint32`` key of 2 words (threefry2x32) or 4 words (rbg).
        name: the argument's name, for the error.

    Raises:
        KeyArgumentError: ``value`` is not one of these.
    """
    dtype, shape = getattr(value, "dtype", None), np.shape(value)
    raw = dtype == np.uint32 and shape != () and shape[-1] in _RAW_IMPL
    if raw or is_typed_key(value):
        batch = shape[:-1] if raw else shape
        if batch:
            raise KeyArgumentError(
                f"argument `{name}` is a batch of {'raw ' if raw else ''}keys of shape "
                f"{shape}, but the function takes one key. Map it over the keys: "
                "jax.vmap(fn, in_axes=(0, ...))."
            )
        if not raw:
            return Stream(value)
        impl = _RAW_IMPL[shape[0]]
        return Stream(jax.random.wrap_key_data(value, impl=impl), raw=True)
    if dtype is None:
        what = f"a {type(value).__name__}"
    else:
        what = f"an array of dtype {dtype} and shape {shape}"
    hint = ""
    if shape == () and (dtype is None or jnp.issubdtype(dtype, jnp.integer)):
        hint = " To use a seed, write jax.random.key(seed)."
    raise KeyArgumentError(
        f"argument `{name}` must be a JAX PRNG key, such as jax.random.key(0), but is "
        f"{what}.{hint}"
    )
