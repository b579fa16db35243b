"""Arrays as they travel to another process, or lie on a disk: NumPy's, and keys with
the name of their implementation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlink.values.streams import is_typed_key

__all__ = ["HostKeys", "from_host", "to_host"]


@dataclass(frozen=True)
class HostKeys:
    """Typed keys.

    Attributes:
        impl: the name of their implementation.
        words: their words, along the last axis.
    """

    impl: str
    words: np.ndarray


def to_host(x: Any) -> np.ndarray | HostKeys:
    if is_typed_key(x):
        words = np.asarray(jax.random.key_data(x))
        return HostKeys(str(jax.random.key_impl(x)), words)
    return np.asarray(x)


def from_host(x: Any) -> Any:
    if isinstance(x, HostKeys):
        return jax.random.wrap_key_data(jnp.asarray(x.words), impl=x.impl)
    return x
