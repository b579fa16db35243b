"""Chains in lanes: which chains one program steps, and where.

Either each chain is in a lane of its own, which is a thread that calls a program of one
chain. So chains use all cores of a CPU, none waits for the longest trajectory of the
others, and no draw depends, by its rounding, on how many chains there are. Or all are
in a single lane, whose program is mapped over the chains by ``jax.vmap``, and over
devices by ``jax.shard_map``: this fills an accelerator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import (
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

__all__ = ["Lane", "lanes_of"]


@dataclass(frozen=True)
class Lane:
    """Chains that one program steps.

    Attributes:
        chains: which.
        whole: where that lies which all chains of the lane share.
        along: where that lies which has an axis of chains; ``None`` for a single chain
            without such an axis.
    """

    chains: slice
    whole: Sharding
    along: Sharding | None = None

    def take(self, tree: Any) -> Any:
        """The part of arrays with an axis of all chains, on the lane's devices."""
        if self.along is None:
            part = jax.tree.map(lambda x: x[self.chains.start], tree)
            return jax.device_put(part, self.whole)
        return jax.device_put(jax.tree.map(lambda x: x[self.chains], tree), self.along)

    def give(self, tree: Any) -> Any:
        """Results on the host, with an axis of the lane's chains."""
        tree = jax.device_get(tree)
        return jax.tree.map(lambda x: x[None], tree) if self.along is None else tree

    def compile(self, one: Callable[..., Any], own: Sequence[bool], *args: Any) -> Any:
        """The program of the lane.

        Arguments:
            one: a function of one chain.
            own: of each argument, whether each chain has its own.
            args: of the lane, or what they will be like.
        """
        fn = one
        if self.along is not None:
            fn = jax.vmap(one, in_axes=tuple(0 if is_own else None for is_own in own))
        if isinstance(self.along, NamedSharding):
            along, whole = self.along.spec, PartitionSpec()
            fn = jax.shard_map(
                fn,
                mesh=self.along.mesh,
                in_specs=tuple(along if is_own else whole for is_own in own),
                out_specs=along,
                check_vma=False,
            )
        return jax.jit(fn).lower(*args).compile()


def lanes_of(chains: int, mesh: Mesh | None, vectorized: bool | None) -> list[Lane]:
    """The lanes of a run.

    Arguments:
        chains: how many.
        mesh: devices in a row; ``None``: JAX's default device.
        vectorized: whether all chains are in one lane; ``None``: unless on CPUs.

    Raises:
        ValueError: chains in one lane cannot be spread evenly over the devices.
    """
    devices = list(jnp.zeros(()).devices() if mesh is None else mesh.devices.flat)
    if vectorized is None:
        vectorized = devices[0].platform != "cpu"
    if not vectorized:
        places = [devices[i * len(devices) // chains] for i in range(chains)]
        return [
            Lane(slice(i, i + 1), SingleDeviceSharding(place))
            for i, place in enumerate(places)
        ]
    everywhere = slice(0, chains)
    if mesh is None:
        there = SingleDeviceSharding(devices[0])
        return [Lane(everywhere, there, there)]
    if chains % mesh.size:
        raise ValueError(
            f"{chains} chains cannot be spread evenly over {mesh.size} devices: use a "
            f"multiple of {mesh.size} chains, or a sharding with fewer devices."
        )
    along = PartitionSpec(mesh.axis_names[0])
    return [
        Lane(
            everywhere, NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, along)
        )
    ]
