"""The PRNG key of a run, from a key or from a seed as PyMC takes it."""

import reprlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxlink.errors import KeyArgumentError
from jaxlink.pymc.shared.processes import is_shared, key_of_first
from jaxlink.values.keys import as_key

__all__ = ["RandomSeed", "resolve_key"]

RandomSeed = int | Sequence[int] | np.ndarray | np.random.Generator | None


def resolve_key(
    key: Any = None, random_seed: RandomSeed = None, mesh: Mesh | None = None
) -> jax.Array:
    """The initial PRNG key of a run.

    Arguments:
        key: a JAX PRNG key, typed or raw.
        random_seed: instead of a key, as in PyMC: an int is
            ``jax.random.key(random_seed)``; a sequence of ints or a NumPy generator
            (which advances) is hashed to a key. Without either, the key is fresh.
        mesh: the devices of the run. If they belong to several processes, all get the
            key of the first.

    Raises:
        TypeError: both are given, or one is given as the other.
        ValueError: the seed is negative.
    """
    own = _own_key(key, random_seed)
    return key_of_first(own) if is_shared(mesh) else own


def _own_key(key: Any, random_seed: RandomSeed) -> jax.Array:
    if key is not None:
        if random_seed is not None:
            raise TypeError("give either a key or a random_seed, not both.")
        return _as_key(key)
    if _looks_like_key(random_seed):
        raise TypeError("random_seed is a JAX PRNG key: pass it as key=.")
    if isinstance(random_seed, np.random.Generator):
        words = random_seed.integers(0, 2**32, 2, np.uint32)
    elif isinstance(random_seed, np.random.RandomState):
        words = random_seed.randint(0, 2**32, 2, np.uint32)
    else:
        seed = None if random_seed is None else _seed(random_seed)
        if isinstance(seed, int) and seed < 2**32:
            return jax.random.key(seed)
        words = np.random.SeedSequence(seed).generate_state(2, np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")


def _as_key(key: Any) -> jax.Array:
    try:
        return as_key(key)
    except KeyArgumentError as error:
        if isinstance(key, jax.Array):
            raise
        raise KeyArgumentError(
            f"argument `key` must be a JAX PRNG key, such as jax.random.key(0), not "
            f"{_shown(key)}. Pass a seed as random_seed=."
        ) from error


def _looks_like_key(value: Any) -> bool:
    if not isinstance(value, jax.Array):
        return False
    is_typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return is_typed or (value.dtype == np.uint32 and value.shape in {(2,), (4,)})


def _seed(value: Any) -> int | list[int]:
    """A seed as Python integers."""
    is_int = isinstance(value, int | np.integer)  # even with more than 64 bits
    numbers = [value] if is_int else np.asarray(value).ravel().tolist()
    if isinstance(value, bool | np.bool_) or not numbers:
        numbers = [None]
    if not all(type(n) is int or isinstance(n, np.integer) for n in numbers):
        raise TypeError(
            "random_seed must be an int, a sequence of ints or a NumPy generator, not "
            f"{_shown(value)}."
        )
    if min(numbers) < 0:
        raise ValueError(f"random_seed must not be negative, but is {min(numbers)}.")
    return int(numbers[0]) if np.ndim(value) == 0 else numbers


def _shown(value: Any) -> str:
    if isinstance(value, bool | int | float | str | list | tuple):
        return reprlib.repr(value)
    return f"a {type(value).__name__}"
