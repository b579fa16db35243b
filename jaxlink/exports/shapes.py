"""The shapes for which a function is exported, as users write them."""

import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from jaxlink.errors import ExportError

__all__ = ["Sizes"]

_TEXT = re.compile(r"\s*(\w+)\s*\[(.*)\]\s*", re.DOTALL)
# Functions that an expression of sizes may contain.
_FUNCTIONS = {"floordiv", "max", "min", "mod"}
# A length fits 32 bits, so a random integer below it is drawn from 32 bits.
_LARGEST = 2**31 - 1


class Sizes:
    """The symbolic sizes of one function. Sizes of the same name are equal.

    Arguments:
        texts: all that `struct` and `size` will be asked for.
    """

    def __init__(self, texts: Iterable[str]):
        names = set(re.findall(r"[A-Za-z_]\w*", " ".join(map(_sizes, texts))))
        limits = [f"{name} <= {_LARGEST}" for name in sorted(names - _FUNCTIONS)]
        self._scope = jax.export.SymbolicScope(limits)

    def struct(self, text: str) -> jax.ShapeDtypeStruct:
        """A dtype and a shape, such as ``"float64[n, 3]"``.

        Raises:
            ExportError: it cannot be read.
        """
        match = _TEXT.fullmatch(text)
        try:
            if match is None:
                raise ValueError("it has no brackets")
            return jax.ShapeDtypeStruct(self._shape(match[2]), jnp.dtype(match[1]))
        except (TypeError, ValueError) as error:
            raise ExportError(
                f"{text!r} is not a dtype with a shape, such as 'float64[n, 3]' or "
                f"'int32[]': {error}"
            ) from error

    def size(self, size: int | str) -> Any:
        """One size.

        Raises:
            ExportError: it cannot be read.
        """
        if isinstance(size, int):
            return size
        try:
            (symbol,) = self._shape(size)
        except ValueError as error:
            raise ExportError(f"{size!r} is not the name of a size: {error}") from error
        return symbol

    def _shape(self, sizes: str) -> tuple[Any, ...]:
        return tuple(jax.export.symbolic_shape(sizes, scope=self._scope))


def _sizes(text: str) -> str:
    match = _TEXT.fullmatch(text)
    return match[2] if match else text
