"""Values of variables at many samples, such as a posterior, read in parts.

Samples form a grid of dimensions, such as chains and draws. The last dimension varies
slowest: the first draw of all chains comes first, then the second draw of all chains,
and so on. So a run that stops early has finished the first draws of all chains. Such a
slice of the grid, one draw of all chains, is called a column.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jaxlink.pymc.shared.arguments import check_count

__all__ = ["Samples", "draw_labels", "fold_in_data", "grid_indices"]


@dataclass(frozen=True)
class Samples:
    """A grid of samples.

    Attributes:
        coords: the labels along each sample dimension, in the order of the dimensions.
            A ``range`` from 0 becomes an array only where it is needed.
        values: arrays of shape ``(*shape, ...)`` by name. They may be loaded lazily: a
            slice goes through ``np.asarray``.
        dtypes: the dtypes to which the values are cast.
    """

    coords: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(labels) for labels in self.coords.values())

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def column_size(self) -> int:
        """How many samples a column has."""
        return math.prod(self.shape[:-1])

    def part(self, first: int, last: int) -> "Samples":
        """The columns from ``first`` up to but excluding ``last``."""
        index = (*[slice(None)] * (len(self.shape) - 1), slice(first, last))
        *_, (along, labels) = self.coords.items()
        coords = {**self.coords, along: labels[first:last]}
        return Samples(
            {
                dim: np.asarray(labels) if isinstance(labels, range) else labels
                for dim, labels in coords.items()
            },
            {name: np.asarray(value[index]) for name, value in self.values.items()},
            self.dtypes,
        )

    def take(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The values at consecutive samples, of shape ``(stop - start, ...)``."""
        first, last = start // self.column_size, -(-stop // self.column_size)
        index = grid_indices(self.shape, start, stop, first)
        return {
            name: _cast(name, value[index], self.dtypes.get(name))
            for name, value in self.part(first, last).values.items()
        }

    def ids(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """What to fold into the keys of consecutive samples: see `fold_in_data`."""
        index = grid_indices(self.shape, start, stop)
        return tuple(
            i.astype(np.uint32) if ids is None else ids[i]
            for ids, i in zip(self._ids, index, strict=True)
        )

    @cached_property
    def _ids(self) -> list[np.ndarray | None]:
        """For each dimension; ``None`` stands for 0, 1, 2, ..."""
        return [
            None if isinstance(labels, range) else fold_in_data(labels)
            for labels in self.coords.values()
        ]


def draw_labels(draws: Any) -> range:
    """The labels of ``draws`` draws.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is less than 1, or larger than the number of keys.
    """
    draws = check_count(draws, "draws", 1)
    if draws > 2**32:
        raise ValueError(
            f"draws is {draws:,}, but a run has keys for at most 2**32 = {2**32:,} "
            "draws. Make several runs, each with its own key, and write each to disk "
            "with store=PATH."
        )
    return range(draws)


def grid_indices(
    shape: tuple[int, ...], start: int, stop: int, first: int = 0
) -> tuple[np.ndarray, ...]:
    """The indices of the samples from ``start`` to before ``stop``, in a grid without
    the columns before ``first``."""
    *others, columns = shape
    numbers = np.arange(start, stop) - first * math.prod(others)
    column, *rest = np.unravel_index(numbers, (columns, *others))
    return (*rest, column)


def fold_in_data(labels: Any) -> np.ndarray:
    """A number for each label of a sample dimension, to fold into a key.

    It is the label itself if all labels are distinct integers in [0, 2**32), otherwise
    the index. So a sample keeps its number if samples are reordered or dropped.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind in "iu" and labels.size:
        in_range = labels.min() >= 0 and labels.max() < 2**32
        if in_range and len(np.unique(labels)) == len(labels):
            return labels.astype(np.uint32)
    return np.arange(len(labels), dtype=np.uint32)


def _cast(name: str, value: np.ndarray, dtype: Any) -> np.ndarray:
    if dtype is None or value.dtype == dtype:
        return value
    if value.dtype.kind == "f" and np.dtype(dtype).kind in "iub":
        is_finite = np.isfinite(value).all()
        if not (is_finite and np.array_equal(value.astype(dtype), value)):
            raise ValueError(
                f"`{name}` has dtype {dtype} in the model, but some of its values in "
                "the trace are not integers."
            )
    return value.astype(dtype)
