"""Where a draw gets its key if it is made eagerly, without `seed`."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

import jax
import numpy as np

from jaxlink.values.streams import as_stream

__all__ = ["is_seeding", "next_key", "seeding", "set_seed"]


class Source:
    """A key, and how many keys were made from it."""

    def __init__(self, key: jax.Array):
        self._key, self._count = key, 0
        self._lock = threading.Lock()

    def next(self) -> jax.Array:
        with self._lock:
            count, self._count = self._count, self._count + 1
        return jax.random.fold_in(self._key, count)


_here: ContextVar[Source | None] = ContextVar("jaxlink_source", default=None)
_lock = threading.Lock()
_of_process: Source | None = None


_is_seeding: ContextVar[bool] = ContextVar("jaxlink_is_seeding", default=False)


@contextmanager
def seeding() -> Iterator[None]:
    """The context in which `seed` evaluates a program."""
    token = _is_seeding.set(True)
    try:
        yield
    finally:
        _is_seeding.reset(token)


def is_seeding() -> bool:
    """Whether `seed` evaluates a program, so that no draw may have a key from here."""
    return _is_seeding.get()


def _fresh() -> Source:
    words = jax.numpy.asarray(np.frombuffer(os.urandom(8), np.uint32))
    return Source(jax.random.wrap_key_data(words, impl="threefry2x32"))


def next_key() -> jax.Array:
    """A key that no earlier draw has used."""
    global _of_process
    with jax.ensure_compile_time_eval():
        here = _here.get()
        if here is not None:
            return here.next()
        with _lock:
            if _of_process is None:
                _of_process = _fresh()
            source = _of_process
        return source.next()


def set_seed(seed: Any) -> "Seeded":
    """Choose the key from which draws are made eagerly, without `jaxlink.seed`.

    Called, it sets the source of the whole process, from which all threads draw in
    turn. As a context manager, it sets the source of the block alone, which other
    threads do not see. A child process that was forked starts from a source of its own,
    so it does not repeat its parent's draws.

    Arguments:
        seed: an integer, or a PRNG key, typed or raw.

    Returns:
        A context manager.

    Raises:
        KeyArgumentError: ``seed`` is neither.

    Example:
        >>> from jaxlink import pjax
        >>> with pjax.set_seed(1):
        ...     a = pjax.normal(0.0, 1.0)
        >>> with pjax.set_seed(1):
        ...     b = pjax.normal(0.0, 1.0)
        >>> bool(a == b), bool(a == pjax.normal(0.0, 1.0))
        (True, False)
    """
    global _of_process
    with jax.ensure_compile_time_eval():
        if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
            seed = jax.random.key(int(seed))
        key = as_stream(seed, "seed").key
    with _lock:
        before, _of_process = _of_process, Source(key)
    return Seeded(key, before)


class Seeded:
    """What `set_seed` returns. Entered, it gives the process its earlier source back,
    and the block one of its own."""

    def __init__(self, key: jax.Array, before: Source | None):
        self._key, self._before = key, before

    def __enter__(self) -> None:
        global _of_process
        with _lock:
            _of_process = self._before
        self._token: Token[Source | None] = _here.set(Source(self._key))

    def __exit__(self, *error: object) -> None:
        del error
        _here.reset(self._token)


def _forget() -> None:
    """After a fork, the child must not repeat the draws of its parent."""
    global _of_process, _lock
    _lock = threading.Lock()
    _of_process = None
    _here.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
