"""Sizes that are symbols, as under ``jax.export`` with ``symbolic_shape("n")``.

Such a size is known before the call, but has no number: it is a Python object of JAX's
in an array of objects, and counts as static. What PyTensor computes from sizes alone is
computed on these objects; what is no size, such as a mean's divisor, is a JAX array.
"""

from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim

__all__ = ["as_length", "as_sizes", "is_symbolic", "to_values"]


def as_sizes(lengths: Any) -> np.ndarray:
    """A shape, or one length, as PyTensor has it: int64, or objects if symbols are
    among them."""
    array = np.asarray(lengths, object)
    has_symbols = any(map(is_symbolic_dim, array.flat))
    return array if has_symbols else np.asarray(lengths, "int64")


def as_length(length: Any) -> Any:
    """One length of a shape: an int or a symbol."""
    item = np.asarray(length).item()
    return item if is_symbolic_dim(item) else int(item)


def is_symbolic(value: Any) -> TypeGuard[np.ndarray]:
    """Whether a static value holds symbols."""
    return isinstance(value, np.ndarray) and value.dtype == object


def to_values(sizes: np.ndarray, dtype: Any) -> jax.Array:
    """The numbers that symbols will have, as a JAX array."""
    values = [jnp.asarray(size, dtype) for size in sizes.flat]
    return jnp.stack(values).reshape(sizes.shape) if sizes.ndim else values[0]
