"""Results on disk: a Zarr store that grows by blocks of draws, through xarray."""

import os
from typing import Any, Literal

import jax
import xarray
from jax.experimental import multihost_utils
from xarray import Dataset, DataTree

from jaxlink.optional import load

__all__ = ["ZarrStore"]

# A block is one Zarr chunk of each variable. It stays in memory until it is written.
BLOCK_BYTES = 32 * 2**20


class ZarrStore:
    """A tree of datasets on disk, some of which grow along one dimension.

    Arguments:
        store: a path, a URL or a Zarr store.
        mode: as in xarray: "w-" refuses an existing store, "w" replaces it.
        shared: whether several processes have the same store, and the same trees. The
            first one writes.

    Raises:
        ImportError: zarr is not installed.
        FileExistsError: the store exists.
        ValueError: the mode is unknown.
    """

    def __init__(
        self, store: Any, mode: Literal["w-", "w"] = "w-", *, shared: bool = False
    ):
        zarr = load("zarr", "store=")
        if mode not in ("w-", "w"):
            raise ValueError(f'store_mode must be "w-" or "w", not {mode!r}.')
        self._store = os.fspath(store) if isinstance(store, os.PathLike) else store
        if mode == "w-" and self._exists(zarr):
            raise FileExistsError(
                f"{store} exists already. Remove it, give another store, or pass "
                'store_mode="w" to replace it.'
            )
        self._shared = shared
        self._writes = not shared or jax.process_index() == 0
        self._along = ""
        self._variables: dict[str, list[str]] = {}

    def _exists(self, zarr: Any) -> bool:
        if isinstance(self._store, str) and "://" not in self._store:
            return os.path.exists(self._store)
        try:
            zarr.open_group(self._store, mode="r")
        except FileNotFoundError:
            return False
        return True

    def create(self, tree: DataTree, along: str, width: int) -> None:
        """Write a tree without draws, so that errors of writing come early.

        Arguments:
            tree: one level of groups, with no entries along the dimension that grows.
            along: this dimension.
            width: how many of its entries a Zarr chunk has.
        """
        import zarr

        self._wait("checked")  # whether the store exists
        self._along = along
        if self._writes:
            zarr.open_group(self._store, mode="w")
        for name, group in tree.children.items():
            dataset = group.to_dataset()
            self._variables[name] = [str(n) for n in dataset.data_vars]
            if not self._writes:
                continue
            sizes = {**dataset.sizes, along: width}
            encoding = {
                n: {"chunks": tuple(max(1, sizes[dim]) for dim in variable.dims)}
                for n, variable in dataset.variables.items()
                if along in variable.dims
            }
            # Zarr's third format has no consolidated metadata yet.
            dataset.to_zarr(
                self._store, group=name, mode="a", encoding=encoding, consolidated=False
            )

    def append(self, tree: DataTree) -> None:
        """Write the next block of all groups that grow."""
        if not self._writes:
            return
        for name, group in tree.children.items():
            dataset = group.to_dataset()
            grown = [n for n, v in dataset.variables.items() if self._along in v.dims]
            if grown:
                Dataset(
                    {n: dataset[n].variable for n in grown}, attrs=dataset.attrs
                ).to_zarr(
                    self._store,
                    group=name,
                    append_dim=self._along,
                    consolidated=False,
                )

    def open(self) -> DataTree:
        """The tree, whose arrays load on demand."""
        self._wait("written")
        tree = xarray.open_datatree(
            self._store, engine="zarr", chunks=None, consolidated=False
        )
        # Zarr lists groups and arrays in any order.
        return DataTree.from_dict(
            {
                name: tree[name].to_dataset()[variables]
                for name, variables in self._variables.items()
            }
        )

    def _wait(self, what: str) -> None:
        """Wait until all processes have done something."""
        if self._shared:
            multihost_utils.sync_global_devices(f"jaxlink store {what}")
