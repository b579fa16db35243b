"""Reading and writing parts of arrays.

Bounds of slices and boolean masks that are read must be static, other indices may be
traced. An index out of bounds raises if it is known. If it is traced, JAX cannot raise:
reading gives nan (the least integer, the greatest unsigned one), writing does nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from pytensor.tensor.extra_ops import RavelMultiIndex, UnravelIndex
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    BaseSubtensor,
    IncSubtensor,
    Subtensor,
)

from jaxlink.dispatch.registry import rule
from jaxlink.static import canonical, is_static

__all__: list[str] = []

Entry = int | slice


def _first_index(op: Any) -> int:
    """The position of the first index among the operands."""
    return 2 if isinstance(op, IncSubtensor | AdvancedIncSubtensor) else 1


def _static_indices(op: BaseSubtensor, node: Any) -> list[int]:
    first = _first_index(op)
    static = []
    for entry in op.idx_list:
        if isinstance(entry, slice):
            bounds = (entry.start, entry.stop, entry.step)
            static += [first + i for i in bounds if i is not None]
        elif _is_mask(node.inputs[first + entry]) and not _writes_by_mask(op, node):
            static.append(first + entry)
    return static


def _is_mask(var: Any) -> bool:
    return var.type.dtype == "bool"


def _writes_by_mask(op: BaseSubtensor, node: Any) -> bool:
    """Whether ``x[mask]`` is written with one value for all elements of the mask.

    Then it need not be known which elements these are.
    """
    if not isinstance(op, AdvancedIncSubtensor) or op.idx_list != (0,):
        return False
    x, y, mask = node.inputs
    rest = x.type.ndim - mask.type.ndim
    return y.type.ndim <= rest or (y.type.ndim == rest + 1 and y.type.broadcastable[0])


def _bind(idx_list: Sequence[Entry], values: Sequence[Any]) -> tuple[Any, ...]:
    """The index that stands in brackets: ``idx_list`` with values for its numbers."""

    def bound(i: int | None) -> int | None:
        return None if i is None else int(values[i])

    return tuple(
        slice(bound(entry.start), bound(entry.stop), bound(entry.step))
        if isinstance(entry, slice)
        else _index(values[entry])
        for entry in idx_list
    )


def _index(value: Any) -> Any:
    if is_static(value):
        array = np.asarray(value)
        if array.ndim == 0:
            return int(array)
        value = array
    if value.dtype == bool:
        return value
    # A small integer type cannot hold the length that JAX adds to -1.
    return value.astype(canonical("int64"))


def _known(index: tuple[Any, ...]) -> bool:
    return all(map(is_static, index))


def _check_bounds(index: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Raise IndexError for known indices that are out of bounds, as NumPy does."""
    dim = 0
    for entry in index:
        if isinstance(entry, np.ndarray) and entry.dtype == bool:
            if entry.shape != shape[dim : dim + entry.ndim]:
                raise IndexError(
                    f"a mask of shape {entry.shape} does not fit the dimensions "
                    f"{shape[dim : dim + entry.ndim]} that it indexes"
                )
            dim += entry.ndim
            continue
        if isinstance(entry, int | np.ndarray) and np.size(entry):
            n, low, high = shape[dim], int(np.min(entry)), int(np.max(entry))
            if low < -n or high >= n:
                raise IndexError(
                    f"index {low if low < -n else high} is out of bounds for "
                    f"dimension {dim} of length {n}"
                )
        dim += 1


@rule(Subtensor, AdvancedSubtensor, static=_static_indices)
def subtensor(op: Any, node: Any) -> Callable[..., Any]:
    def run(x: Any, *values: Any) -> Any:
        index = _bind(op.idx_list, values)
        x = jnp.asarray(x)
        _check_bounds(index, x.shape)
        # Known ones are in bounds now, and JAX can make slices of them.
        return x[index] if _known(index) else x.at[index].get(mode="fill")

    return run


@rule(IncSubtensor, AdvancedIncSubtensor, static=_static_indices)
def inc_subtensor(op: Any, node: Any) -> Callable[..., Any]:
    if _writes_by_mask(op, node) and _is_mask(node.inputs[2]):
        return _write_by_mask(op)
    dtype = node.outputs[0].type.dtype
    sets = op.set_instead_of_inc
    once = getattr(op, "ignore_duplicates", False)
    reader = Subtensor if isinstance(op, IncSubtensor) else AdvancedSubtensor
    part_type = reader(op.idx_list).make_node(node.inputs[0], *node.inputs[2:]).out.type
    # NumPy lets the value have leading dimensions of 1 that its place lacks.
    extra = max(node.inputs[1].type.ndim - part_type.ndim, 0)

    def run(x: Any, y: Any, *values: Any) -> Any:
        index = _bind(op.idx_list, values)
        x, y = jnp.asarray(x), jnp.asarray(y, canonical(dtype))
        _check_bounds(index, x.shape)
        y = y.reshape(y.shape[extra:])
        part = x.at[index]
        if sets:
            return part.set(y, mode="drop")
        return part.set(x[index] + y, mode="drop") if once else part.add(y, mode="drop")

    return run


def _write_by_mask(op: AdvancedIncSubtensor) -> Callable[..., Any]:
    def run(x: Any, y: Any, mask: Any) -> Any:
        x = jnp.asarray(x)
        if mask.shape != x.shape[: mask.ndim]:
            raise IndexError(
                f"a mask of shape {mask.shape} does not fit an array of shape {x.shape}"
            )
        rest = x.shape[mask.ndim :]
        y = jnp.asarray(y, x.dtype)
        y = y.reshape(y.shape[1:]) if y.ndim > len(rest) else y
        mask = jnp.expand_dims(mask, range(mask.ndim, x.ndim))
        return jnp.where(mask, y if op.set_instead_of_inc else x + y, x)

    return run


@rule(UnravelIndex, static=(1,))
def unravel_index(op: UnravelIndex, node: Any) -> Callable[..., Any]:
    def run(flat: Any, dims: Any) -> Any:
        lengths = [int(n) for n in dims]
        rest = jnp.asarray(flat, canonical("int64"))
        coordinates = []
        # From the dimension that varies fastest to the one that varies slowest.
        for n in reversed(lengths) if op.order == "C" else lengths:
            coordinates.append(rest % n)
            rest = rest // n
        return tuple(reversed(coordinates) if op.order == "C" else coordinates)

    return run


@rule(RavelMultiIndex, static=lambda op, node: [len(node.inputs) - 1])
def ravel_multi_index(op: RavelMultiIndex, node: Any) -> Callable[..., Any]:
    def run(*operands: Any) -> Any:
        *index, dims = operands
        pairs = [
            (jnp.asarray(i, canonical("int64")), int(n))
            for i, n in zip(index, dims, strict=True)
        ]
        flat = jnp.zeros((), canonical("int64"))
        for i, n in pairs if op.order == "C" else reversed(pairs):
            if op.mode != "raise":
                i = i % n if op.mode == "wrap" else jnp.clip(i, 0, n - 1)
            flat = flat * n + i
        return flat

    return run
