"""How a draw is kept in its loop.

If JAX differentiates a scan, it evaluates what does not change from step to step once,
before the loop; a draw without operands would then be the same in all steps. JAX never
takes a `jax.Ref` for a constant, so what depends on one stays where it is. While `seed`
traces, each draw has a Ref as its first operand. Nobody reads it, and `seed` drops it.

Two things cannot close over a Ref: ``shard_map``, and a ``cond`` whose predicate
``vmap`` has mapped. JAX refuses the latter; `seed` then traces again without Refs.
`jaxlink.sampling.derivatives` still keeps draws in their loop, or refuses.
"""

from contextlib import AbstractContextManager
from threading import Thread
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["anchor", "anchoring", "is_anchor"]

# None while nobody seeds, or else whether draws get a Ref. A user context is part of
# the key of JAX's caches, so a trace without the Ref does not serve `seed`.
_with_ref = jax.make_user_context(None)
_ref: list[Any] = []


def anchoring(with_ref: bool) -> AbstractContextManager[Any]:
    """The context in which `seed` traces. ``with_ref``: whether draws get a Ref."""
    return _with_ref(with_ref)


def anchor() -> list[Any]:
    """The Ref for a draw, if it gets one."""
    if not _with_ref.value:
        return []
    if jax.sharding.get_abstract_mesh().manual_axes:
        return []
    if not _ref:
        # In a thread of its own, where no transformation is running.
        thread = Thread(target=_make_ref)
        thread.start()
        thread.join()
    return [_ref[0]]


def _make_ref() -> None:
    _ref.append(jax.new_ref(jnp.uint32(0)))


def is_anchor(value: Any) -> bool:
    """Whether a constant of a program is the Ref."""
    return bool(_ref) and value is _ref[0]
