"""What a compiled function takes and captures, and the errors for anything else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np

from jaxlink.errors import ArgumentError, KeyArgumentError
from jaxlink.values import boundary as values
from jaxlink.values.static import StaticValue
from jaxlink.values.streams import as_key
from jaxlink.values.types import describe, dtype_of, held_by, kind_of

__all__ = ["Data", "Labels", "Parameter", "Signature", "identifier"]


@dataclass(frozen=True)
class Data:
    """A piece of captured data. ``name`` is what ``with_data`` calls it, if anything;
    ``static`` says that shapes depend on its value."""

    name: str | None
    label: str
    type: Any
    static: bool = False

    def capture(self, function: str, value: Any) -> Any:
        """``value`` on the device, in the type that the graph declares."""
        return values.capture(self._what(function), self.type, value)

    def bind(self, function: str, value: Any) -> Any:
        """A leaf, as it comes back from whatever was done to the pytree."""
        return values.bind(self._what(function), self.type, value)

    def fix(self, function: str, value: Any) -> StaticValue:
        """``value`` as a part of the program's identity."""
        way_out = " Call with_data outside of the transformation that traces it."
        return values.fix(self._what(function), self.type, value, way_out)

    def _what(self, function: str) -> str:
        return f"data `{self.label}` of {function}()"


@dataclass(frozen=True)
class Parameter:
    """One argument. ``label`` is a unique identifier, made from ``name``."""

    name: str | None
    label: str
    type: Any
    kind: Literal["key", "rng", "static", "array"]

    def __str__(self) -> str:
        if self.kind in ("key", "rng"):
            return f"{self.label}: PRNG key"
        static = "static " if self.kind == "static" else ""
        return f"{self.label}: {static}{describe(self.type)}"

    def bind(self, function: str, value: Any) -> Any:
        """The argument as the linked graph wants it, while JAX traces the call."""
        if self.kind in ("key", "rng"):
            return as_key(value, self.label)
        if isinstance(value, StaticValue):
            return value.value
        return values.bind(self._what(function), self.type, value)

    @property
    def is_prepared(self) -> bool:
        """Whether a value must be seen before JAX traces it: one that fixes a shape, a
        Python int for a type in which it could wrap around, what may be of a library
        that JAX does not know."""
        if self.kind != "array":
            return self.kind == "static"
        dtype = dtype_of(self.type)
        narrow = dtype.startswith(("int", "uint")) and dtype != "int64"
        held = held_by(self.type)
        return narrow or hasattr(held, "dims") or kind_of(held) == "sparse"

    def prepare(self, function: str, value: Any) -> Any:
        """``value`` as it goes to ``jax.jit``."""
        what = self._what(function)
        if self.kind != "static":
            if type(value) is int:
                return values.within(what, self.type, value)
            return values.plain(what, self.type, value)
        way_out = (
            " Under jax.jit name it in static_argnums or static_argnames, under "
            "jax.vmap give it in_axes=None, and do not differentiate with respect to "
            "it."
        )
        return values.fix(what, self.type, value, way_out)

    def explain(self, function: str, value: Any) -> ArgumentError | None:
        """Why JAX refused ``value`` before it traced anything, if it is to blame."""
        if self.kind == "static":
            return None
        return values.refusal(self._what(function), self.type, value)

    def _what(self, function: str) -> str:
        return f"argument `{self.label}` of {function}()"


@dataclass(frozen=True)
class Signature:
    """The arguments of the function called ``name``."""

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def static(self) -> tuple[int, ...]:
        return tuple(i for i, p in enumerate(self.parameters) if p.kind == "static")

    @property
    def is_prepared(self) -> bool:
        return any(p.is_prepared for p in self.parameters)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"

    def check_count(self, args: Sequence[Any]) -> None:
        """Raise unless there are as many ``args`` as parameters."""
        if len(args) == len(self.parameters):
            return
        takes_key = bool(self.parameters) and self.parameters[0].kind == "key"
        too_few = len(args) < len(self.parameters)
        if takes_key and too_few and not any(map(is_key, args)):
            raise KeyArgumentError(
                f"{self.name}() needs a PRNG key as its first argument, because the "
                f"graph is random: call {self.name}(jax.random.key(0), ...). It takes "
                f"{self}."
            )
        if not takes_key and len(args) == len(self.parameters) + 1 and is_key(args[0]):
            raise ArgumentError(
                f"{self.name}() takes no key, because the graph is not random: leave "
                f"out the first argument. It takes {self}."
            )
        if too_few:
            raise self.missing(self.parameters[len(args) :])
        raise ArgumentError(
            f"{self.name}() takes {len(self.parameters)} arguments but got "
            f"{len(args)}. It takes {self}."
        )

    def missing(self, parameters: Sequence[Parameter]) -> ArgumentError:
        kind = KeyArgumentError if parameters[0].kind == "key" else ArgumentError
        names = ", ".join(f"`{p.label}`" for p in parameters)
        return kind(f"{self.name}() lacks its argument {names}. It takes {self}.")

    def bind(self, args: Sequence[Any]) -> list[Any]:
        """All arguments as the linked graph wants them."""
        self.check_count(args)
        first = self.parameters[0] if self.parameters else None
        if first and first.kind == "key" and not is_key(args[0]):
            for parameter, value in zip(self.parameters[1:], args[1:], strict=True):
                if parameter.kind == "array" and values.is_typed_key(value):
                    raise KeyArgumentError(
                        f"the PRNG key comes first: it stands in the place of "
                        f"`{parameter.label}`. {self.name} takes {self}."
                    )
        pairs = zip(self.parameters, args, strict=True)
        return [parameter.bind(self.name, value) for parameter, value in pairs]

    def prepare(self, args: Sequence[Any]) -> Sequence[Any]:
        """``args`` as they go to ``jax.jit``."""
        if not self.is_prepared:
            return args
        self.check_count(args)
        pairs = zip(self.parameters, args, strict=True)
        return [p.prepare(self.name, v) if p.is_prepared else v for p, v in pairs]

    def explain(self, args: Sequence[Any]) -> ArgumentError | None:
        """Why JAX refused ``args`` before it traced anything, if they are to blame."""
        pairs = zip(self.parameters, args, strict=False)
        found = (parameter.explain(self.name, value) for parameter, value in pairs)
        return next(filter(None, found), None)


class Labels:
    """Unique identifiers for variables, whose names are anything or nothing."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def unique(self, name: str | None, default: str = "arg") -> str:
        base, separator = (identifier(name), "_") if name else (default, "")
        label = base if name else f"{base}0"
        number = count(1)
        while label in self.taken:
            label = f"{base}{separator}{next(number)}"
        self.taken.add(label)
        return label


def identifier(name: str) -> str:
    """``name`` as a Python identifier."""
    cleaned = re.sub(r"\W", "_", name)
    return cleaned if cleaned.isidentifier() else f"_{cleaned}"


def is_key(value: Any) -> bool:
    """Whether ``value`` is one typed or raw PRNG key."""
    if values.is_typed_key(value):
        return True
    raw = getattr(value, "dtype", None) == np.uint32
    return raw and np.shape(value) in ((2,), (4,))
