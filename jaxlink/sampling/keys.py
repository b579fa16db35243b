"""The law of keys: which key each draw of a program gets.

A scope has a key k, and positions 0, 1, ... for its draws, loops and branches, in the
order of the program. Position p is the stream s = fold_in(k, p).

==========================  ============================================================
a draw                      ``fold_in(s, 0)``
lane i of ``vmap``          folds i into the draw's key, the outermost lane first
scan, while, fori_loop      step t is the scope ``fold_in(s, t)``; the draws of a
                            condition are numbered after those of the body
cond, switch                branch b is the scope ``fold_in(s, b)``
shard_map                   a shard's scope folds ``axis_index`` into s, axis by axis
jit, checkpoint             none: their draws are numbered in the scope around them
custom_jvp, custom_vjp      none: a jvp or fwd rule numbers its draws as the function
                            does that it replaces. The bwd rule of the q-th custom_vjp
                            is the scope ``r = fold_in(k, 2**32 - 1 - q)``; bwd rules
                            within that custom_vjp count from ``fold_in(r, 2**31)``
==========================  ============================================================

So position p is what root p of a jaxlink function is, and its draw the root's first.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import KeyArgumentError, UnsupportedConstructError

__all__ = [
    "Count",
    "Streams",
    "first_of_each",
    "fold_in_each",
    "from_words",
    "own_in_each",
    "streams",
    "to_words",
    "within",
]

# Enough words for a key of each implementation that JAX has.
WORDS = 4


def fold_in_each(key: jax.Array, n: int) -> jax.Array:
    """``fold_in(key, i)`` for i = 0 ... n - 1."""
    return _folded(key, np.arange(n, dtype=np.uint32))


def first_of_each(streams: jax.Array) -> jax.Array:
    """The keys of the first draws along streams."""
    return _fold(streams, 0)


def own_in_each(keys: jax.Array) -> jax.Array:
    """``fold_in(key, i)`` of the i-th of ``keys``."""
    numbers = np.arange(len(keys), dtype=np.uint32)
    if str(jax.random.key_impl(keys)) == "unsafe_rbg":  # other bits under vmap
        pairs = zip(keys, numbers, strict=True)
        return jnp.stack([_fold(key, i) for key, i in pairs])
    return jax.vmap(_fold)(keys, numbers)


def _fold(keys: jax.Array, number: Any) -> jax.Array:
    """``fold_in(key, number)`` of all keys."""
    if keys.ndim == 0:
        return jax.random.fold_in(keys, number)
    if str(jax.random.key_impl(keys)) == "unsafe_rbg":  # other bits under vmap
        return jnp.stack([_fold(key, number) for key in keys])
    return jax.vmap(_fold, (0, None))(keys, number)


def _folded(key: jax.Array, numbers: np.ndarray) -> jax.Array:
    if str(jax.random.key_impl(key)) == "unsafe_rbg":  # other bits under vmap
        return jnp.stack([_fold(key, i) for i in numbers])
    return jax.vmap(_fold, (None, 0))(key, numbers)


def to_words(key: jax.Array, lanes: tuple[int, ...]) -> jax.Array:
    """A key as the words of a checkpoint's residual, the same in all lanes."""
    words = jax.random.key_data(key).reshape(-1)
    if words.shape[0] > WORDS:
        raise KeyArgumentError(
            f"a key of the implementation {jax.random.key_impl(key)} has "
            f"{words.shape[0]} words, more than the {WORDS} that a draw in a "
            "jax.checkpoint can keep. Use threefry2x32 or rbg."
        )
    words = jnp.pad(words, (0, WORDS - words.shape[0]))
    return jnp.broadcast_to(words, (*lanes, WORDS))


def from_words(words: jax.Array, impl: str) -> jax.Array:
    """The key of these words, which are the same in all lanes."""
    words = words[(0,) * (words.ndim - 1)]
    like = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=impl)))
    return jax.random.wrap_key_data(words[: like.size].reshape(like.shape), impl=impl)


class Count(NamedTuple):
    """How many positions a program's draws take, and how many scopes its bwd rules."""

    draws: int = 0
    rules: int = 0

    def plus(self, other: "Count") -> "Count":
        return Count(self.draws + other.draws, self.rules + other.rules)


class Streams(NamedTuple):
    """The streams at the positions of a scope, and the keys of its bwd rules; None
    where there are none."""

    draws: Any = None
    rules: Any = None

    def part(self, at: Count, n: Count) -> "Streams":
        """Those of ``n`` positions from ``at`` on."""
        found = [
            x[i : i + k] if k else None for x, i, k in zip(self, at, n, strict=True)
        ]
        if any(x is not None and len(x) < k for x, k in zip(found, n, strict=True)):
            raise UnsupportedConstructError(
                "the rule of a function with a derivative of its own draws more often "
                "than the function, and calls the function, and is itself "
                "differentiated. Draw outside of it, and pass the draw as an operand."
            )
        return Streams(*found)


def streams(key: jax.Array, n: Count) -> Streams:
    """The streams of a scope."""
    draws = fold_in_each(key, n.draws) if n.draws else None
    return Streams(draws, _bwd_scopes(key, n.rules))


def within(streams: Streams, n: Count) -> Streams:
    """What a function with a bwd rule hands to its own program, or its fwd rule."""
    inner = jax.random.fold_in(streams.rules[0], np.uint32(2**31))
    return Streams(streams.draws, _bwd_scopes(inner, n.rules))


def _bwd_scopes(key: jax.Array, n: int) -> Any:
    last = np.uint32(2**32 - 1) - np.arange(n, dtype=np.uint32)
    return _folded(key, last) if n else None
