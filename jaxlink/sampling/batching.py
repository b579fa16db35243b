"""`vmap` of a draw: each lane draws its own, also if no parameter is mapped."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.interpreters import batching

from jaxlink.sampling import jax_internals
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.site import LaneKeys, Site


def _batch(
    axis_data: Any, operands: Sequence[Any], dims: Sequence[Any], *, site: Site
) -> tuple[list[Any], list[Any]]:
    ref, key, parameters = site.split(operands)
    _, key_dims, dims = site.split(dims)
    mapped = [d is not None for d in dims]
    moved = [_to_front(x, d) for x, d in zip(parameters, dims, strict=True)]
    key = [_to_front(x, d) for x, d in zip(key, key_dims, strict=True)]
    # A draw that is made again is made in the lanes in which it was made.
    made_once = site.key == "reuses" and key_dims == [None]
    how: LaneKeys = "shared" if made_once else "common"
    if site.key == "stream" and key_dims != [None]:
        how = "own"  # a loop that vmap mapped may have stopped for some lanes
    once = made_once or jax_internals.is_jacobian(axis_data)
    if once and how != "own" and not any(mapped):
        outs = sample_p.bind(*ref, *key, *parameters, site=site)
        return outs, [None] * len(outs)
    site = site.with_lane(axis_data.size, mapped, how)
    outs = sample_p.bind(*ref, *key, *moved, site=site)
    return outs, [0] * len(outs)


def _to_front(x: Any, axis: int | None) -> Any:
    return x if axis is None else jnp.moveaxis(x, axis, 0)


batching.fancy_primitive_batchers[sample_p] = _batch
