"""Digests of what programs are compiled from, the same in every process.

Within a process, identities are compared (`jaxlink.call.identity`). Between processes
only their content can be: classes by name, parameters by value, graphs node by node.
Whatever has no such content has no digest: Ops and rules from other packages, whose
source may change from one process to the next, closures, and objects of unknown kind.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import AbstractFunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.type import Type
from pytensor.scalar.basic import ScalarOp
from pytensor.scan.op import Scan
from pytensor.tensor.random.op import RandomVariable

from jaxlink.call.program import Code
from jaxlink.dispatch.random.registry import find_row
from jaxlink.dispatch.registry import find_rule

__all__ = ["digest"]

# Packages whose version tells what their code does.
_VERSIONED = (
    *("jaxlink", "jax", "jaxlib", "numpy", "scipy", "pytensor", "pymc"),
    *("pymc_extras", "blackjax", "numpyro", "optax"),
    *("diffrax", "equinox", "lineax", "optimistix"),
)
# Settings of JAX that change no program.
_IRRELEVANT = ("cache", "log", "traceback", "profil", "pdb", "dump", "check_tracer")

# ``None``: the code has no content.
_OF_CODE: WeakKeyDictionary[Code, str | None] = WeakKeyDictionary()


class _NoContentError(Exception):
    """A part has no content that another process could compare."""


def digest(*values: Any) -> str | None:
    """A digest of values and of all that affects how JAX compiles.

    Arguments:
        values: functions of jaxlink, options, shapes, and containers of these.

    Returns:
        A string for the name of a file, or ``None`` if a value has no content that
        another process could compare.
    """
    content = _Content()
    try:
        content.add((_environment(), values))
    except _NoContentError:
        return None
    return content.hash.hexdigest()


def _environment() -> Any:
    settings = {
        name: repr(value)
        for name, value in sorted(jax.config.values.items())
        if not any(part in name for part in _IRRELEVANT)
    }
    versions = {
        name: str(getattr(sys.modules[name], "__version__", ""))
        for name in _VERSIONED
        if name in sys.modules
    }
    flags = os.environ.get("XLA_FLAGS", "")
    device = jax.devices()[0]
    kind = device.platform, device.device_kind
    return settings, flags, versions, _own_source(), kind


@cache
def _own_source() -> str:
    """The source of jaxlink: it changes while the version stays, and is installed
    again, elsewhere, in each run of a CI job."""
    root = Path(__file__).parents[1]
    files = sorted(root.rglob("*.py"))
    return _digest_of([(str(f.relative_to(root)), f.read_bytes()) for f in files])


class _Content:
    """A hash of nested values."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=20)

    def add(self, value: Any) -> None:
        """Add a value, with its kind, so that no two values give the same bytes."""
        kind = type(value)
        self._bytes(kind.__qualname__.encode())
        for known, how in _KINDS:
            if isinstance(value, known):
                how(self, value)
                return
        if isinstance(value, Code):
            self._bytes(_digest_of_code(value).encode())
        elif hasattr(value, "parts_of_digest"):
            self.add((kind, *value.parts_of_digest()))
        elif is_dataclass(value):
            self.add((kind, *(getattr(value, f.name) for f in fields(value))))
        else:
            raise _NoContentError(kind)

    def _bytes(self, content: bytes) -> None:
        self.hash.update(len(content).to_bytes(8, "little"))
        self.hash.update(content)

    def _text(self, value: Any) -> None:
        text = repr(value)
        if " at 0x" in text or "..." in text:  # an address, or a part left out
            raise _NoContentError(text)
        self._bytes(text.encode())

    def _named(self, value: Any) -> None:
        """A class or function, by name."""
        module, name = value.__module__, value.__qualname__
        package = (module or "").partition(".")[0]
        is_versioned = package in (*_VERSIONED, "builtins", "functools", "operator")
        if not is_versioned or "<" in name:
            raise _NoContentError(value)
        self._bytes(f"{module}.{name}".encode())

    def _array(self, value: Any) -> None:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise _NoContentError(array.dtype)
        self._bytes(f"{array.dtype.str} {array.shape}".encode())
        self._bytes(array.tobytes())

    def _items(self, value: Any) -> None:
        self._bytes(len(value).to_bytes(8, "little"))
        for item in value:
            self.add(item)

    def _unordered(self, value: Any) -> None:
        self._items(sorted(map(_digest_of, value)))

    def _mapping(self, value: Any) -> None:
        self._items(tuple(value.items()))

    def _partial(self, value: Any) -> None:
        self.add((value.func, value.args, value.keywords))

    def _graph(self, graph: AbstractFunctionGraph) -> None:
        """A graph, without its names."""
        numbers: dict[Variable, int] = {}

        def number(var: Variable) -> int:
            if isinstance(var, Constant) and var not in numbers:
                self.add((len(numbers), var))
            return numbers.setdefault(var, len(numbers))

        self.add([(number(var), var.type) for var in graph.inputs])
        for node in graph.toposort():
            operands = tuple(map(number, node.inputs))
            outs = [(number(var), var.type) for var in node.outputs]
            self.add((node.op, operands, outs))
        self.add([number(var) for var in graph.outputs])

    def _constant(self, var: Constant) -> None:
        data = var.data
        if hasattr(data, "indptr"):
            data = data.shape, data.data, data.indices, data.indptr
        self.add((type(var), var.type, data))

    def _op(self, op: Op) -> None:
        self.add((type(op), [getattr(op, name) for name in _props(op)]))
        if isinstance(op, Scan):
            self.add((op.info, op.truncate_gradient, op.fgraph))
        elif isinstance(op, OpFromGraph):
            if (
                op.pullback_overrides is not None
                or op.pushforward_overrides is not None
            ):
                raise _NoContentError(op)
            self.add((op.is_inline, op.fgraph))
        elif isinstance(op, ScalarOp):
            preference = getattr(op, "output_types_preference", None)
            if type(preference).__module__ == ScalarOp.__module__:
                preference = type(preference), vars(preference)
            self.add(preference)
        elif not hasattr(op, "__props__"):
            raise _NoContentError(op)
        # The class says which rule and which row of a table, if these are jaxlink's.
        rule = find_rule(op)
        row = find_row(op) if isinstance(op, RandomVariable) else None
        meaning = [rule and rule.build, row and row.draw]
        if not all(fn is None or _is_own(fn) for fn in meaning):
            raise _NoContentError(op)

    def _type(self, type_: Type) -> None:
        self.add((type(type_), [getattr(type_, name) for name in _props(type_)]))


