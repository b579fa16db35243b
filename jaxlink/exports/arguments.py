"""The arguments for which a function is exported."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxlink.errors import ExportError
from jaxlink.exports.shapes import Sizes
from jaxlink.exports.trees import Tree, describe, from_words, to_words
from jaxlink.values.keys import as_key
from jaxlink.values.streams import is_typed_key

__all__ = ["Arguments"]

Axes = int | None | Sequence[int | None]


@dataclass(frozen=True)
class Arguments:
    """The arguments of a function.

    Attributes:
        names: their names, in order.
        fixed: the values of those that fix a shape.
        types: the shapes and dtypes of the others, in containers.
        axes: whether each of these is mapped (0 or ``None``), if the function is.
    """

    names: tuple[str, ...]
    fixed: dict[str, Any]
    types: dict[str, Any]
    axes: tuple[int | None, ...] | None

    @classmethod
    def of(
        cls,
        fn: Callable[..., Any],
        shapes: Sequence[Any],
        sizes: Sizes,
        batch: int | str | None,
        in_axes: Axes,
    ) -> "Arguments":
        """The arguments from those of `jaxlink.export`."""
        names = _names(fn, shapes)
        static = {names[i] for i in getattr(fn, "static_argnums", ())}
        given = dict(zip(names, shapes, strict=True))
        fixed = {name: value for name, value in given.items() if name in static}
        types = {
            name: _types(name, value, sizes)
            for name, value in given.items()
            if name not in static
        }
        if batch is None:
            return cls(names, fixed, types, None)
        every = dict(zip(names, _axes(in_axes, len(names)), strict=True))
        axes = tuple(every[name] for name in types)
        first = sizes.size(batch)
        for name in types:
            if every[name] is not None:
                types[name] = jax.tree.map(
                    lambda x: jax.ShapeDtypeStruct((first, *x.shape), x.dtype),
                    types[name],
                )
        return cls(names, fixed, types, axes)

    @property
    def trees(self) -> dict[str, Tree]:
        """What the exported function takes."""
        return {name: describe(x, f"`{name}`") for name, x in self.types.items()}

    @property
    def flat(self) -> list[Any]:
        """The types of what its program takes."""
        return jax.eval_shape(to_words, list(self.types.values()))

    def apply(self, fn: Callable[..., Any], flat: Sequence[Any]) -> Any:
        """The results of ``fn`` for what the program got."""

        def on_free(*free: Any) -> Any:
            bound = self.fixed | dict(zip(self.types, free, strict=True))
            return fn(*(bound[name] for name in self.names))

        free = from_words(list(self.trees.values()), flat)
        if self.axes is None:
            return on_free(*free)
        return jax.vmap(on_free, self.axes)(*free)


def _names(fn: Callable[..., Any], shapes: Sequence[Any]) -> tuple[str, ...]:
    """A name for each argument.

    Raises:
        ExportError: ``fn`` does not take as many.
    """
    try:
        bound = inspect.signature(fn).bind(*shapes)
    except TypeError as error:
        raise ExportError(
            f"the function does not take {len(shapes)} arguments: {error}. Pass a "
            "shape for each of its arguments, and a key, if it takes one."
        ) from error
    except ValueError:  # a function without a signature
        return tuple(f"arg{i}" for i in range(len(shapes)))
    names: list[str] = []
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        several = kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}{i}" for i in range(len(value))] if several else [name]
    return tuple(names)


def _types(name: str, shape: Any, sizes: Sizes) -> Any:
    """The shapes and dtypes of an argument."""

    def type_of(x: Any) -> jax.ShapeDtypeStruct:
        if isinstance(x, str):
            return sizes.struct(x)
        if isinstance(x, jax.ShapeDtypeStruct):
            return x
        try:
            aval = jax.typeof(x)
        except TypeError as error:
            raise ExportError(
                f"the shape of `{name}` contains {x!r}. Write an array, a "
                "jax.ShapeDtypeStruct, or a text such as 'float64[n, 3]'."
            ) from error
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype)

    # A raw key does not say what it is.
    if name == "key" and isinstance(shape, jax.Array) and not is_typed_key(shape):
        shape = as_key(shape)
    return jax.tree.map(type_of, shape)


def _axes(in_axes: Axes, n: int) -> tuple[int | None, ...]:
    axes = in_axes if isinstance(in_axes, Sequence) else (in_axes,) * n
    wrong = [axis for axis in axes if not (axis is None or axis == 0)]
    if wrong or len(axes) != n:
        raise ExportError(
            f"in_axes must be 0 or None, or one of these for each of the {n} "
            f"arguments, not {in_axes!r}."
        )
    return tuple(axes)
