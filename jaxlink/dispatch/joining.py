"""Joining, splitting and repeating arrays."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.tensor.basic import Join, Split
from pytensor.tensor.extra_ops import Repeat

from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.static import cast


@rule(Join)
def join(op: Join, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(*xs: Any) -> Any:
        if len({tuple(np.delete(x.shape, op.axis)) for x in xs}) > 1:
            raise ValueError(
                f"{op} cannot join arrays of shapes "
                f"{', '.join(str(x.shape) for x in xs)}: they may differ only in "
                f"dimension {op.axis}."
            )
        return jnp.concatenate([cast(x, dtype) for x in xs], axis=op.axis)

    return run


@rule(Split, static=(1,))
def split(op: Split, node: Any) -> Function:
    def run(x: Any, sizes: Any) -> Any:
        sizes = tuple(int(n) for n in sizes)
        if len(sizes) != op.len_splits or min(sizes, default=0) < 0:
            raise ValueError(
                f"{op} needs {op.len_splits} split sizes of at least 0, not {sizes}."
            )
        if sum(sizes) != x.shape[op.axis]:
            raise ValueError(
                f"{op}: the split sizes {sizes} sum to {sum(sizes)}, but "
                f"{node.inputs[0]} has length {x.shape[op.axis]}."
            )
        return tuple(lax.split(x, sizes, axis=op.axis))

    return run


@rule(Repeat, static=(1,))
def repeat(op: Repeat, node: Any) -> Function:
    def run(x: Any, repeats: Any) -> Any:
        counts = np.broadcast_to(repeats, x.shape[op.axis])
        if (counts < 0).any():
            raise ValueError(
                f"{op} cannot repeat {node.inputs[0]} a negative number of times."
            )
        source = np.repeat(np.arange(x.shape[op.axis]), counts)
        return jnp.take(x, source, axis=op.axis, mode="clip")

    return run
