"""Reading and writing parts of arrays.

The shape of the result depends on the bounds of slices and on boolean masks, so these
must be known before the call. There are three exceptions: a slice whose length the
graph shows (``x[n : n + 2]``, see `jaxlink.dispatch.indexing.dynamic_slices`), a
selection that is reduced or written back (see `jaxlink.rewrites.masks`), and a single
value written to all elements of a mask. All other indices may be traced.

A known index out of bounds raises an IndexError. It does so at compile time if the type
declares the length. If the index is traced, the plain function cannot raise: reading
returns nan (the least integer, the greatest unsigned integer, True), and writing does
nothing. Under ``checkify`` it raises. A slice of known length must lie within the array
(both of its bounds may count from the end). NumPy would shorten a slice that does not.
Here the whole slice is then out of bounds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.graph.basic import Constant
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    BaseSubtensor,
    IncSubtensor,
    Subtensor,
)

from jaxlink.dispatch.indexing.dynamic_slices import Window, first_index, known_lengths
from jaxlink.dispatch.registry import Function, rule
from jaxlink.errors import OutOfBoundsError
from jaxlink.ops.known_range import KnownRange
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical, cast, is_static
from jaxlink.values.types import name_of

Index = tuple[Any, ...]
Shape = tuple[int | None, ...]


def _static_indices(op: BaseSubtensor, node: Any) -> list[int]:
    first = first_index(op)
    windows = known_lengths(node)
    static = []
    for place, entry in enumerate(op.idx_list):
        if isinstance(entry, slice):
            if place not in windows:
                bounds = (entry.start, entry.stop, entry.step)
                static += [first + i for i in bounds if i is not None]
        elif _is_mask(node.inputs[first + entry]) and not writes_by_mask(op, node):
            static.append(first + entry)
    return static


def _is_mask(index: Any) -> bool:
    """Whether an index (a variable or a value) is a boolean mask."""
    dtype = getattr(getattr(index, "type", index), "dtype", None)
    return dtype is not None and np.dtype(dtype).kind == "b"


def writes_by_mask(op: BaseSubtensor, node: Any) -> bool:
    """Whether a single value is written to all elements of ``x[mask]``.

    The mask may then be traced.
    """
    if not isinstance(op, AdvancedIncSubtensor) or op.idx_list != (0,):
        return False
    x, y, mask = node.inputs
    rest = x.type.ndim - mask.type.ndim
    return y.type.ndim <= rest or (y.type.ndim == rest + 1 and y.type.broadcastable[0])


def _bind(idx_list: Sequence[int | slice], values: Sequence[Any]) -> Index:
    """The index as written in brackets: ``idx_list`` with values for its numbers."""

    def bound(i: int | None) -> Any:
        return None if i is None else _index(values[i])

    return tuple(
        slice(bound(entry.start), bound(entry.stop), bound(entry.step))
        if isinstance(entry, slice)
        else bound(entry)
        for entry in idx_list
    )


def _index(value: Any) -> Any:
    if is_static(value):
        array = np.asarray(value)
        if array.ndim == 0:
            return int(array)
        value = array
    if _is_mask(value):
        return value
    # JAX adds the length to a negative index, which may overflow a small integer type.
    return value.astype(canonical("int64"))


# --- bounds --------------------------------------------------------------------------


def _located(index: Index) -> Iterator[tuple[int, Any]]:
    """Each entry, with the first dimension that it indexes."""
    dim = 0
    for entry in index:
        yield dim, entry
        dim += entry.ndim if _is_mask(entry) else 1


def _check_known(index: Index, shape: Shape, what: str) -> None:
    """Raise for known indices that are out of bounds, as NumPy does.

    Every index fits a dimension whose length is not known (``None``).
    """
    for dim, entry in _located(index):
        if _is_mask(entry):
            here = shape[dim : dim + entry.ndim]
            pairs = zip(entry.shape, here, strict=True)
            if any(n is not None and n != m for m, n in pairs):
                raise OutOfBoundsError(
                    f"a mask of shape {entry.shape} does not fit {what}: it indexes "
                    f"dimensions of lengths {here}"
                )
        elif is_static(entry) and not isinstance(entry, slice):
            n = shape[dim]
            if n is None or not np.size(entry):
                continue
            low, high = int(np.min(entry)), int(np.max(entry))
            if low < -n or high >= n:
                raise OutOfBoundsError(
                    f"index {low if low < -n else high} is out of bounds for "
                    f"dimension {dim} of length {n} of {what}"
                )


def _check_traced(index: Index, shape: tuple[int, ...], what: str) -> None:
    for dim, entry in _located(index):
        if not (_is_mask(entry) or is_static(entry) or isinstance(entry, slice)):
            n = shape[dim]
            check(
                lambda n=n, i=entry: jnp.all((i >= -n) & (i < n)),
                f"IndexError: an index is out of bounds for dimension {dim} of length "
                f"{n} of {what}",
            )


def _check_types(op: BaseSubtensor, node: Any) -> None:
    """Raise at compile time if a constant is out of bounds for the type's shape."""
    x, values = node.inputs[0], node.inputs[first_index(op) :]
    if any(mask.type.ndim != 1 for mask in filter(_is_mask, values)):
        return  # a mask over several dimensions shifts the dimensions after it
    known = _known_ranges(op, node) | {
        i: _index(var.data) for i, var in enumerate(values) if isinstance(var, Constant)
    }
    constants = tuple(
        known.get(entry, slice(None)) if isinstance(entry, int) else slice(None)
        for entry in op.idx_list
    )
    _check_known(constants, x.type.shape, name_of(x))


