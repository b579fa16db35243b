"""What a compiled function takes and captures, and the errors for anything else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.errors import ArgumentError, KeyArgumentError, StaticArgumentError
from jaxlink.random_state import as_key
from jaxlink.static import StaticValue, canonical, describe, to_jax

__all__ = ["Data", "Labels", "Parameter", "Signature", "identifier"]

# What JAX takes as one array.
_ARRAY_LIKE = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


@dataclass(frozen=True)
class Data:
    """A piece of captured data. ``name`` is what ``with_data`` calls it, if anything;
    ``static`` says that shapes depend on its value."""

    name: str | None
    label: str
    type: Any
    static: bool = False

    def capture(self, function: str, value: Any) -> jax.Array:
        """``value`` on the device, in the type that the graph declares."""
        what = f"data `{self.label}` of {function}()"
        if not isinstance(value, jax.Array):
            array = np.asarray(value)
            if array.dtype.kind not in "biufc":
                raise _no_array(what, describe(self.type), value)
            value = to_jax(array, f"`{self.label}`")
        _check_array(what, self.type, value)
        return jnp.array(value, canonical(self.type.dtype))

    def bind(self, function: str, value: Any) -> jax.Array:
        """A leaf, as it comes back from whatever was done to the pytree."""
        _check_array(f"data `{self.label}` of {function}()", self.type, value)
        return jnp.asarray(value, canonical(self.type.dtype))

    def fix(self, function: str, value: Any) -> StaticValue:
        """``value`` as a part of the program's identity."""
        return _fix(f"data `{self.label}` of {function}()", self.type, value)


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
        what = f"argument `{self.label}` of {function}()"
        _check_array(what, self.type, value)
        return jnp.asarray(value, canonical(self.type.dtype))

    @property
    def is_prepared(self) -> bool:
        """Whether a value must be seen before JAX traces it: one that fixes a shape, or
        a Python int for a type in which it could wrap around."""
        dtype = getattr(self.type, "dtype", "")
        narrow = dtype.startswith(("int", "uint")) and dtype != "int64"
        return self.kind == "static" or (self.kind == "array" and narrow)

    def prepare(self, function: str, value: Any) -> Any:
        """``value`` as it goes to ``jax.jit``."""
        what = f"argument `{self.label}` of {function}()"
        if self.kind != "static":
            return _within(what, self.type, value) if type(value) is int else value
        if isinstance(value, jax.core.Tracer):
            raise StaticArgumentError(
                f"{what} fixes a shape, so its value must be known before the call, "
                f"but it is traced ({jax.typeof(value)}). Under jax.jit name it in "
                "static_argnums or static_argnames, under jax.vmap give it "
                "in_axes=None, and do not differentiate with respect to it."
            )
        return _fix(what, self.type, value)


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
                if parameter.kind == "array" and _is_typed_key(value):
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
        for parameter, value in zip(self.parameters, args, strict=False):
            if parameter.kind != "static" and not isinstance(value, _ARRAY_LIKE):
                what = f"argument `{parameter.label}` of {self.name}()"
                return _no_array(what, str(parameter), value)
        return None


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
    if _is_typed_key(value):
        return True
    raw = getattr(value, "dtype", None) == np.uint32
    return raw and np.shape(value) in ((2,), (4,))


def _is_typed_key(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _fix(what: str, type_: Any, value: Any) -> StaticValue:
    if isinstance(value, StaticValue):
        return value
    if not isinstance(value, (*_ARRAY_LIKE, tuple, list)):
        raise _no_array(what, describe(type_), value)
    array = np.asarray(value)
    _check_array(what, type_, array, weak=not hasattr(value, "dtype"))
    return StaticValue(_within(what, type_, array))


def _within(what: str, type_: Any, value: Any) -> np.ndarray:
    """``value`` in the dtype of ``type_``, in whose range it must be."""
    if type_.dtype != "bool" and np.size(value):
        limits = np.iinfo(type_.dtype)
        low, high = int(np.min(value)), int(np.max(value))
        if low < limits.min or high > limits.max:
            raise ArgumentError(f"{what} is {value}, which does not fit {type_.dtype}.")
    return np.asarray(value, type_.dtype)


def _no_array(what: str, expected: str, value: Any) -> ArgumentError:
    hint = ""
    if isinstance(value, list | tuple):
        hint = " Write jnp.asarray(...) around it."
    return ArgumentError(
        f"{what} must be an array ({expected}) but is a {type(value).__name__}.{hint}"
    )


def _check_array(what: str, type_: Any, value: Any, weak: bool | None = None) -> None:
    """Raise unless ``value`` is an array that ``type_`` takes: its rank, the dimensions
    that it fixes, and a dtype that it holds without loss (Python scalars: its kind)."""
    if not isinstance(value, _ARRAY_LIKE):
        raise _no_array(what, describe(type_), value)
    aval = jax.typeof(value)
    dtype, shape = aval.dtype, aval.shape
    given = f"{dtype}[{', '.join(map(str, shape))}]"
    expected = f"{what} must be {describe(type_)} but is {given}"
    if _is_typed_key(value):
        raise ArgumentError(f"{what} must be {describe(type_)} but is a PRNG key.")
    if len(shape) != type_.ndim:
        batch = len(shape) == type_.ndim + 1
        hint = " To map over its first axis, use jax.vmap." if batch else ""
        raise ArgumentError(
            f"{expected}: it has rank {len(shape)}, not {type_.ndim}.{hint}"
        )
    fixed = getattr(type_, "shape", (None,) * type_.ndim)
    for axis, (want, have) in enumerate(zip(fixed, shape, strict=True)):
        if want is not None and want != have:
            raise ArgumentError(
                f"{expected}: dimension {axis} must be {want}, not {have}."
            )
    weak = aval.weak_type if weak is None else weak
    if weak:
        fits = _KINDS.index(_kind(dtype)) <= _KINDS.index(_kind(type_.dtype))
    else:
        fits = np.can_cast(dtype, type_.dtype, "safe")
    if not fits:
        raise ArgumentError(
            f"{expected}: it cannot be converted without loss. Convert it yourself, "
            f"for example with jnp.asarray(x, {str(canonical(type_.dtype))!r})."
        )


_KINDS = ("bool", "integer", "float", "complex")


def _kind(dtype: Any) -> str:
    for kind, scalar_type in zip(
        _KINDS[1:], (jnp.integer, jnp.floating, jnp.complexfloating), strict=True
    ):
        if jnp.issubdtype(dtype, scalar_type):
            return kind
    return "bool"
