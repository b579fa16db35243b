"""Random variables: a single rule for all of them, on top of the table of samplers.

The rule passes the sampler the stream's key for this draw and the batch shape, and
returns the stream after the draw. By the law of streams, the *t*-th draw along root *i*
uses ``fold_in(fold_in(key, i), t)`` and nothing else.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.graph.basic import Apply
from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.random.registry import (
    IMPROPER,
    Row,
    find_row,
    no_derivative,
    reason_against,
)
from jaxlink.dispatch.random.sites import draw_at_site, site_sampler
from jaxlink.dispatch.registry import Function, rule
from jaxlink.dispatch.scalar.elemwise import check_broadcast
from jaxlink.errors import ArgumentError, UnsupportedOpError
from jaxlink.numerics.derivatives import undifferentiable
from jaxlink.numerics.random.continuous import FromStandard
from jaxlink.ops.distributions import WithoutDerivative
from jaxlink.sampling.unseeded import is_unseeded
from jaxlink.values.static import as_literal, canonical, to_jax
from jaxlink.values.streams import Stream
from jaxlink.values.symbolic_sizes import as_length
from jaxlink.values.types import dotted


def static_operands(op: RandomVariable, node: Apply) -> tuple[int, ...]:
    """The size, and the parameters that determine a shape."""
    row = find_row(op)
    parameters = () if row is None else row.static_parameters(op)
    return (1, *(i + 2 for i in parameters))


@rule(RandomVariable, static=static_operands, symbols=True)
def random_variable(op: RandomVariable, node: Apply) -> Function:
    row = find_row(op)
    if row is None:
        raise no_sampler(op, node)
    out_dtype = node.outputs[1].type.dtype
    draw = keyed(op, row, out_dtype)
    sampler = site_sampler(op, draw)
    name = node.outputs[1].name

    def run(stream: Stream, size: Any, *parameters: Any) -> tuple[Stream, jax.Array]:
        dtype = canonical(out_dtype)
        shape = _batch_shape(op, node, size, parameters)
        if op.ndim_supp == 0:
            parameters = tuple(
                parameter if n else as_literal(parameter)
                for parameter, n in zip(parameters, op.ndims_params, strict=True)
            )
        given = cast_parameters(op, row, dtype, parameters)
        if isinstance(draw, FromStandard) and _is_drawn(stream, shape):
            value = draw.transform(stream.drawn[0], *given)
            return stream.next(), jnp.asarray(value, dtype)
        key = stream.draw_key()
        if is_unseeded(key):
            value = draw_at_site(sampler, shape, dtype, given, name, key)
            return stream.next(), value
        value = draw(key, shape, dtype, *given)
        return stream.next(), jnp.asarray(value, dtype)

    return run


def keyed(op: RandomVariable, row: Row, out_dtype: str) -> Function:
    """``(key, shape, dtype, *parameters) -> draw``, by a row's sampler."""
    draw = row.draw(op) if row.reads_op else row.draw
    if row.differentiable or not out_dtype.startswith("float"):
        return draw

    def guarded(key: Any, shape: Any, dtype: Any, *parameters: Any) -> Any:
        def of_parameters(key: Any, *parameters: Any) -> Any:
            return draw(key, shape, dtype, *parameters)

        message = no_derivative(op.name)
        of_parameters = undifferentiable(of_parameters, ArgumentError, message)
        return of_parameters(key, *parameters)

    return guarded


def _is_drawn(stream: Stream, shape: tuple[int, ...]) -> bool:
    """Whether the standard draw was made ahead."""
    return bool(stream.drawn) and getattr(stream.drawn[0], "shape", None) == shape


def _batch_shape(
    op: RandomVariable, node: Apply, size: Any, parameters: Sequence[Any]
) -> tuple[int, ...]:
    """``size``, or if it is None, the parameters' batch shapes broadcast together."""
    batches = [
        np.shape(parameter)[: np.ndim(parameter) - core_ndim]
        for parameter, core_ndim in zip(parameters, op.ndims_params, strict=True)
    ]
    shown = ", ".join(map(str, batches))
    try:
        implied = jnp.broadcast_shapes(*batches)
    except ValueError:
        raise ValueError(
            f"the parameters of the random variable `{op.name}` have batch shapes "
            f"{shown}, which do not broadcast."
        ) from None
    if size is None:
        check_broadcast(node, batches, node.inputs[2:])
        return implied
    shape = tuple(map(as_length, size))
    try:
        fits = jnp.broadcast_shapes(implied, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"size={shape} of the random variable `{op.name}` does not fit its "
            f"parameters, whose batch shapes are {shown}. Every parameter must "
            "broadcast to the size; leave it out to draw one value for each."
        )
    check_broadcast(node, batches, node.inputs[2:], shape)
    return shape


def cast_parameters(
    op: RandomVariable, row: Row, dtype: np.dtype, parameters: Sequence[Any]
) -> Sequence[Any]:
    """Parameters as a row's sampler takes them, for draws of this dtype.

    Most take floats: of the draw's own dtype, or else the widest, as in PyTensor,
    because float32 has no odd numbers above 2**24.

    A draw that is not a float has no derivative. Its sampler may loop until all draws
    are accepted, and JAX raises if it has to differentiate such a loop in reverse. So
    the gradient is stopped here.
    """
    static = row.static_parameters(op)
    if not row.symbols:
        parameters = [p if i in static else to_jax(p) for i, p in enumerate(parameters)]
    if not row.cast:
        return parameters
    floating = jnp.issubdtype(dtype, jnp.floating)
    wanted = dtype if floating else canonical(np.float64)
    cast = [
        p if i in static else jnp.asarray(p, wanted) for i, p in enumerate(parameters)
    ]
    return cast if floating else jax.lax.stop_gradient(cast)


def no_sampler(op: RandomVariable, node: Apply) -> UnsupportedOpError:
    """The error for a random variable without a sampler."""
    name = node.outputs[1].name
    drawn = f" (`{name}`)" if name else ""
    reason = reason_against(op)
    if reason is None:
        reason = (
            f"there is no sampler for {dotted(type(op))}. Write one with "
            f"@jaxlink.sampler({type(op).__name__})"
        )
        if python_draws(op):
            reason += ", or pass host_callback=True to call its `rng_fn` in Python"
    return UnsupportedOpError(
        f"jaxlink cannot sample from the distribution `{op.name}`{drawn}: {reason}."
    )


def python_draws(op: RandomVariable) -> bool:
    """Whether PyTensor can draw this random variable in Python.

    PyTensor's default ``rng_fn`` calls the method of NumPy's generator that has the
    variable's name.
    """
    has_own = type(op).rng_fn is not RandomVariable.rng_fn
    can_draw = has_own or hasattr(np.random.Generator, str(op.name))
    return can_draw and reason_against(op) != IMPROPER


@rule(WithoutDerivative)
def without_derivative(op: WithoutDerivative, node: Any) -> Function:
    return undifferentiable(jnp.asarray, ArgumentError, no_derivative(op.name, op.of))
