"""`FillUnselected`, which replaces ``x[mask]`` if the mask is traced.

See `jaxlink.rewrites.masks`. The array keeps its full length. The slices that the mask
does not select are overwritten with the first selected slice, whose value occurs
anyway, or with 1 if none is selected. So functions of the array and their derivatives
stay harmless there.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxlink.dispatch.registry import Function, rule
from jaxlink.ops.fill_unselected import FillUnselected, fill_unselected


@rule(FillUnselected, lazy=True)
def fill(op: FillUnselected, node: Any) -> Function:
    def take_one(x: Any, i: Any, axis: int) -> Any:
        return lax.stop_gradient(lax.dynamic_index_in_dim(x, i, axis))

    return lambda x, mask: fill_unselected(
        jnp, take_one, jnp.asarray(x), jnp.asarray(mask), op.axis
    )
