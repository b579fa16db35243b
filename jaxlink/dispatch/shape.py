"""Shapes: reading them, checking them, changing them."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.type_other import NoneTypeT

from jaxlink.dispatch.registry import Function, rule
from jaxlink.values.symbolic_sizes import as_length, as_sizes
from jaxlink.values.types import name_of


@rule(Shape, known=True)
def shape(op: Shape, node: Any) -> Function:
    return lambda x: as_sizes(np.shape(x))


@rule(Shape_i, known=True)
def shape_i(op: Shape_i, node: Any) -> Function:
    return lambda x: as_sizes(np.shape(x)[op.i])


def _given_lengths(op: SpecifyShape, node: Any) -> list[int]:
    return [
        i
        for i, var in enumerate(node.inputs[1:], start=1)
        if not isinstance(var.type, NoneTypeT)
    ]


@rule(SpecifyShape, static=_given_lengths)
def specify_shape(op: SpecifyShape, node: Any) -> Function:
    def run(x: Any, *lengths: Any) -> Any:
        expected = tuple(None if n is None else as_length(n) for n in lengths)
        if any(n not in (None, m) for n, m in zip(expected, x.shape, strict=True)):
            # PyTensor raises this class too.
            raise AssertionError(
                f"SpecifyShape: {node.inputs[0]} has shape {x.shape}, "
                f"expected {expected}."
            )
        return x

    return run


@rule(Reshape, static=(1,))
def reshape(op: Reshape, node: Any) -> Function:
    def run(x: Any, to: Any) -> Any:
        shape = tuple(map(as_length, to))
        known = math.prod(n for n in shape if n != -1)
        fits = known == x.size if -1 not in shape else known and x.size % known == 0
        below = any(n < -1 for n in shape if isinstance(n, int))
        if not fits or shape.count(-1) > 1 or below:
            raise ValueError(
                f"cannot reshape {name_of(node.inputs[0])} of shape {x.shape} to "
                f"{shape}."
            )
        return jnp.reshape(x, shape)

    return run


@rule(JoinDims)
def join_dims(op: JoinDims, node: Any) -> Function:
    start, stop = op.start_axis, op.start_axis + op.n_axes

    def run(x: Any) -> Any:
        length = math.prod(x.shape[start:stop])
        return jnp.reshape(x, (*x.shape[:start], length, *x.shape[stop:]))

    return run


@rule(SplitDims, static=(1,))
def split_dims(op: SplitDims, node: Any) -> Function:
    def run(x: Any, lengths: Any) -> Any:
        new = tuple(map(as_length, lengths))
        return jnp.reshape(x, (*x.shape[: op.axis], *new, *x.shape[op.axis + 1 :]))

    return run


@rule(DimShuffle)
def dimshuffle(op: DimShuffle, node: Any) -> Function:
    kept = [i for i in op.new_order if i != "x"]
    dropped = sorted(set(range(op.input_ndim)) - set(kept))
    order = [sorted(kept).index(i) for i in kept]
    new = [i for i, source in enumerate(op.new_order) if source == "x"]

    def run(x: Any) -> Any:
        # lax.squeeze raises if a dropped dimension is not 1.
        return lax.expand_dims(lax.transpose(lax.squeeze(x, dropped), order), new)

    return run
