"""The arguments and results of an exported function: containers, shapes and dtypes.

They are written as JSON, so a loaded function needs no class that its writer had.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxlink.errors import ArgumentError, ExportError
from jaxlink.values.streams import is_typed_key

__all__ = [
    "Leaf",
    "Tree",
    "describe",
    "flatten",
    "from_json",
    "from_words",
    "leaves",
    "to_json",
    "to_words",
]


@dataclass(frozen=True)
class Leaf:
    """An array, or an array of keys.

    Attributes:
        dtype: its dtype; of keys, the name of their implementation.
        shape: each size is a number, or an expression of symbolic sizes.
        is_key: whether it holds keys. The program takes and returns their words, along
            one more axis.
    """

    dtype: str
    shape: tuple[int | str, ...]
    is_key: bool = False

    @property
    def program_dtype(self) -> str:
        """The dtype that the program takes."""
        return "uint32" if self.is_key else self.dtype

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return (
            f"key<{self.dtype}>[{sizes}]" if self.is_key else f"{self.dtype}[{sizes}]"
        )


# A `Leaf`, None, or a dict, list or tuple of trees.
Tree = Any


def describe(value: Any, what: str) -> Tree:
    """The containers of ``value``, with a `Leaf` in place of each array.

    Arguments:
        value: arrays, or ``jax.ShapeDtypeStruct``, in containers.
        what: what it is called in errors.

    Raises:
        ExportError: it has another container, or a dict whose keys are not strings.
    """
    if value is None:
        return None
    if type(value) is dict:
        if odd := [key for key in value if not isinstance(key, str)]:
            raise ExportError(
                f"{what} has the key {odd[0]!r}, but in an exported function the keys "
                "of a dict are strings."
            )
        return {key: describe(value[key], f"{what}[{key!r}]") for key in sorted(value)}
    if type(value) in (tuple, list):
        parts = [describe(part, f"{what}[{i}]") for i, part in enumerate(value)]
        return type(value)(parts)
    if not hasattr(value, "dtype"):
        raise ExportError(
            f"{what} is a {type(value).__name__}, but an exported function takes and "
            "returns arrays in dicts, lists and tuples. Write `x._asdict()` for a "
            "named tuple, and a dict of its arrays for another object."
        )
    shape = tuple(n if isinstance(n, int) else str(n) for n in value.shape)
    if is_typed_key(value):
        return Leaf(_implementation(value.dtype), shape, is_key=True)
    return Leaf(str(value.dtype), shape)


def _implementation(dtype: Any) -> str:
    """The name of the implementation of keys of this dtype."""
    found: list[str] = []
    key = jax.ShapeDtypeStruct((), dtype)
    jax.eval_shape(lambda key: found.append(str(jax.random.key_impl(key))), key)
    return found[0]


def leaves(tree: Tree) -> Iterator[Leaf]:
    """The leaves, in JAX's order."""
    if isinstance(tree, Leaf):
        yield tree
    elif tree is not None:
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(part)


def to_words(value: Any) -> list[Any]:
    """The arrays in ``value``, in JAX's order, with the words of keys in place of
    these."""
    return [
        jax.random.key_data(x) if is_typed_key(x) else x for x in jax.tree.leaves(value)
    ]


def from_words(tree: Tree, arrays: Sequence[Any]) -> Any:
    """What `to_words` made ``arrays`` of, in the containers of ``tree``."""
    given = iter(arrays)

    def fill(tree: Tree) -> Any:
        if isinstance(tree, Leaf):
            x = next(given)
            return jax.random.wrap_key_data(x, impl=tree.dtype) if tree.is_key else x
        if isinstance(tree, dict):
            return {key: fill(part) for key, part in tree.items()}
        return None if tree is None else type(tree)(map(fill, tree))

    return fill(tree)


def flatten(tree: Tree, value: Any, what: str) -> Iterator[tuple[str, Leaf, Any]]:
    """What stands in ``value`` at each leaf of ``tree``: its name, the leaf, the value.

    Raises:
        ArgumentError: the containers differ.
    """
    if isinstance(tree, Leaf):
        yield what, tree, value
    elif isinstance(tree, dict):
        names = set(value) if isinstance(value, dict) else None
        if names != tree.keys():
            got = type(value).__name__ if names is None else _names(names)
            raise ArgumentError(
                f"{what} must be a dict of {_names(tree)}, but is {got}."
            )
        for key, part in tree.items():
            yield from flatten(part, value[key], f"{what}[{key!r}]")
    elif tree is None:
        if value is not None:
            raise ArgumentError(f"{what} must be None.")
    else:
        kind = type(tree).__name__
        if not isinstance(value, tuple | list) or len(value) != len(tree):
            raise ArgumentError(
                f"{what} must be a {kind} of {len(tree)} values, but is {value!r}."
            )
        for i, (part, own) in enumerate(zip(tree, value, strict=True)):
            yield from flatten(part, own, f"{what}[{i}]")


def _names(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(map(str, names))) or "nothing"


def to_json(tree: Tree) -> Any:
    """``tree`` in JSON's types."""
    if isinstance(tree, Leaf):
        kind = "key" if tree.is_key else "array"
        return {kind: tree.dtype, "shape": list(tree.shape)}
    if tree is None:
        return {"none": True}
    if isinstance(tree, dict):
        return {"dict": {key: to_json(part) for key, part in tree.items()}}
    return {type(tree).__name__: [to_json(part) for part in tree]}


def from_json(data: Any) -> Tree:
    """The tree that `to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it wrote no such data.
    """
    if "shape" in data:
        shape = tuple(n if isinstance(n, int) else str(n) for n in data["shape"])
        is_key = "key" in data
        return Leaf(str(data["key" if is_key else "array"]), shape, is_key)
    ((kind, parts),) = data.items()
    if kind == "none":
        return None
    if kind == "dict":
        return {str(key): from_json(part) for key, part in parts.items()}
    return {"tuple": tuple, "list": list}[kind](map(from_json, parts))
