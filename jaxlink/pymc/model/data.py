"""The data of a model that can change: `pm.Data`, and the lengths of dimensions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
from jax.export import is_symbolic_dim
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors

from jaxlink.pymc.shared.arguments import check_names, quoted
from jaxlink.values.boundary import as_array

__all__ = ["ModelData", "check_observed"]

Dims = tuple[str | None, ...]


@dataclass(frozen=True)
class ModelData:
    """The data of a model that can change, and the lengths that depend on them.

    Attributes:
        dims: the name of each `pm.Data`, with the names of its dimensions.
        lengths: the current length of each dimension, unless it is computed from data.
        fixed: the dimensions among these whose length cannot change.
        labelled: dimensions that have coordinates.
        observed: the observed variables, each with the names of the data that hold its
            observations.
    """

    dims: tuple[tuple[str, Dims], ...]
    lengths: tuple[tuple[str, int], ...]
    fixed: frozenset[str]
    labelled: frozenset[str]
    observed: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, model: pm.Model) -> "ModelData":
        dims = model.named_vars_to_dims
        shared = [x.name for x in model.data_vars if isinstance(x, SharedVariable)]
        lengths, fixed = {}, set()
        for dim, length in model.dim_lengths.items():
            if isinstance(length, SharedVariable):
                lengths[dim] = int(length.get_value())
            elif isinstance(length, Constant):
                lengths[dim] = int(length.data)
                fixed.add(dim)
        return cls(
            tuple((name, tuple(dims.get(name) or ())) for name in shared),
            tuple(lengths.items()),
            frozenset(fixed),
            frozenset(dim for dim, xs in model.coords.items() if xs is not None),
            tuple(_observed_data(model, rv, shared) for rv in model.observed_RVs),
        )

    def change(
        self,
        values: Mapping[str, Any],
        coords: Mapping[str, Sequence[Any]],
        captured: Mapping[str, Any],
    ) -> tuple["ModelData", dict[str, Any]]:
        """These data after a change, and the new values for a function that captured
        the values ``captured``.

        Raises:
            ValueError: see `ModelFunction.with_data`.
        """
        dims, lengths = dict(self.dims), dict(self.lengths)
        check_names(values, dims, "pm.Data of the model", self._about_observed(values))
        known = {dim for names in dims.values() for dim in names if dim}
        check_names(coords, known | lengths.keys(), "dimension of the model")
        arrays = {n: _as_data(n, value, dims[n]) for n, value in values.items()}
        new = self._new_lengths(arrays, coords)
        for dim, length in new.items():
            if length != lengths.get(dim, length):
                self._check_resize(dim, lengths[dim], length, coords)
        untouched = {name: captured[name] for name in dims if name in captured}
        for name, array in (untouched | arrays).items():
            _check_shape(name, np.shape(array), dims[name], new)
        own = {dim: length for dim, length in new.items() if dim in lengths}
        after = replace(self, lengths=tuple((lengths | own).items()))
        variable = {dim: n for dim, n in own.items() if dim not in self.fixed}
        new_values = {**arrays, **variable}
        return after, {name: x for name, x in new_values.items() if name in captured}

    def _about_observed(self, names: Iterable[str]) -> str:
        """What to write for observed variables, which are not data themselves."""
        observed = dict(self.observed)
        data = {name for name, _ in self.dims}
        for name in names:
            if name in data or name not in observed:
                continue
            if held := observed[name]:
                return f" `{name}` is observed, with its values in {quoted(held)}."
            return (
                f" `{name}` is observed, but its values are constants: build the model "
                f'with observed=pm.Data("{name}_data", ...), and pass that name.'
            )
        return ""

    def _new_lengths(
        self, arrays: Mapping[str, Any], coords: Mapping[str, Sequence[Any]]
    ) -> dict[str, int]:
        lengths = {dim: len(labels) for dim, labels in coords.items()}
        for name, dims in self.dims:
            if name not in arrays or not dims:
                continue
            shape = arrays[name].shape
            if len(shape) != len(dims):
                batch = len(shape) == len(dims) + 1
                hint = (
                    " To map over its first axis, call with_data in the function that "
                    "jax.vmap maps."
                )
                raise ValueError(
                    f"`{name}` has the dimensions {quoted(map(str, dims))}, but its "
                    f"new value is of shape {shape}.{hint if batch else ''}"
                )
            for dim, length in zip(dims, shape, strict=True):
                if dim is not None:
                    lengths.setdefault(dim, length)
        return lengths

    def _check_resize(
        self, dim: str, old: int, new: int, coords: Mapping[str, Any]
    ) -> None:
        if dim in self.fixed:
            raise ValueError(
                f"dimension `{dim}` has the fixed length {old}, so it cannot become "
                f"{new}."
            )
        # No labels belong to a symbolic length: the function is being exported.
        if dim in self.labelled and dim not in coords and not is_symbolic_dim(new):
            raise ValueError(
                f"dimension `{dim}` has coordinates and changes its length from {old} "
                f"to {new}: pass coords={{{dim!r}: ...}} too."
            )


def _observed_data(
    model: pm.Model, rv: Variable, data: Collection[str]
) -> tuple[str, tuple[str, ...]]:
    found = ancestors([model.rvs_to_values[rv]])
    return rv.name, tuple(dict.fromkeys(x.name for x in found if x.name in data))


def _as_data(name: str, value: Any, dims: Dims) -> Any:
    """A new value as an array, converted as `pymc.set_data` does it. Objects of pandas
    and xarray are converted; sparse and JAX arrays stay as they are."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"the new value of `{name}` has masked entries, which a compiled "
            "function cannot take: fill them in, or build a model with missing data."
        )
    if hasattr(value, "dims") and set(value.dims) == set(dims):
        value = value.transpose(*dims)
    return value if hasattr(value, "todense") else as_array(value)


def _check_shape(
    name: str, shape: tuple[int, ...], dims: Dims, lengths: Mapping[str, int]
) -> None:
    for dim, length in zip(dims, shape, strict=False):
        if dim is not None and lengths.get(dim, length) != length:
            raise ValueError(
                f"dimension `{dim}` has length {lengths[dim]}, but `{name}` of shape "
                f"{shape} has {length} along it: pass `{name}` of the same length."
            )


def check_observed(model: pm.Model) -> None:
    """Raise unless observed data have the current lengths of their dimensions.

    Raises:
        ValueError: naming the data with another length.
    """
    for rv in model.observed_RVs:
        value = model.rvs_to_values[rv]
        if isinstance(value, Constant):
            shape = value.data.shape
        elif isinstance(value, SharedVariable):
            shape = value.get_value(borrow=True).shape
        else:
            continue  # an expression, such as that of a minibatch
        dims = model.named_vars_to_dims.get(rv.name) or ()
        for dim, length in zip(dims, shape, strict=False):
            labels = model.coords.get(dim)
            if labels is not None and len(labels) != length:
                raise ValueError(
                    f"the observed data of `{rv.name}` have {length} along `{dim}`, "
                    f"which has {len(labels)} coordinates now. Set observed data of "
                    "that length too (they must be a pm.Data), or ask for predictions "
                    "(predictions=True), which need none."
                )
