"""PyTensor types: the kind of JAX value for each, and their names in errors."""

from collections.abc import Container
from typing import Any, Literal

from pytensor.graph.basic import Variable
from pytensor.graph.type import HasDataType
from pytensor.scalar.basic import ScalarType
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import DenseTensorType, TensorType

Kind = Literal["array", "sparse", "list", "generator", "other"]


def kind_of(type_: Any) -> Kind:
    """The kind of JAX value for a PyTensor type.

    Tensors, scalars and xtensors are an ``array``. (Attributes identify sparse and list
    types, so that PyTensor's packages for these need not be loaded.)
    """
    if isinstance(type_, RandomType):
        return "generator"
    if hasattr(type_, "ttype"):
        return "list"
    if isinstance(type_, TensorType) and not isinstance(type_, DenseTensorType):
        return "sparse"
    return "array" if isinstance(type_, HasDataType) else "other"


def element_type(type_: Any) -> Any:
    """The innermost element type of a (nested) list type; any other type unchanged."""
    while kind_of(type_) == "list":
        type_ = type_.ttype
    return type_


def dtype_of(type_: Any) -> str:
    """The name of a type's dtype, or an empty string if it has none."""
    return type_.dtype if kind_of(type_) in ("array", "sparse") else ""


def describe(type_: Any) -> str:
    """A PyTensor type as ``float64[?, 3]``: dtype and shape, ``?`` where unknown."""
    kind = kind_of(type_)
    if kind == "list":
        return f"list of {describe(type_.ttype)}"
    if isinstance(type_, ScalarType):
        return f"{type_.dtype}[]"
    if kind not in ("array", "sparse"):
        return "PRNG key" if kind == "generator" else str(type_)
    lengths = ["?" if dim is None else str(dim) for dim in type_.shape]
    if names := getattr(type_, "dims", ()):
        lengths = [f"{name}={n}" for name, n in zip(names, lengths, strict=True)]
    storage = f"{type_.format} " if kind == "sparse" else ""
    return f"{storage}{type_.dtype}[{', '.join(lengths)}]"


def name_of(var: Variable) -> str:
    """A variable's name, or its expression if it has none."""
    return f"`{var.name}`" if var.name else f"`{var}`"


def dotted(cls: Any) -> str:
    """The name of a class or function, with its module."""
    return f"{cls.__module__}.{cls.__qualname__}"


def nearest(cls: type, table: Container[Any]) -> Any:
    """The first of ``cls`` and its bases, in MRO order, that ``table`` contains."""
    return next((base for base in cls.__mro__ if base in table), None)
