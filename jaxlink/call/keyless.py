"""Functions that were compiled with ``key=False``."""

import jax

from jaxlink.sampling.jax_internals import is_eager
from jaxlink.sampling.source import next_key
from jaxlink.sampling.unseeded import unseeded_key

__all__ = ["key_of_call"]


def key_of_call() -> jax.Array:
    """The key of a call without one: a fresh one, or in a program, one that stands for
    the key that `jaxlink.seed` will give it."""
    if is_eager():
        return next_key()
    with jax.ensure_compile_time_eval():
        return unseeded_key()