def _digest_of_code(code: Code) -> str:
    """Kept with the code, which never changes: it is most of the work."""
    if code not in _OF_CODE:
        _OF_CODE[code] = None
        _OF_CODE[code] = _digest_of(code.parts_of_digest())
    found = _OF_CODE[code]
    if found is None:
        raise _NoContentError(code)
    return found


def _digest_of(value: Any) -> str:
    content = _Content()
    content.add(value)
    return content.hash.hexdigest()


def _is_own(fn: Any) -> bool:
    fn = getattr(fn, "func", fn)
    module = getattr(fn, "__module__", type(fn).__module__)
    return bool(module.partition(".")[0] == "jaxlink")


def _props(thing: Any) -> tuple[str, ...]:
    return tuple(getattr(thing, "__props__", ()))


def _shape(content: _Content, value: Any) -> None:
    weak = getattr(value, "weak_type", False)
    content.add((tuple(value.shape), str(value.dtype), weak))


# The first kind that fits. The order matters: a bool is an int, a NamedTuple a tuple.
_KINDS: tuple[tuple[Any, Callable[[_Content, Any], None]], ...] = (
    (str, lambda content, value: content._bytes(value.encode())),
    (bytes, _Content._bytes),
    (bool | int | float | complex | slice | Enum, _Content._text),
    (type(None) | np.dtype | jax.tree_util.PyTreeDef, _Content._text),
    (np.ndarray | np.generic, _Content._array),
    (type | FunctionType | BuiltinFunctionType | np.ufunc, _Content._named),
    (partial, _Content._partial),
    (tuple | list, _Content._items),
    (set | frozenset, _Content._unordered),
    (Mapping, _Content._mapping),
    (jax.ShapeDtypeStruct | jax.core.ShapedArray, _shape),
    (AbstractFunctionGraph, _Content._graph),
    (Constant, _Content._constant),
    (Op, _Content._op),
    (Type, _Content._type),
)
