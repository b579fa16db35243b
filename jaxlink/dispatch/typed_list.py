"""Typed lists: Python lists of values, which JAX takes as pytrees.

How long a list is must be known before the call, as any shape. So what would change its
length by a value that JAX traces is refused.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from pytensor.tensor.type_other import SliceType
from pytensor.typed_list.basic import (
    Append,
    Count,
    Extend,
    GetItem,
    Index,
    Insert,
    Length,
    MakeList,
    Remove,
    Reverse,
)

from jaxlink.checks import check
from jaxlink.dispatch.registry import rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.static import canonical, is_static, kind_of, name_of

__all__: list[str] = []

Run = Callable[..., Any]


def _slices(op: Any, node: Any) -> Iterable[int]:
    del op
    return (1,) if isinstance(node.inputs[1].type, SliceType) else ()


@rule(MakeList)
def make_list(op: MakeList, node: Any) -> Run:
    return lambda *elements: [list(elements)]


@rule(Length, known=True)
def length(op: Length, node: Any) -> Run:
    return lambda elements: np.asarray(len(elements), "int64")


@rule(GetItem, static=_slices)
def get_item(op: GetItem, node: Any) -> Run:
    def run(elements: list[Any], index: Any) -> Any:
        if isinstance(index, slice):
            return [elements[index]]
        if is_static(index):
            return (elements[int(index)],)
        shapes = {jnp.shape(element) for element in elements}
        if len(shapes) != 1 or kind_of(node.outputs[0].type) != "array":
            raise UnsupportedOpError(
                f"`{op}` reads {name_of(node.inputs[0])} at an index that is not known "
                "before the call. Then all elements must be arrays of one shape, but "
                f"their shapes are {sorted(shapes)}. Make the index a constant."
            )
        return _at(jnp.stack(elements), index)

    return run


def _at(stacked: Any, index: Any) -> Any:
    n = stacked.shape[0]
    check((index >= -n) & (index < n), f"list index out of range for length {n}")
    return stacked.at[index].get(mode="fill")


@rule(Append)
def append(op: Append, node: Any) -> Run:
    return lambda elements, new: [[*elements, new]]


@rule(Extend)
def extend(op: Extend, node: Any) -> Run:
    return lambda elements, new: [[*elements, *new]]


@rule(Insert, static=(1,))
def insert(op: Insert, node: Any) -> Run:
    def run(elements: list[Any], index: Any, new: Any) -> Any:
        longer = list(elements)
        longer.insert(int(index), new)
        return [longer]

    return run


@rule(Reverse)
def reverse(op: Reverse, node: Any) -> Run:
    return lambda elements: [elements[::-1]]


# Which element goes is a matter of values: PyTensor evaluates it, if these are known.
@rule(Remove, static=(0, 1))
def remove(op: Remove, node: Any) -> Run:
    def run(elements: Any, element: Any) -> Any:
        raise AssertionError(f"{op} has only known operands, so PyTensor evaluates it.")

    return run


def _equal(elements: list[Any], wanted: Any) -> Any:
    """Which elements are ``wanted``, in shape and in all values."""
    same = [
        (element == wanted).all()
        if element.shape == wanted.shape
        else jnp.asarray(False)
        for element in elements
    ]
    return jnp.stack(same) if same else jnp.zeros(0, bool)


@rule(Index)
def index_of(op: Index, node: Any) -> Run:
    _refuse_nested(op, node)

    def run(elements: list[Any], wanted: Any) -> Any:
        found = _equal(elements, wanted)
        if not elements:
            raise ValueError(f"`{op}`: {name_of(node.inputs[0])} is empty")
        check(found.any(), f"ValueError: {name_of(node.inputs[1])} is not in the list")
        return jnp.argmax(found).astype(canonical("int64"))

    return run


@rule(Count)
def count(op: Count, node: Any) -> Run:
    _refuse_nested(op, node)

    def run(elements: list[Any], wanted: Any) -> Any:
        return _equal(elements, wanted).sum(dtype=canonical("int64"))

    return run


def _refuse_nested(op: Any, node: Any) -> None:
    if kind_of(node.inputs[1].type) != "array":
        raise UnsupportedOpError(
            f"`{op}` compares elements of {name_of(node.inputs[0])}, which are no "
            "arrays. jaxlink compares arrays only."
        )
