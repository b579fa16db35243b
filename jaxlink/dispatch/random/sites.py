"""Random variables as draws of a program that has no key."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.dispatch.registry import Function
from jaxlink.sampling.primitive import sample
from jaxlink.sampling.sampler import DrawFunction
from jaxlink.values.static import StaticValue, is_static

__all__ = ["draw_at_site", "site_sampler", "split_static"]


def site_sampler(op: Any, draw: Function) -> DrawFunction:
    """The sampler of a random variable, of which some parameters may be static.

    Arguments:
        op: the random variable.
        draw: ``(key, shape, dtype, *parameters) -> draw``.
    """

    def fn(key: Any, *dynamic: Any, shape: Any, dtype: Any, static: Any) -> Any:
        parameters = list(dynamic)
        for i, value in static:
            parameters.insert(i, value.value)
        return jnp.asarray(draw(key, shape, dtype, *parameters), dtype)

    return DrawFunction(str(op.name), fn, origin=op)


def draw_at_site(
    sampler: DrawFunction,
    shape: tuple[int, ...] | None,
    dtype: np.dtype,
    parameters: Sequence[Any],
    name: str | None,
    stream_key: jax.Array | None = None,
) -> Any:
    """Draw from a `site_sampler`. Static parameters stay static, so that the draw has
    the bits that it has with a key."""
    dynamic, static = split_static(parameters)
    options = {"shape": shape, "dtype": dtype, "static": static}
    return sample(sampler, dynamic, options, name, stream_key)


def split_static(
    parameters: Sequence[Any],
) -> tuple[tuple[Any, ...], tuple[tuple[int, StaticValue], ...]]:
    """The operands of a `site_sampler`, and its static parameters by position."""
    known = [(i, x) for i, x in enumerate(parameters) if is_static(x)]
    static = tuple((i, StaticValue(np.asarray(x))) for i, x in known)
    return tuple(x for x in parameters if not is_static(x)), static
