"""Where finished chains are kept, so that a rerun computes only what is missing."""

import os
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlink.chains.host import HostKeys, from_host, to_host
from jaxlink.errors import ArgumentError
from jaxlink.values.keys import key_to_str

__all__ = ["Kept", "kept_in"]

Leaves = list[Any]

_KEY, _PATHS, _IMPL = "key", "paths", "impl_"


class Kept(ABC):
    """Finished chains, by their number.

    Arguments:
        like: what a chain returns: a pytree of shapes and dtypes.
        place: what the user gave.
    """

    def __init__(self, like: Any, place: Any):
        self.place = place
        pairs = jax.tree.leaves_with_path(like)
        self.paths = [jax.tree_util.keystr(path) for path, _ in pairs]
        self.like: list[Any] = [leaf for _, leaf in pairs]
        self.structure: Any = jax.tree.structure(like)

    @abstractmethod
    def get(self, chain: int, key: Any) -> Leaves | None:
        """The arrays of a finished chain that had this key, or None."""

    @abstractmethod
    def put(self, chain: int, key: Any, leaves: Leaves) -> None:
        """Keep the arrays of a chain."""

    def _checked(self, chain: int, leaves: Leaves) -> Leaves:
        got = [(np.shape(x), x.dtype) for x in leaves]
        wanted = [(x.shape, x.dtype) for x in self.like]
        if got != wanted:
            raise ArgumentError(
                f"chain {chain} that is kept has arrays of shapes and dtypes "
                f"{_list(got)}, but the function returns {_list(wanted)}. It was kept "
                "by another function, or other arguments. Keep these chains elsewhere."
            )
        return leaves


def kept_in(place: Any, like: Any) -> Kept:
    """The chains that are kept in a dict, or in files of a directory."""
    if isinstance(place, MutableMapping):
        return _InDict(like, place)
    if isinstance(place, str | os.PathLike):
        return _InFiles(like, Path(place))
    raise ArgumentError(
        "`kept` must be a dict, or the path of a directory, but is a "
        f"{type(place).__name__}."
    )


class _InDict(Kept):
    """By the key as text, so that another run's chains are not taken for these."""

    def __init__(self, like: Any, chains: MutableMapping[str, Any]):
        super().__init__(like, chains)
        self.chains = chains

    def get(self, chain: int, key: Any) -> Leaves | None:
        text = key_to_str(key)
        if text not in self.chains:
            return None
        leaves = jax.tree.leaves(self.chains[text])
        structure = jax.tree.structure(self.chains[text])
        if structure != self.structure:
            raise ArgumentError(
                f"chain {chain} that is kept is not of the structure that the function "
                f"returns: {structure}, not {self.structure}."
            )
        return self._checked(chain, leaves)

    def put(self, chain: int, key: Any, leaves: Leaves) -> None:
        del chain
        self.chains[key_to_str(key)] = jax.tree.unflatten(self.structure, leaves)


class _InFiles(Kept):
    """A file of NumPy's format for each chain. Nothing in it is executed when read."""

    def __init__(self, like: Any, directory: Path):
        super().__init__(like, directory)
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def _path(self, chain: int) -> Path:
        return self.directory / f"chain-{chain}.npz"

    def get(self, chain: int, key: Any) -> Leaves | None:
        path = self._path(chain)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                arrays = dict(found)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ArgumentError(
                f"{path} cannot be read ({error}). Remove it, and its chain is "
                "computed again."
            ) from error
        had, has = str(arrays.pop(_KEY, "none")), key_to_str(key)
        if had != has:
            raise ArgumentError(
                f"{path} is of a chain with the key {had}, but chain {chain} of this "
                f"run has the key {has}. Keep this run in another directory."
            )
        paths = arrays.pop(_PATHS).tolist()
        if paths != self.paths:
            raise ArgumentError(
                f"{path} has the arrays {', '.join(paths)}, but the function returns "
                f"{', '.join(self.paths)}. Keep this run in another directory."
            )
        impls = {n: str(arrays.pop(n)) for n in list(arrays) if n.startswith(_IMPL)}
        leaves = []
        for i in range(len(arrays)):
            x, impl = arrays[str(i)], impls.get(f"{_IMPL}{i}")
            if impl:
                x = from_host(HostKeys(impl, x))
            elif x.dtype.kind == "V" and i < len(self.like):
                x = x.view(self.like[i].dtype)  # NumPy does not know JAX's short floats
            leaves.append(x)
        return self._checked(chain, leaves)

    def put(self, chain: int, key: Any, leaves: Leaves) -> None:
        arrays: dict[str, Any] = {
            _KEY: np.array(key_to_str(key)),
            _PATHS: np.array(self.paths, np.str_),
        }
        for i, leaf in enumerate(leaves):
            x = to_host(leaf)
            if isinstance(x, HostKeys):
                arrays[f"{_IMPL}{i}"], x = np.array(x.impl), x.words
            arrays[str(i)] = x
        # Whole or not at all, also if this process is killed meanwhile.
        with tempfile.NamedTemporaryFile(
            dir=self.directory, prefix=".chain-", delete=False
        ) as file:
            try:
                np.savez(file, **arrays)
                file.close()
                os.replace(file.name, self._path(chain))
            except BaseException:
                os.unlink(file.name)
                raise


def _list(specs: list[tuple[Any, Any]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in specs) or "nothing"
