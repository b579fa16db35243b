"""A compiled function's parameters and captured data, and how they are checked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np

from jaxlink.errors import ArgumentError, KeyArgumentError
from jaxlink.values import boundary as values
from jaxlink.values.static import StaticValue
from jaxlink.values.streams import as_stream, is_typed_key
from jaxlink.values.types import describe, dtype_of, element_type, kind_of

__all__ = ["Data", "Labels", "Parameter", "Signature", "identifier"]


@dataclass(frozen=True)
class Data:
    """A captured shared variable or constant.

    Attributes:
        name: its name in ``with_data``, or ``None`` if it has none.
        label: a unique identifier.
        type: its PyTensor type.
        static: whether its value fixes a shape.
    """

    name: str | None
    label: str
    type: Any
    static: bool = False
    small: bool = False

    def capture(self, function: str, value: Any) -> Any:
        """``value`` on the device, converted to the graph's type."""
        return values.capture(self._what(function), self.type, value)

    def bind(self, function: str, value: Any) -> Any:
        """Check and convert a pytree leaf, which a transformation may have changed."""
        return values.bind(self._what(function), self.type, value)

    def fix(self, function: str, value: Any) -> StaticValue:
        """``value`` as part of the program's identity."""
        way_out = " Call with_data outside the transformation that traces it."
        return values.fix(self._what(function), self.type, value, way_out)

    def _what(self, function: str) -> str:
        return f"data `{self.label}` of {function}()"


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``label`` is a unique identifier made from ``name``."""

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
        """Check and convert an argument for the linked graph, while JAX traces."""
        if self.kind in ("key", "rng"):
            return as_stream(value, self.label)
        if isinstance(value, StaticValue):
            return value.value
        return values.bind(self._what(function), self.type, value)

    @property
    def is_prepared(self) -> bool:
        """Whether `prepare` must see a value before JAX does: it fixes a shape, it is a
        Python int that could wrap around, or it may belong to a library that JAX does
        not know."""
        if self.kind != "array":
            return self.kind == "static"
        dtype = dtype_of(self.type)
        narrow = dtype.startswith(("int", "uint")) and dtype != "int64"
        element = element_type(self.type)
        return narrow or hasattr(element, "dims") or kind_of(element) == "sparse"

    def prepare(self, function: str, value: Any) -> Any:
        """``value`` in a form that ``jax.jit`` takes."""
        what = self._what(function)
        if self.kind != "static":
            if type(value) is int:
                return values.within(what, self.type, value)
            return values.plain(what, self.type, value)
        way_out = (
            " Under jax.jit, list it in static_argnums or static_argnames; under "
            "jax.vmap, give it in_axes=None; and do not differentiate with respect to "
            "it."
        )
        return values.fix(what, self.type, value, way_out)

    def explain(self, function: str, value: Any) -> ArgumentError | None:
        """The error if JAX rejected ``value`` before tracing, or ``None``."""
        if self.kind == "static":
            return None
        return values.rejection(self._what(function), self.type, value)

    def _what(self, function: str) -> str:
        return f"argument `{self.label}` of {function}()"


@dataclass(frozen=True)
class Signature:
    """The parameters of the function ``name``. It is ``keyless`` if it is random, but
    takes no key."""

    name: str
    parameters: tuple[Parameter, ...]
    keyless: bool = False

    @property
    def static(self) -> tuple[int, ...]:
        return tuple(i for i, p in enumerate(self.parameters) if p.kind == "static")

    def without_key(self) -> "Signature":
        """The signature of the function that was compiled with ``key=False``."""
        return Signature(self.name, self.parameters[1:], keyless=True)

    @property
    def is_prepared(self) -> bool:
        return any(p.is_prepared for p in self.parameters)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"

    def check_count(self, args: Sequence[Any]) -> None:
        """Raise unless ``args`` has one value per parameter."""
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
            why = (
                "was compiled with key=False: write jaxlink.seed(fn)(key, ...)"
                if self.keyless
                else "takes no key, because the graph is not random: omit the first "
                "argument"
            )
            raise ArgumentError(f"{self.name}() {why}. It takes {self}.")
        if too_few:
            raise self.missing(self.parameters[len(args) :])
        raise ArgumentError(
            f"{self.name}() takes {len(self.parameters)} arguments but got "
            f"{len(args)}. It takes {self}."
        )

    def missing(self, parameters: Sequence[Parameter]) -> ArgumentError:
        kind = KeyArgumentError if parameters[0].kind == "key" else ArgumentError
        what = "arguments" if len(parameters) > 1 else "argument"
        names = ", ".join(f"`{p.label}`" for p in parameters)
        return kind(f"{self.name}() is missing {what} {names}. It takes {self}.")

    def bind(self, args: Sequence[Any]) -> list[Any]:
        """Check and convert all arguments for the linked graph."""
        self.check_count(args)
        first = self.parameters[0] if self.parameters else None
        if first and first.kind == "key" and not is_key(args[0]):
            for parameter, value in zip(self.parameters[1:], args[1:], strict=True):
                if parameter.kind == "array" and is_typed_key(value):
                    raise KeyArgumentError(
                        f"the PRNG key must come first, but is in the place of "
                        f"`{parameter.label}`. {self.name}() takes {self}."
                    )
        pairs = zip(self.parameters, args, strict=True)
        return [parameter.bind(self.name, value) for parameter, value in pairs]

    def prepare(self, args: Sequence[Any]) -> Sequence[Any]:
        """``args`` in a form that ``jax.jit`` takes."""
        if not self.is_prepared:
            return args
        self.check_count(args)
        pairs = zip(self.parameters, args, strict=True)
        return [p.prepare(self.name, v) if p.is_prepared else v for p, v in pairs]

    def explain(self, args: Sequence[Any]) -> ArgumentError | None:
        """The error if JAX rejected one of ``args`` before tracing, or ``None``."""
        pairs = zip(self.parameters, args, strict=False)
        found = (parameter.explain(self.name, value) for parameter, value in pairs)
        return next(filter(None, found), None)


class Labels:
    """Unique identifiers for variables, whose names may be missing or repeated."""

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
    if is_typed_key(value):
        return True
    raw = getattr(value, "dtype", None) == np.uint32
    return raw and np.shape(value) in ((2,), (4,))
