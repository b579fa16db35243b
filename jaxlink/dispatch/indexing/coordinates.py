"""Flat indices and coordinates, and `Choose`, which reads from several arrays.

With ``mode="raise"``, indices out of bounds are handled as in
`jaxlink.dispatch.indexing.subtensor`: the plain function returns the least integer
(`Choose` returns nan) in their place.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from pytensor.tensor.basic import Choose
from pytensor.tensor.extra_ops import RavelMultiIndex, UnravelIndex

from jaxlink.dispatch.indexing.subtensor import nothing
from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.runtime_checks import check
from jaxlink.values.static import canonical


def _integers(x: Any) -> Any:
    return jnp.asarray(x).astype(canonical("int64"))


def _checked(values: Sequence[Any], inside: Any, message: str) -> list[Any]:
    """``values`` where they are ``inside``."""
    check(lambda: jnp.all(inside), f"ValueError: {message}")
    return [jnp.where(inside, value, nothing(value.dtype)) for value in values]


@rule(UnravelIndex)
def unravel_index(op: UnravelIndex, node: Any) -> Function:
    n_dims = len(node.outputs)

    def run(flat: Any, dims: Any) -> Any:
        flat, dims = _integers(flat), _integers(dims)
        inside = (flat >= 0) & (flat < jnp.prod(dims))
        rest, coordinates = flat, []
        # From the dimension that varies fastest to the one that varies slowest.
        for k in reversed(range(n_dims)) if op.order == "C" else range(n_dims):
            coordinates.append(rest % dims[k])
            rest = rest // dims[k]
        coordinates = coordinates[::-1] if op.order == "C" else coordinates
        message = "an index of unravel_index is out of bounds for its shape"
        return tuple(_checked(coordinates, inside, message))

    return run


@rule(RavelMultiIndex)
def ravel_multi_index(op: RavelMultiIndex, node: Any) -> Function:
    def run(*operands: Any) -> Any:
        *index, dims = map(_integers, operands)
        flat, inside = jnp.zeros((), dims.dtype), jnp.asarray(True)
        places = range(len(index))
        for k in places if op.order == "C" else reversed(places):
            i, n = index[k], dims[k]
            if op.mode == "wrap":
                i = i % n
            elif op.mode == "clip":
                i = jnp.clip(i, 0, n - 1)
            else:
                inside = inside & (i >= 0) & (i < n)
            flat = flat * n + i
        if op.mode != "raise":
            return flat
        message = "an index of ravel_multi_index is out of bounds"
        return _checked([flat], inside, message)[0]

    return run


@rule(Choose)
def choose(op: Choose, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(which: Any, choices: Any) -> Any:
        which = _integers(which)
        choices = [jnp.asarray(c).astype(canonical(dtype)) for c in choices]
        shape = jnp.broadcast_shapes(which.shape, *(c.shape for c in choices))
        if len(shape) != node.outputs[0].type.ndim:
            raise ValueError(
                f"{op} broadcasts to shape {shape}, but its output has "
                f"{node.outputs[0].type.ndim} dimensions."
            )
        n = len(choices)
        place = which % n if op.mode == "wrap" else jnp.clip(which, 0, n - 1)
        stacked = jnp.stack([jnp.broadcast_to(c, shape) for c in choices])
        place, which = (jnp.broadcast_to(i, shape) for i in (place, which))
        chosen = jnp.take_along_axis(stacked, place[None], axis=0, mode="clip")[0]
        if op.mode != "raise":
            return chosen
        message = f"an index of choose is out of bounds for its {n} arrays"
        return _checked([chosen], (which >= 0) & (which < n), message)[0]

    return run
