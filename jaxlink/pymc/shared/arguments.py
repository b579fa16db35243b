"""Checks of arguments that several functions take."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh, Sharding
from pytensor.graph.basic import Variable

__all__ = [
    "HERE",
    "Arrays",
    "check_batch_size",
    "check_count",
    "check_names",
    "device_mesh",
    "quoted",
]

# Values by name.
Arrays = Mapping[str, np.ndarray]

# Warnings point to the user's line, outside this folder.
HERE = (str(Path(__file__).parents[1]),)


def check_names(
    names: Iterable[str], allowed: Collection[str], what: str, hint: str = ""
) -> None:
    """Raise unless all ``names`` are ``allowed``.

    Arguments:
        names: the user's names.
        allowed: the known names.
        what: what the names refer to, in the singular, for the error.
        hint: what the error adds.

    Raises:
        ValueError: naming the unknown ones, with near matches.
        TypeError: one is a variable instead of its name.
    """
    if not (unknown := [name for name in names if name not in allowed]):
        return
    for name in unknown:
        if isinstance(name, Variable):
            raise TypeError(
                f"names are strings, such as {name.name!r}: pass the name of a {what}, "
                "not the variable."
            )
    folded = {name.lower(): name for name in allowed}
    close = [
        [folded[x] for x in difflib.get_close_matches(str(name).lower(), folded, 3)]
        for name in unknown
    ]
    hints = [
        f"`{name}`" + (f" (did you mean {quoted(near)}?)" if near else "")
        for name, near in zip(unknown, close, strict=True)
    ]
    raise ValueError(
        f"no {what} is called {', '.join(hints)}. There are: {quoted(allowed)}.{hint}"
    )


def check_count(value: Any, name: str, least: int) -> int:
    """Check an argument that is a count.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an int, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, but is {value}.")
    return int(value)


def check_batch_size(batch_size: Any) -> None:
    """Raise unless ``batch_size`` is None or a positive integer."""
    if batch_size is not None:
        check_count(batch_size, "batch_size", 1)


def device_mesh(sharding: Any) -> Mesh | None:
    """A mesh with one axis, over the devices of a sharding."""
    if sharding is None:
        return None
    if not isinstance(sharding, Sharding):
        raise TypeError(
            "sharding must be a jax.sharding.Sharding, such as NamedSharding(mesh, "
            'PartitionSpec("samples")) with mesh = jax.make_mesh((n,), ("samples",)), '
            f"not {type(sharding).__name__}."
        )
    devices: list[Any] = sorted(sharding.device_set, key=lambda d: d.id)
    return Mesh(np.array(devices), ("samples",))


def quoted(names: Iterable[str]) -> str:
    """Names, for an error."""
    return ", ".join(f"`{name}`" for name in names) or "none"
