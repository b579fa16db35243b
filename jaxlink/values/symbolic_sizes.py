"""Symbolic sizes, from ``jax.export`` with ``symbolic_shape("n")``.

A symbolic size is static, but has no number: it is one of JAX's Python objects, in an
object array. Sizes computed from sizes are computed on these objects. Other values
computed from sizes, such as a mean's divisor, are JAX arrays.
"""

from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim


def as_sizes(lengths: Any) -> np.ndarray:
    """A shape, or one length, as an array: int64, or objects if it contains symbols."""
    array = np.asarray(lengths, object)
    has_symbols = any(map(is_symbolic_dim, array.flat))
    return array if has_symbols else np.asarray(lengths, "int64")


def as_length(length: Any) -> Any:
    """A length as an int or a symbol."""
    item = np.asarray(length).item()
    return item if is_symbolic_dim(item) else int(item)


def is_symbolic(value: Any) -> TypeGuard[np.ndarray]:
    """Whether a static value contains symbols."""
    return isinstance(value, np.ndarray) and value.dtype == object


def to_values(sizes: np.ndarray, dtype: Any) -> jax.Array:
    """The values of symbolic sizes, as a JAX array."""
    values = [jnp.asarray(size, dtype) for size in sizes.flat]
    return jnp.stack(values).reshape(sizes.shape) if sizes.ndim else values[0]
