"""What the functions of this package are about: which model, which names, which key."""

import difflib
import reprlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from pytensor.graph.basic import Variable

from jaxlink.errors import KeyArgumentError
from jaxlink.optional import load
from jaxlink.precision import compiling_for
from jaxlink.random_state import as_key

__all__ = [
    "HERE",
    "RandomSeed",
    "check_count",
    "check_names",
    "key_of",
    "listed",
    "load",
    "model_of",
    "one_call",
]

# Warnings are about the line that called jaxlink.
HERE = (str(Path(__file__).parent),)

RandomSeed = int | Sequence[int] | np.ndarray | np.random.Generator | None


def one_call[F: Callable[..., Any]](function: F) -> F:
    """``function``, which compiles several graphs for what is one call of the user's:
    a warning that is about all of them comes once, and names it."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with compiling_for(function.__name__):
            return function(*args, **kwargs)

    return cast(F, call)


def model_of(model: pm.Model | None) -> pm.Model:
    """``model``, or the one on the context stack.

    Raises:
        TypeError: there is none, or ``model`` is something else.
    """
    if model is None:
        model = pm.Model.get_context(error_if_none=False)
        if model is None:
            raise TypeError(
                "there is no model on the context stack. Call this inside of "
                "`with model:`, or pass model=."
            )
    if not hasattr(model, "basic_RVs"):
        raise TypeError(f"model must be a pm.Model, not {type(model).__name__}.")
    return model


def check_names(names: Iterable[str], allowed: Collection[str], what: str) -> None:
    """Raise unless all ``names`` are ``allowed``.

    Arguments:
        names: what the user wrote.
        allowed: what is there.
        what: what a name stands for, in the singular, for the error.

    Raises:
        ValueError: naming what is unknown, with its near matches.
        TypeError: a variable stands in place of its name.
    """
    unknown = [name for name in names if name not in allowed]
    if not unknown:
        return
    for name in unknown:
        if isinstance(name, Variable):
            raise TypeError(
                f"names are strings, such as {name.name!r}: a variable stands in place "
                f"of the name of a {what}."
            )
    folded = {name.lower(): name for name in allowed}
    close = [
        [folded[x] for x in difflib.get_close_matches(str(name).lower(), folded, 3)]
        for name in unknown
    ]
    hints = [
        f"`{name}`" + (f" (did you mean {listed(near)}?)" if near else "")
        for name, near in zip(unknown, close, strict=True)
    ]
    raise ValueError(
        f"no {what} is called {', '.join(hints)}. There are: {listed(allowed)}."
    )


def check_count(value: Any, name: str, least: int) -> int:
    """An argument that counts something.

    Raises:
        TypeError: it is no integer.
        ValueError: it is less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, but is {value}.")
    return int(value)


def listed(names: Iterable[str]) -> str:
    """Names, for an error."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def key_of(key: Any = None, random_seed: RandomSeed = None) -> jax.Array:
    """The PRNG key that a run starts from.

    Arguments:
        key: a JAX PRNG key, typed or raw.
        random_seed: instead of a key, as PyMC spells it: an int is
            ``jax.random.key(random_seed)``; a sequence of ints and a NumPy generator
            (which is advanced) are hashed to a key; without both the key is fresh.

    Raises:
        TypeError: both are given, or one in place of the other.
        ValueError: a negative seed.
    """
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
        return as_key(key).key
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
    """What is given as a seed, as Python integers."""
    is_int = isinstance(value, int | np.integer)  # also one of more than 64 bits
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
