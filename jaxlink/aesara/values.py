"""Values and types as the archive writes them, in PyTensor's terms."""

import builtins
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pytensor.scalar as ps
from pytensor.graph.type import Type
from pytensor.tensor.random.type import RandomGeneratorType
from pytensor.tensor.type import TensorType
from pytensor.tensor.type_other import NoneTypeT, SliceType
from pytensor.typed_list.type import TypedListType

from jaxlink.aesara.archive import damaged

__all__ = ["Source", "Unreadable", "read_type", "read_value"]

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class Source(Protocol):
    """Where a value finds the arrays and Ops that it has by number."""

    def array(self, number: Any) -> np.ndarray: ...

    def op(self, number: Any) -> Any: ...


class Unreadable(str):
    """The name of a class of values that the exporter cannot write."""


def read_type(record: Mapping[str, Any]) -> Type:
    """A variable's type.

    Raises:
        AesaraError: PyTensor has no such type.
    """
    kind = record["kind"]
    if kind not in _TYPES:
        raise damaged(f"it has a variable of the type {kind!r}, which is unknown")
    return _TYPES[kind](record)


def _shape(record: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if n is None else int(n) for n in record["shape"])


def _sparse_type(record: Mapping[str, Any]) -> Type:
    from pytensor.sparse.type import SparseTensorType

    return SparseTensorType(
        record["format"], dtype=record["dtype"], shape=_shape(record)
    )


_TYPES: dict[str, Callable[[Mapping[str, Any]], Type]] = {
    "TensorType": lambda record: TensorType(record["dtype"], _shape(record)),
    "ScalarType": lambda record: ps.get_scalar_type(record["dtype"]),
    "SparseTensorType": _sparse_type,
    "RandomGeneratorType": lambda _: RandomGeneratorType(),
    # PyTensor has no NumPy RandomState: a Generator draws from the same bits.
    "RandomStateType": lambda _: RandomGeneratorType(),
    "NoneTypeT": lambda _: NoneTypeT(),
    # Of constants that are None.
    "Generic": lambda _: NoneTypeT(),
    "SliceType": lambda _: SliceType(),
    "TypedListType": lambda record: TypedListType(read_type(record["item"])),
}


def read_value(source: Source, record: Any) -> Any:
    """A value of Python or NumPy, a type or an Op."""
    if record is None or isinstance(record, bool | int | float | str):
        return record
    if not isinstance(record, dict) or len(record) != 1:
        raise damaged("a value has no kind")
    ((kind, content),) = record.items()
    if kind not in _VALUES:
        raise damaged(f"a value has the unknown kind {kind!r}")
    return _VALUES[kind](source, content)


def _read_all(source: Source, records: Any) -> list[Any]:
    return [read_value(source, record) for record in records]


def _sparse(source: Source, content: Any) -> Any:
    from pytensor.sparse.type import SparseTensorType

    make = SparseTensorType.format_cls[content["format"]]
    parts = [source.array(content[name]) for name in ("data", "indices", "indptr")]
    matrix = make(tuple(parts), shape=tuple(content["shape"]))
    matrix.check_format()
    return matrix


def _generator(source: Source, content: Any) -> np.random.Generator:
    state = read_value(source, content)
    if state["bit_generator"] not in _BIT_GENERATORS:
        raise damaged(f"it has a generator {state['bit_generator']!r}")
    bits = getattr(np.random, state["bit_generator"])(0)
    bits.state = state
    return np.random.Generator(bits)


def _class(source: Source, name: Any) -> Any:
    """An exception of Python, by name. Other classes stay names."""
    del source
    module, _, simple = str(name).rpartition(".")
    found = getattr(builtins, simple, None) if module == "builtins" else None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return Unreadable(name)


_VALUES: dict[str, Callable[[Source, Any], Any]] = {
    "tuple": lambda source, content: tuple(_read_all(source, content)),
    "list": _read_all,
    "dict": lambda source, content: dict(_read_all(source, x) for x in content),
    "slice": lambda source, content: slice(*_read_all(source, content)),
    "array": lambda source, content: source.array(content),
    "float": lambda _, content: float(content),
    "sparse": _sparse,
    "generator": _generator,
    "type": lambda _, content: read_type(content),
    "op": lambda source, content: source.op(content),
    "class": _class,
    "other": lambda _, content: Unreadable(content),
}
