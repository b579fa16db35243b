"""Selections begin and end at reads and writes by a mask (see `rewrites.masks`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.basic import Nonzero, ScalarFromTensor
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
    unflatten_index_variables,
)

from jaxlink.dispatch.indexing.dynamic_slices import known_lengths
from jaxlink.dispatch.indexing.subtensor import writes_by_mask
from jaxlink.ops.fill_unselected import FillUnselected
from jaxlink.ops.required import without_reason
from jaxlink.rewrites.masks.selections import (
    Declined,
    Mask,
    Masked,
    Value,
    Walk,
    aligned,
    any_masked,
    axes_of,
    none_if_plain,
    plain,
    require_fit,
    source,
    spread,
)

ALL = slice(None)
WRITES = (IncSubtensor, AdvancedIncSubtensor)


@dataclass(frozen=True)
class Selection:
    """``x[index]`` in steps. First comes ``x[basic]``. Then ``n_dims`` dimensions from
    an axis on are joined, the axis moves to the front if ``in_front``, and its mask
    selects from it.

    ``masks`` maps axes to masks. Only slices can have several, each for one dimension.
    """

    basic: tuple[Any, ...]
    masks: dict[int, Mask]
    n_dims: int = 1
    in_front: bool = False

    def is_whole(self) -> bool:
        return all(isinstance(e, slice) and e == ALL for e in self.basic)

    def part(self, x: Variable) -> Variable:
        """The array that the masks select from."""
        if not self.is_whole():
            x = x[self.basic]
        (axis, *_) = self.masks
        if self.n_dims > 1:
            x = pt.join_dims(x, start_axis=axis, n_axes=self.n_dims)
        return pt.moveaxis(x, axis, 0) if self.in_front and axis else x

    def put(self, x: Variable, part: Variable) -> Variable:
        """``x`` with its `part` replaced."""
        (axis, *_) = self.masks
        part = pt.moveaxis(part, 0, axis) if self.in_front and axis else part
        place = x if self.is_whole() else x[self.basic]
        if self.n_dims > 1:
            part = pt.reshape(part, place.shape, ndim=place.type.ndim)
        return part if self.is_whole() else pt.set_subtensor(place, part)

    def axes(self) -> dict[int, Mask]:
        """The masks, by axis of `part`."""
        if self.in_front:
            (mask,) = self.masks.values()
            return {0: mask}
        return self.masks


@dataclass(frozen=True)
class _Nonzero:
    """An index entry that stands for ``nonzero(of)``."""

    of: Variable


def _entries(node: Any) -> list[Any]:
    """The index of ``node``, as slices and variables. Consecutive outputs of
    ``nonzero(mask)`` become one `_Nonzero`."""
    first = 2 if isinstance(node.op, WRITES) else 1
    entries = list(unflatten_index_variables(node.inputs[first:], node.op.idx_list))
    for i, entry in enumerate(entries):
        owner = None if isinstance(entry, slice) else entry.owner
        if owner is not None and isinstance(owner.op, Nonzero):
            n = len(owner.outputs)
            if entries[i : i + n] == owner.outputs:
                entries[i : i + n] = [_Nonzero(owner.inputs[0])]
    return entries


def _mask_in(entry: Any) -> Variable | None:
    """The mask by which an index entry selects, or ``None``."""
    if isinstance(entry, _Nonzero):
        return entry.of
    return None if isinstance(entry, slice) or entry.type.dtype != "bool" else entry


def _selection(walk: Walk, node: Any, x: Value) -> Selection | None:
    """How ``node`` selects by values unknown before the call, or ``None``."""
    if isinstance(node.op, Subtensor | IncSubtensor):
        return _by_slices(walk, node, x)
    entries = _entries(node)
    masks = {i: var for i, e in enumerate(entries) if (var := _mask_in(e)) is not None}
    unknown = [(i, mask) for i, var in masks.items() if (mask := walk.mask_of(var))]
    if not unknown:
        return None
    place, mask = unknown[0]
    others = entries[:place] + entries[place + 1 :]
    if len(masks) > 1 or any(
        not isinstance(e, slice) and e.type.ndim > 0 for e in others
    ):
        raise Declined("it is indexed by the mask together with other arrays")
    n_dims = masks[place].type.ndim
    basic: list[Any] = []
    for i, entry in enumerate(entries):
        if i == place:
            basic += [ALL] * n_dims
        elif isinstance(entry, slice):
            if _is_free(walk, entry):
                raise Declined("it is indexed by the mask together with unknown slices")
            basic.append(slice(*_bounds(walk, entry)))
        else:
            basic.append(_unmasked(walk, entry))
    axis = sum(isinstance(entry, slice) for entry in entries[:place])
    advanced = [i for i, entry in enumerate(entries) if not isinstance(entry, slice)]
    in_front = advanced[-1] - advanced[0] + 1 > len(advanced)
    return Selection(tuple(basic), {axis: mask}, n_dims, in_front)


def _unmasked(walk: Walk, var: Variable) -> Variable:
    value = walk.value(var)
    if isinstance(value, Masked):
        raise Declined("its index is a selection")
    return value


def _bounds(walk: Walk, entry: slice) -> list[Variable | None]:
    """The start, stop and step of a slice in the new graph."""
    bounds = entry.start, entry.stop, entry.step
    return [None if b is None else _unmasked(walk, b) for b in bounds]


def _is_free(walk: Walk, entry: slice) -> bool:
    """Whether a bound is known only in the call."""
    bounds = entry.start, entry.stop, entry.step
    return any(b is not None and walk.binding_time(b) == 2 for b in bounds)


def _by_slices(walk: Walk, node: Any, x: Value) -> Selection | None:
    known = known_lengths(node)
    basic: list[Any] = []
    masks: dict[int, Mask] = {}
    for dim, entry in enumerate(_entries(node)):
        if not isinstance(entry, slice):
            basic.append(_unmasked(walk, entry))
        elif dim in known or not _is_free(walk, entry):
            basic.append(slice(*_bounds(walk, entry)))
        else:
            axis = sum(isinstance(e, slice) for e in basic)
            masks[axis] = _slice_mask(walk, x, dim, entry)
            basic.append(ALL)
    return Selection(tuple(basic), masks) if masks else None


def _slice_mask(walk: Walk, x: Value, dim: int, entry: slice) -> Mask:
    if isinstance(x, Masked):
        raise Declined("a slice of unknown length is taken from it")
    start, stop, step = _bounds(walk, entry)
    if step is not None and (not isinstance(step, Constant) or step.data < 1):
        raise Declined("a slice of unknown length has an unknown or negative step")

    def flags() -> Variable:
        n = pt.as_tensor(x.shape[dim])
        i = pt.arange(n)

        def place(bound: Any, default: Any) -> Any:
            if bound is None:
                return default
            bound = pt.as_tensor(bound).astype("int64")
            return pt.switch(bound < 0, bound + n, bound)

        low = pt.maximum(place(start, pt.constant(0)), 0)
        inside = (i >= low) & (i < place(stop, n))
        return inside if step is None else inside & pt.eq((i - low) % step.data, 0)

    key = ("slice", *map(_identity, (entry.start, entry.stop, entry.step)))
    # The mask is as long as its array, because JAX cannot combine different lengths.
    return walk.mask(key, flags, (x, dim))


def _identity(bound: Any) -> Any:
    if isinstance(bound, Constant):
        return int(bound.data)
    if bound is None:
        return None
    bound, _ = without_reason(bound)
    if bound.owner is not None and isinstance(bound.owner.op, ScalarFromTensor):
        return bound.owner.inputs[0]
    return bound


# --- reading -------------------------------------------------------------------------


@source(Subtensor, AdvancedSubtensor)
def read(walk: Walk, node: Any, values: Sequence[Value]) -> Any:
    x = values[0]
    if node in walk.already_declined:
        return none_if_plain(values)
    selection = _selection(walk, node, x)
    if selection is not None:
        return lambda *_: [_select(x, selection)]
    if any_masked(values[1:]):
        return _gather
    return _pass_by if isinstance(x, Masked) else None


def _select(x: Value, selection: Selection) -> Masked:
    if isinstance(x, Masked):
        return _select_again(x, selection)
    part = selection.part(x)
    for axis, mask in selection.axes().items():
        part = FillUnselected(axis)(part, mask.flags)
    return Masked(part, selection.axes())


def _select_again(x: Masked, selection: Selection) -> Masked:
    """A selection from a selection: along the same axis, by a mask that was itself
    selected by the first mask; or along other axes."""
    if not selection.is_whole() or selection.n_dims > 1:
        raise Declined("a part of it is selected again")
    axes = {**x.axes}
    full = x.full
    for axis, mask in selection.axes().items():
        if axis in x.axes and (len(mask.key) != 2 or mask.key[0] != x.axes[axis].key):
            raise Declined("it is selected again by a mask of another length")
        if axis not in x.axes and _is_nested(mask):
            raise Declined("a mask that is itself selected does not fit it")
        axes[axis] = mask
        full = FillUnselected(axis)(full, mask.flags)
    return Masked(full, axes)


def _is_nested(mask: Mask) -> bool:
    return len(mask.key) == 2 and isinstance(mask.key[0], tuple)


def _pass_by(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Index unselected dimensions, or take one element along a selected one."""
    x = values[0]
    assert isinstance(x, Masked)
    entries = list(unflatten_index_variables(values[1:], node.op.idx_list))
    if any(not isinstance(e, slice) and e.type.ndim for e in entries):
        raise Declined("it is indexed by arrays")
    axes: dict[int, Mask] = {}
    out_axis = 0
    entries += [ALL] * (x.ndim - len(entries))
    for dim, entry in enumerate(entries):
        if isinstance(entry, slice):
            if dim in x.axes:
                if entry != ALL:
                    raise Declined("a slice is taken from it")
                axes[out_axis] = x.axes[dim]
            out_axis += 1
        elif dim in x.axes:
            entries[dim] = _place(x.axes[dim], entry)
    return [Masked(x.full[tuple(entries)], axes)]