def _known_ranges(op: BaseSubtensor, node: Any) -> dict[int, np.ndarray]:
    """The least and the greatest index of each array with a known range, by its place
    among the indices. For checks of bounds they stand for the array."""
    return {
        i: np.array([var.owner.op.low, var.owner.op.high])
        for i, var in enumerate(node.inputs[first_index(op) :])
        if var.owner is not None and isinstance(var.owner.op, KnownRange)
    }


def _beyond(checked: Index, otherwise: str) -> dict[str, Any]:
    """What JAX shall do for indices out of bounds, which cannot occur if all are known
    and have been checked."""
    if not _known(checked):
        return {"mode": otherwise}
    lows = [np.min(i, initial=0) for i in checked if not isinstance(i, slice)]
    wrap = any(low < 0 for low in lows)
    return {"mode": "promise_in_bounds", "wrap_negative_indices": wrap}


# --- windows -------------------------------------------------------------------------


def _windows(
    op: BaseSubtensor, node: Any, index: Index, shape: tuple[int, ...]
) -> tuple[dict[int, tuple[Window, Any]], Any, Index]:
    """The windows of a read or write.

    Returns:
        Each window with its start, by dimension; whether all lie within the array (None
        if there are no windows); and the index to apply within the windows.
    """
    windows, inside, rest = {}, None, list(index)
    for dim, window in known_lengths(node).items():
        bounds = index[dim]
        if is_static(bounds):
            continue
        if window.span > shape[dim]:
            raise OutOfBoundsError(
                f"a slice of {window.length} elements is taken from dimension {dim} of "
                f"{name_of(node.inputs[0])}, which has length {shape[dim]}. A slice "
                "with a known length and traced bounds must lie within the array."
            )
        start, within = window.place(bounds.start, bounds.stop, shape[dim])
        windows[dim] = window, start
        inside = within if inside is None else inside & within
        rest[dim] = slice(None)
    if windows:
        check(
            inside,
            "IndexError: a slice of known length is out of bounds for "
            f"{name_of(node.inputs[0])} of shape {shape}",
        )
    return windows, inside, tuple(rest)


