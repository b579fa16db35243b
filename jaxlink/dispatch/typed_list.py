"""Typed lists: Python lists of values, which are pytrees to JAX.

Like any shape, a list's length must be known before the call. So no Op may change the
length in a way that depends on a traced value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
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

from jaxlink.dispatch.creation import known_before_the_call
from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.values.bcoo import (
    concatenated,
    decode,
    encode,
    group,
    in_common_form,
    is_bcoo,
)
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical, is_static
from jaxlink.values.types import name_of


def _slices(op: Any, node: Any) -> Iterable[int]:
    return (1,) if isinstance(node.inputs[1].type, SliceType) else ()


# The values of the operands -> the new list, in a list, because it is one output.
_NEW_LISTS: dict[type, Function] = {
    MakeList: lambda *elements: [list(elements)],
    Append: lambda elements, new: [[*elements, new]],
    Extend: lambda elements, new: [[*elements, *new]],
    Reverse: lambda elements: [elements[::-1]],
}


@rule(*_NEW_LISTS)
def new_list(op: Any, node: Any) -> Function:
    return _NEW_LISTS[type(op)]


@rule(Length, known=True)
def length(op: Length, node: Any) -> Function:
    return lambda elements: np.asarray(len(elements), "int64")


@rule(GetItem, static=_slices)
def get_item(op: GetItem, node: Any) -> Function:
    def run(elements: list[Any], index: Any) -> Any:
        if isinstance(index, slice):
            return [elements[index]]
        if is_static(index):
            return (elements[int(index)],)
        shapes = set(map(_shape, elements))
        if len(shapes) != 1:
            raise UnsupportedOpError(
                f"`{op}` reads {name_of(node.inputs[0])} at an index that is not known "
                "before the call. All elements must then have the same shape, but "
                f"their shapes are {sorted(shapes)}. Make the index a constant."
            )
        n = len(elements)
        check((index >= -n) & (index < n), f"list index out of range for length {n}")
        return (_chosen(elements, index),)

    return run


def _shape(element: Any) -> tuple[Any, ...]:
    """The shape of an array or matrix. For a list, the shapes of its elements."""
    if isinstance(element, list):
        return tuple(map(_shape, element))
    return tuple(element.shape)


def _chosen(elements: Sequence[Any], index: Any) -> Any:
    """One of ``elements``, which all have the same shape."""
    first = elements[0]
    if isinstance(first, list):
        return [_chosen(parts, index) for parts in zip(*elements, strict=True)]
    if not is_bcoo(first):
        return jnp.stack(elements).at[index].get(mode="fill")
    entries = [decode(in_common_form(matrix, elements)) for matrix in elements]

    def part(name: str, mode: Any) -> Any:
        parts = jnp.stack([getattr(entry, name) for entry in entries])
        return parts.at[index].get(mode=mode)

    places = {name: part(name, "clip") for name in ("rows", "columns", "stored")}
    return encode(replace(entries[0], data=part("data", "fill"), **places))


@rule(Insert, static=(1,))
def insert(op: Insert, node: Any) -> Function:
    def run(elements: list[Any], index: Any, new: Any) -> Any:
        i = int(index)
        return [[*elements[:i], new, *elements[i:]]]

    return run


# Which element is removed depends on values.
rule(Remove, static=(0, 1))(known_before_the_call)


def _equal(elements: list[Any], wanted: Any) -> Any:
    """Which elements equal ``wanted``, in shape and in every value."""
    same = [_same(element, wanted) for element in elements]
    return jnp.stack(same) if same else jnp.zeros(0, bool)


def _same(x: Any, y: Any) -> Any:
    if _shape(x) != _shape(y):
        return jnp.asarray(False)
    if isinstance(x, list):
        parts = [_same(*pair) for pair in zip(x, y, strict=True)]
        return jnp.stack([jnp.asarray(True), *parts]).all()
    if not is_bcoo(x):
        x, y = jnp.asarray(x), jnp.asarray(y)
        return ((x == y) | ((x != x) & (y != y))).all()
    # As in PyTensor, matrices are equal if every element of their difference is 0.
    parts = [decode(x), decode(y)]
    parts[1] = replace(parts[1], data=-parts[1].data)
    both = concatenated(parts, parts[0].shape)
    data = jnp.where(both.alive, both.data, 0)
    return (group(both.rows, both.columns, both.shape).add_up(data) == 0).all()


@rule(Index)
def index_of(op: Index, node: Any) -> Function:
    def run(elements: list[Any], wanted: Any) -> Any:
        found = _equal(elements, wanted)
        if not elements:
            raise ValueError(
                f"`{op}` cannot find {name_of(node.inputs[1])} in "
                f"{name_of(node.inputs[0])}, which is empty."
            )
        check(found.any(), f"ValueError: {name_of(node.inputs[1])} is not in the list")
        return jnp.argmax(found).astype(canonical("int64"))

    return run


@rule(Count)
def count(op: Count, node: Any) -> Function:
    return lambda elements, wanted: _equal(elements, wanted).sum(
        dtype=canonical("int64")
    )