def _place(mask: Mask, i: Variable) -> Variable:
    """The index of the i-th selected element; out of bounds if it does not exist."""
    i = pt.as_tensor(i).astype("int64")
    rank = pt.cumsum(mask.flags.astype("int64"))
    i = pt.switch(i < 0, i + rank[-1], i)
    found = pt.eq(rank, i + 1) & mask.flags
    return pt.switch(pt.any(found), pt.argmax(found), mask.flags.shape[0])


def _gather(walk: Walk, node: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Read an array at indices that are a selection, such as those of ``nonzero``."""
    x, *indices = values
    entries = list(unflatten_index_variables(indices, node.op.idx_list))
    arrays = [(i, e) for i, e in enumerate(entries) if not isinstance(e, slice)]
    if isinstance(x, Masked):
        raise Declined("its indices are a selection too")
    if any(plain(e).type.dtype == "bool" for _, e in arrays):
        raise Declined("it is indexed by several masks")
    axes = aligned([e for _, e in arrays])
    places = [i for i, _ in arrays]
    consecutive = places[-1] - places[0] + 1 == len(places)
    start = places[0] if consecutive else 0
    out = node.op(plain(x), *map(plain, indices))
    return [Masked(out, {start + axis: mask for axis, mask in axes.items()})]


# --- writing -------------------------------------------------------------------------


@source(IncSubtensor, AdvancedIncSubtensor)
def write(walk: Walk, node: Any, values: Sequence[Value]) -> Any:
    x, y = values[:2]
    if node in walk.already_declined:
        return none_if_plain(values)
    if writes_by_mask(node.op, node) and not any_masked(values):
        return None  # the Op's rule handles it
    selection = _selection(walk, node, x)
    if selection is not None:
        return lambda *_: [_put(node, x, y, selection)]
    if not any_masked(values):
        return None
    raise Declined(f"`{node.op}` does not write it back where it was read")


def _put(node: Any, x: Value, y: Value, selection: Selection) -> Value:
    written = selection.axes()
    axes = _select_again(x, selection).axes if isinstance(x, Masked) else written
    part = selection.part(plain(x))
    ndim = part.type.ndim
    if plain(y).type.ndim > ndim:
        raise Declined("the values to write have too many dimensions")
    require_fit(y, axes, ndim)
    new = plain(y).astype(part.type.dtype)
    if not node.op.set_instead_of_inc:
        new = (part + new).astype(part.type.dtype)
    for axis, mask in written.items():
        new = pt.switch(spread(mask, axis, ndim), new, part)
    new = selection.put(plain(x), new)
    return Masked(new, axes_of(x)) if isinstance(x, Masked) else new
