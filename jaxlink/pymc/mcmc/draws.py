"""A sampler's draws, on the host."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxlink.call.memory import check_memory
from jaxlink.pymc.mcmc.kernels import Shapes
from jaxlink.pymc.shared.arguments import Arrays

__all__ = ["Draws"]

# The dtypes of the stored statistics, whatever precision they were computed in.
_STATS: dict[str, Any] = {
    "diverging": np.bool_,
    "step_size": np.float64,
    "acceptance_rate": np.float64,
    "energy": np.float64,
    "lp": np.float64,
    "tree_depth": np.int64,
    "n_steps": np.int64,
    "reached_max_treedepth": np.bool_,
}


class Draws:
    """Values and statistics of all steps of some chains, added in pieces.

    Arguments:
        shapes: the shapes of the values of one step.
        chains, tune, draws: the number of each; warm-up steps come first.
        skip: the number of initial steps that are not kept.

    Raises:
        MemoryError: they do not fit in the memory of this machine.
    """

    def __init__(
        self,
        shapes: Shapes,
        *,
        chains: int,
        tune: int,
        draws: int,
        skip: int,
    ):
        kept = (chains, tune + draws - skip)
        each = [math.prod(x.shape) * x.dtype.itemsize for x in shapes.values()]
        each += [np.dtype(dtype).itemsize for dtype in _STATS.values()]
        advice = (
            "Ask for fewer draws or fewer var_names, or make several runs, and save "
            "each with idata.to_zarr(path)."
        )
        check_memory(math.prod(kept) * sum(each), advice)
        self._values = {
            name: np.empty((*kept, *value.shape), value.dtype)
            for name, value in shapes.items()
        }
        self._stats = {name: np.empty(kept, dtype) for name, dtype in _STATS.items()}
        self._skip = skip
        self._next = -skip
        self._tune = tune

    @property
    def draws(self) -> int:
        """The number of draws of each chain so far, without the warm-up."""
        return max(self._next - (self._tune - self._skip), 0)

    def add(
        self, values: Mapping[str, np.ndarray], stats: Mapping[str, np.ndarray]
    ) -> None:
        """Add a piece: arrays of shape ``(chains, steps, ...)``.

        If it is interrupted, the piece does not count.
        """
        count = stats["lp"].shape[1]
        skip = min(max(-self._next, 0), count)
        if skip < count:
            place = slice(self._next + skip, self._next + count)
            for name, kept in self._values.items():
                kept[:, place] = values[name][:, skip:]
            for name, kept in self._stats.items():
                kept[:, place] = stats[name][:, skip:]
        self._next += count

    def parts(self) -> tuple[tuple[Arrays, Arrays], tuple[Arrays, Arrays]]:
        """Values and statistics of the warm-up, and of the draws."""
        done, split = max(self._next, 0), self._tune - self._skip

        def part(steps: slice) -> tuple[Arrays, Arrays]:
            return (
                {name: kept[:, steps] for name, kept in self._values.items()},
                {name: kept[:, steps] for name, kept in self._stats.items()},
            )

        return part(slice(0, min(split, done))), part(slice(split, max(split, done)))
