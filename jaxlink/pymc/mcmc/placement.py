"""Where chains run: each in a thread of its own, or all in one program.

On a CPU each chain gets a thread, which calls a program of one chain. Chains then use
all cores, none waits for the longest trajectory of the others, and the number of chains
does not change how a draw is rounded. On an accelerator one program steps all chains:
``jax.vmap`` maps it over the chains, and ``jax.shard_map`` over devices. If devices
belong to several processes, each process runs its own chains.
"""

from collections.abc import Callable, Mapping, Sequence
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

from jaxlink.call.memory import budget
from jaxlink.pymc.shared.processes import is_shared

__all__ = ["Placement", "of_this_process", "placements", "steps_per_call"]

# A call of this many steps costs little more than the steps. The number does not depend
# on the number of draws, so one program serves runs of any length.
ENOUGH = 500


@dataclass(frozen=True)
class Placement:
    """Chains that one program steps.

    Attributes:
        chains: the numbers of the chains.
        whole: the sharding of arrays that all these chains share.
        along: the sharding of arrays with an axis of chains; ``None`` for a single
            chain without such an axis.
    """

    chains: slice
    whole: Sharding
    along: Sharding | None = None

    def take(self, tree: Any) -> Any:
        """The part of arrays that belongs to these chains, on their devices."""
        if self.along is None:
            part = jax.tree.map(lambda x: x[self.chains.start], tree)
            return jax.device_put(part, self.whole)
        return jax.device_put(jax.tree.map(lambda x: x[self.chains], tree), self.along)

    def give(self, tree: Any) -> Any:
        """Results on the host, with an axis of chains."""
        tree = jax.device_get(tree)
        return jax.tree.map(lambda x: x[None], tree) if self.along is None else tree

    def mapped(self, one: Callable[..., Any], own: Sequence[bool]) -> Any:
        """A jitted function of these chains.

        Arguments:
            one: a function of one chain.
            own: for each argument, whether each chain has its own.
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
        return jax.jit(fn)


def placements(
    chains: int, mesh: Mesh | None, vectorized: bool | None
) -> list[Placement]:
    """The placements of the chains of a run.

    Arguments:
        chains: how many.
        mesh: devices in a row; ``None``: JAX's default device.
        vectorized: whether all chains share a program; ``None``: unless on CPUs.

    Raises:
        ValueError: chains in one program cannot be spread evenly over the devices.
    """
    devices = list(jnp.zeros(()).devices() if mesh is None else mesh.devices.flat)
    if vectorized is None:
        vectorized = devices[0].platform != "cpu"
    if not vectorized:
        places = [devices[i * len(devices) // chains] for i in range(chains)]
        return [
            Placement(slice(i, i + 1), SingleDeviceSharding(place))
            for i, place in enumerate(places)
        ]
    everywhere = slice(0, chains)
    if mesh is None:
        there = SingleDeviceSharding(devices[0])
        return [Placement(everywhere, there, there)]
    if chains % mesh.size:
        raise _uneven(chains, mesh.size)
    along = PartitionSpec(mesh.axis_names[0])
    return [
        Placement(
            everywhere, NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, along)
        )
    ]


def of_this_process(
    chains: int, mesh: Mesh | None, vectorized: bool | None
) -> tuple[range, Mesh | None]:
    """The chains that run on the devices of this process, and these devices.

    Raises:
        ValueError: there are fewer chains than processes, or chains in one program
            cannot be spread evenly over the devices.
    """
    if mesh is None or not is_shared(mesh):
        return range(chains), mesh
    devices = list(mesh.devices.flat)
    if vectorized and chains % len(devices):
        raise _uneven(chains, len(devices))
    here = jax.process_index()
    owners = [devices[i * len(devices) // chains].process_index for i in range(chains)]
    processes = {device.process_index for device in devices}
    if here not in processes or not processes <= set(owners):
        raise ValueError(
            f"{chains} chains cannot be spread over {len(processes)} processes: use at "
            "least as many, and call this in each process whose devices it gets."
        )
    own = Mesh([d for d in devices if d.process_index == here], mesh.axis_names)
    return range(owners.index(here), owners.index(here) + owners.count(here)), own


def _uneven(chains: int, devices: int) -> ValueError:
    return ValueError(
        f"{chains} chains cannot be spread evenly over {devices} devices: use a "
        f"multiple of {devices} chains, or a sharding with fewer devices."
    )


def steps_per_call(
    batch_size: int | None,
    kept: Mapping[str, jax.ShapeDtypeStruct],
    chains: int,
    mesh: Mesh | None,
) -> int:
    """How many steps of all chains fit on the devices, and are enough for a call."""
    if batch_size is None:
        devices = jnp.zeros(()).devices() if mesh is None else set(mesh.devices.flat)
        each = sum(value.size * value.dtype.itemsize for value in kept.values())
        # One set of draws is computed while another is copied, both with statistics.
        fits = len(devices) * budget(next(iter(devices)).platform)
        batch_size = fits // (2 * (each + 64))
    return max(1, min(batch_size // chains, ENOUGH))
