"""Runs over the devices of several processes (`jax.distributed`)."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxlink.pymc.shared.arguments import Arrays

__all__ = ["gather", "is_shared", "key_of_first"]


def is_shared(mesh: Mesh | None) -> bool:
    """Whether devices of other processes belong to a mesh."""
    if mesh is None:
        return False
    processes = {device.process_index for device in mesh.devices.flat}
    return processes != {jax.process_index()}


def key_of_first(key: jax.Array) -> jax.Array:
    """The first process's key, on all. Without a seed, each has drawn its own."""
    words = multihost_utils.broadcast_one_to_all(jax.random.key_data(key))
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def gather(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of all processes, joined along the first axis in the order of the
    processes. Along the second, they are cut to the shortest."""
    names = list(arrays)
    sizes = [arrays[name].shape[:2] for name in names]
    every = np.asarray(multihost_utils.process_allgather(np.array(sizes, np.int32)))
    found = {}
    for i, name in enumerate(names):
        rows, columns = every[:, i, 0], every[:, i, 1].min()
        own = np.ascontiguousarray(arrays[name][:, :columns])
        # As bytes, which JAX does not convert to its own dtypes.
        padded = np.zeros((rows.max(), *own.shape[1:]), own.dtype)
        padded[: len(own)] = own
        flat = padded.reshape(-1).view(np.uint8)
        there: Any = np.asarray(multihost_utils.process_allgather(flat))
        parts = [
            np.ascontiguousarray(part).view(own.dtype).reshape(padded.shape)[:n]
            for part, n in zip(there, rows, strict=True)
        ]
        found[name] = np.concatenate(parts)
    return found
