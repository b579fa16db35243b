"""A function, apart from the data that it captured."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxlink.errors import ExportError
from jaxlink.exports.shapes import Sizes
from jaxlink.values.streams import is_typed_key

__all__ = ["Captured"]


@dataclass(frozen=True)
class Captured:
    """The data that a function captured: the arrays among its leaves, if it is a
    pytree.

    Attributes:
        fn: the function.
        values: the arrays by name.
    """

    fn: Callable[..., Any]
    values: dict[str, Any]

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> "Captured":
        found = [
            (path, leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(fn)
            if _is_data(leaf)
        ]
        short = [_shown(path[-1:]) for path, _ in found]
        seen = Counter(short)
        names = (
            name if seen[name] == 1 else _shown(path)
            for name, (path, _) in zip(short, found, strict=True)
        )
        return cls(fn, dict(zip(names, (leaf for _, leaf in found), strict=True)))

    def types(
        self, resized: Mapping[str, str], sizes: Sizes
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Their types by name, where those of ``resized`` have other shapes.

        Raises:
            ExportError: there are no such data, or they have another rank or dtype.
        """
        for name in resized:
            if name not in self.values:
                raise ExportError(
                    f"the function captured no data `{name}`; it captured "
                    f"{', '.join(f'`{n}`' for n in self.values) or 'none'}."
                )
            if not hasattr(self.fn, "with_data"):
                raise ExportError(
                    f"`data` gives `{name}` another shape, which only a function that "
                    "jaxlink compiled can take."
                )
        types = {
            n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in self.values.items()
        }
        for name, text in resized.items():
            old, new = types[name], sizes.struct(text)
            if (old.dtype, len(old.shape)) != (new.dtype, len(new.shape)):
                raise ExportError(
                    f"the data `{name}` are {old.dtype}{list(old.shape)}, so they "
                    f"cannot become {text}."
                )
            types[name] = new
        return types

    def with_values(
        self, values: Sequence[Any], resized: Mapping[str, str]
    ) -> Callable[..., Any]:
        """The function with other values, in order."""
        new = dict(zip(self.values, values, strict=True))
        # Those of another shape may change the lengths of dimensions.
        kept = iter([x if n in resized else new[n] for n, x in self.values.items()])

        def replaced(leaf: Any) -> Any:
            return next(kept) if _is_data(leaf) else leaf

        fn = jax.tree.map(replaced, self.fn)
        if not resized:
            return fn
        changed: Callable[..., Any] = fn.with_data({n: new[n] for n in resized})
        return changed


def _is_data(leaf: Any) -> bool:
    """Whether a leaf can be given anew. A key cannot: it is a part of the program."""
    return isinstance(leaf, jax.Array | np.ndarray) and not is_typed_key(leaf)


def _shown(path: Sequence[Any]) -> str:
    return jax.tree_util.keystr(tuple(path), simple=True, separator=".")