def nothing(dtype: Any) -> Any:
    """The value of an element out of bounds (JAX's own convention)."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(jnp.nan, dtype)
    if dtype.kind == "b":
        return jnp.asarray(True)
    limits = np.iinfo(dtype)
    return jnp.asarray(limits.max if limits.min == 0 else limits.min, dtype)


def _read_windows(x: Any, windows: Any) -> Any:
    for dim, (window, start) in windows.items():
        x = window.read(x, dim, start)
    return x


def _write_windows(x: Any, part: Any, old: Any, windows: Any, inside: Any) -> Any:
    """``x`` with ``part`` in its windows, which held ``old``."""
    part = jnp.where(inside, part, old)
    starts = [jnp.zeros((), canonical("int64"))] * x.ndim
    strides = [1] * x.ndim
    for dim, (window, start) in windows.items():
        starts[dim], strides[dim] = start, window.step
    if any(step > 1 for step in strides):
        spans = [
            windows[d][0].span if d in windows else x.shape[d] for d in range(x.ndim)
        ]
        gaps = lax.dynamic_slice(x, starts, spans)
        part = gaps.at[tuple(slice(None, None, step) for step in strides)].set(part)
    return lax.dynamic_update_slice(x, part, starts)


# --- rules ---------------------------------------------------------------------------


def _known(index: Index) -> bool:
    return all(map(is_static, index))


@rule(KnownRange)
def known_range(op: KnownRange, node: Any) -> Function:
    return lambda index: index


@rule(Subtensor, AdvancedSubtensor, static=_static_indices)
def subtensor(op: Any, node: Any) -> Function:
    _check_types(op, node)
    what, ranges = name_of(node.inputs[0]), _known_ranges(op, node)

    def run(x: Any, *values: Any) -> Any:
        x, index = jnp.asarray(x), _bind(op.idx_list, values)
        bounds = [ranges.get(i, value) for i, value in enumerate(values)]
        checked = _bind(op.idx_list, bounds)
        _check_known(checked, x.shape, what)
        windows, inside, index = _windows(op, node, index, x.shape)
        if windows:
            x = _read_windows(x, windows)
            x = jnp.where(inside, x, nothing(x.dtype))
        if _known(index):  # it has been checked
            return x[index]
        _check_traced(checked, x.shape, what)
        return x.at[index].get(**_beyond(checked, "fill"))

    return run


def _is_all(index: Index, shape: tuple[int, ...]) -> bool:
    """Whether ``index`` is known to select every element, in order."""
    return _known(index) and all(
        isinstance(entry, slice) and entry.indices(n) == (0, n, 1)
        for entry, n in zip(index, shape, strict=False)
    )


@rule(IncSubtensor, AdvancedIncSubtensor, static=_static_indices)
def inc_subtensor(op: Any, node: Any) -> Function:
    _check_types(op, node)
    if writes_by_mask(op, node) and _is_mask(node.inputs[2]):
        return _write_by_mask(op)
    what, ranges = name_of(node.inputs[0]), _known_ranges(op, node)
    dtype = node.outputs[0].type.dtype
    sets = op.set_instead_of_inc
    once = getattr(op, "ignore_duplicates", False)
    reader = Subtensor if isinstance(op, IncSubtensor) else AdvancedSubtensor
    part_type = reader(op.idx_list).make_node(node.inputs[0], *node.inputs[2:]).out.type
    # In NumPy the value may have extra leading dimensions of length 1.
    extra = max(node.inputs[1].type.ndim - part_type.ndim, 0)

    def write(x: Any, y: Any, index: Index, checked: Index) -> Any:
        _check_traced(checked, x.shape, what)
        if _is_all(index, x.shape):
            # XLA aborts on x[::-1] if x is a scatter that adds to all of a constant.
            y = jnp.broadcast_to(y, x.shape)
            return y if sets else x + y
        part = x.at[index]
        beyond = _beyond(checked, "drop") if ranges else {"mode": "drop"}
        if sets:
            return part.set(y, **beyond)
        if x.dtype.kind == "b":  # a sum of booleans is a logical or
            return part.max(y, **beyond)
        return part.set(x[index] + y, **beyond) if once else part.add(y, **beyond)

    def run(x: Any, y: Any, *values: Any) -> Any:
        index = _bind(op.idx_list, values)
        x, y = jnp.asarray(x), cast(jnp.asarray(y), dtype)
        bounds = [ranges.get(i, value) for i, value in enumerate(values)]
        checked = _bind(op.idx_list, bounds)
        _check_known(checked, x.shape, what)
        y = y.reshape(y.shape[extra:])
        windows, inside, index = _windows(op, node, index, x.shape)
        old = _read_windows(x, windows)
        new = write(old, y, index, checked)
        return _write_windows(x, new, old, windows, inside) if windows else new

    return run


def _write_by_mask(op: AdvancedIncSubtensor) -> Function:
    def run(x: Any, y: Any, mask: Any) -> Any:
        x = jnp.asarray(x)
        if mask.shape != x.shape[: mask.ndim]:
            raise OutOfBoundsError(
                f"a mask of shape {mask.shape} does not fit an array of shape {x.shape}"
            )
        rest = x.shape[mask.ndim :]
        y = cast(jnp.asarray(y), x.dtype)
        y = y.reshape(y.shape[1:]) if y.ndim > len(rest) else y
        mask = jnp.expand_dims(mask, range(mask.ndim, x.ndim))
        new = y if op.set_instead_of_inc else (x + y).astype(x.dtype)
        return jnp.where(mask, new, x)

    return run
