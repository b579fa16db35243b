"""What the functions of this package are about: which model, which names, which key."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm

from jaxlink.random_state import as_key

__all__ = ["HERE", "RandomSeed", "check_names", "key_of", "listed", "load", "model_of"]

# Warnings are about the line that called jaxlink.
HERE = (str(Path(__file__).parent),)

RandomSeed = int | Sequence[int] | np.ndarray | np.random.Generator | None


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
    """
    unknown = [name for name in names if name not in allowed]
    if not unknown:
        return
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


def listed(names: Iterable[str]) -> str:
    """Names, for an error."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def load(package: str, what: str) -> Any:
    """The module of an optional package.

    Arguments:
        package: its name.
        what: what needs it, for the error.

    Raises:
        ImportError: it is not installed, with how to install it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"{what} needs the package {package}, which is not installed: "
            f"pip install {package}"
        ) from error


def key_of(key: Any = None, random_seed: RandomSeed = None) -> jax.Array:
    """The PRNG key that a run starts from.

    Arguments:
        key: a JAX PRNG key, typed or raw.
        random_seed: instead of a key, as PyMC spells it: an int is
            ``jax.random.key(random_seed)``; a sequence of ints and a NumPy generator
            (which is advanced) are hashed to a key; without both the key is fresh.

    Raises:
        TypeError: both are given.
        ValueError: a negative seed.
    """
    if key is not None:
        if random_seed is not None:
            raise TypeError("give either a key or a random_seed, not both.")
        return as_key(key).key
    if isinstance(random_seed, bool | np.bool_):
        raise TypeError("random_seed must be an int, not a bool.")
    if isinstance(random_seed, int | np.integer):
        if random_seed < 0:
            raise ValueError(f"random_seed must not be negative, but is {random_seed}.")
        if random_seed < 2**32:
            return jax.random.key(int(random_seed))
    if isinstance(random_seed, np.random.Generator):
        words = random_seed.integers(0, 2**32, 2, np.uint32)
    elif isinstance(random_seed, np.random.RandomState):
        words = random_seed.randint(0, 2**32, 2, np.uint32)
    else:
        words = np.random.SeedSequence(random_seed).generate_state(2, np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")
