"""`vmap` of a draw: each lane draws its own, also if no parameter is mapped."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.interpreters import batching

from jaxlink.sampling import jax_internals
from jaxlink.sampling.primitive import sample_p
from jaxlink.sampling.site import Site


def _batch(
    axis_data: Any, operands: Sequence[Any], dims: Sequence[Any], *, site: Site
) -> tuple[list[Any], list[Any]]:
    ref, words, parameters = site.split(operands)
    _, words_dims, dims = site.split(dims)
    # What belongs to the key is the same in all lanes.
    words = [
        x if d is None else lax.index_in_dim(x, 0, d, keepdims=False)
        for x, d in zip(words, words_dims, strict=True)
    ]
    mapped = [d is not None for d in dims]
    if not any(mapped) and jax_internals.is_jacobian(axis_data):
        outs = sample_p.bind(*ref, *words, *parameters, site=site)
        return outs, [None] * len(outs)
    moved = [
        x if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(parameters, dims, strict=True)
    ]
    site = site.with_lane(axis_data.size, mapped)
    outs = sample_p.bind(*ref, *words, *moved, site=site)
    n_words = int(site.key == "saves")
    return outs, [0] * (len(outs) - n_words) + [None] * n_words


batching.fancy_primitive_batchers[sample_p] = _batch
