"""Checking that a function returns JAX data and nothing else."""

import dataclasses
from collections import OrderedDict, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import (
    all_leaves,
    flatten_one_level_with_keys,
    keystr,
    register_static,
)

from jaxlink.errors import ArgumentError

__all__ = ["Static", "checked", "unwrapped"]

# What they carry beside their children are names, or nothing.
_CONTAINERS = (dict, list, tuple, OrderedDict, defaultdict, type(None))


@register_static
@dataclass(frozen=True)
class Static:
    """A part of an output that is not data. It is a part of the tree's structure."""

    value: Any


def is_data(x: Any) -> bool:
    """Whether JAX can stack a leaf over chains."""
    return isinstance(x, bool | int | float | complex) or is_array(x)


def is_array(x: Any) -> bool:
    """Whether a leaf is an array of numbers, or of typed keys."""
    if not isinstance(x, jax.Array | np.ndarray | np.generic):
        return False
    return bool(
        jnp.issubdtype(x.dtype, np.number)
        or jnp.issubdtype(x.dtype, np.bool)
        or jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    )


def checked(out: Any, name: str, static: bool) -> Any:
    """The output of a function, if it is data only.

    Arguments:
        name: the function, for the error.
        static: whether the rest is allowed. Leaves that are not arrays are then
            `Static`, Python numbers too: a module has them for shapes and settings.

    Raises:
        ArgumentError: something is not data, or the rest has functions that closed over
            arrays of the chain. All are named, by their paths.
    """
    if static:
        pairs = jax.tree.leaves_with_path(out)
        if held := [keystr(path) for path, x in pairs if _closes_over_tracers(x)]:
            lines = "".join(f"\n  output{path}" for path in held)
            raise ArgumentError(
                f"`{name}` returns functions that it made, with arrays of the chain in "
                f"them, which cannot leave it:{lines}\n"
                "Return the arrays alone, jax.tree.leaves(equinox.filter(module, "
                "equinox.is_array)), and take the functions from a module that is "
                "built outside the chain: equinox.partition, equinox.combine."
            )
        return jax.tree.map(lambda x: x if is_array(x) else Static(x), out)
    found = _not_data(out, ())
    if not found:
        return out
    lines = "".join(f"\n  {path}: {what}" for path, what in found)
    raise ArgumentError(
        f"`{name}` must return arrays only, in any containers, but its output has "
        f"{len(found)} other {'part' if len(found) == 1 else 'parts'}:{lines}\n"
        "Return the arrays alone: of a module, jax.tree.leaves(module) without what is "
        "no array (equinox.filter(module, equinox.is_array)); of a function, what it "
        "computes; of an object array, a list of arrays. Or get the rest back as it "
        "is, once for all chains: static=True."
    )


def _closes_over_tracers(x: Any) -> bool:
    """Whether a leaf is a function that works only while the chain is traced."""
    if not isinstance(x, FunctionType):
        return False
    held = []
    for cell in x.__closure__ or ():
        with suppress(ValueError):  # an empty cell
            held.append(cell.cell_contents)
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(held))


def unwrapped(tree: Any) -> Any:
    """An output with its static parts as they were."""

    def is_static(x: Any) -> bool:
        return isinstance(x, Static)

    return jax.tree.map(
        lambda x: x.value if is_static(x) else x, tree, is_leaf=is_static
    )


def _not_data(x: Any, path: tuple[Any, ...]) -> list[tuple[str, str]]:
    """The parts of an output that are not data: their paths, and what they are."""
    if all_leaves([x]):
        return [] if is_data(x) else [(f"output{keystr(path)}", _what(x))]
    pairs, aux = flatten_one_level_with_keys(x)
    pairs = list(pairs)
    found = []
    if not isinstance(x, _CONTAINERS):
        children = {getattr(key, "name", None) for key, _ in pairs}
        if dataclasses.is_dataclass(x):
            # Also of a class of Equinox, whose static fields are not in `aux` as such.
            for field in dataclasses.fields(x):
                value = getattr(x, field.name, None)
                if value is not None and field.name not in children:
                    where = f"output{keystr(path)}.{field.name}"
                    found.append((where, f"static field, {_what(value)}"))
        elif aux is not None and aux != ():
            kind = type(x).__name__
            found.append((f"output{keystr(path)}", f"{kind} with static data"))
    for key, child in pairs:
        found += _not_data(child, (*path, key))
    return found


def _what(x: Any) -> str:
    kind = type(x).__name__
    if isinstance(x, np.ndarray):
        return f"array of dtype {x.dtype}"
    if isinstance(x, str | bytes):
        return f"{kind} {x[:40]!r}"
    name = getattr(x, "__qualname__", None) or getattr(x, "__name__", None)
    return f"{kind} {name}" if name else kind
