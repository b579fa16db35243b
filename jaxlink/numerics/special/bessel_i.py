"""The modified Bessel functions of order 0 and 1, with the right derivatives."""

from typing import Any

import jax.numpy as jnp
from jax.scipy import special

from jaxlink.numerics.special.calculus import smooth

__all__ = ["i0", "i1"]


def _i1_by_x(x: Any) -> Any:
    """I0 - I1 / x. At infinity, JAX would compute inf - inf."""
    far = jnp.isinf(x)
    y = jnp.where((x == 0) | far, 1, x)
    slope = jnp.exp(abs(y)) * (special.i0e(y) - special.i1e(y) / y)
    return jnp.where(x == 0, 0.5, jnp.where(far, jnp.inf, slope))


i1 = smooth(special.i1, {0: _i1_by_x})
# jax < 0.12: its slope at zero is 1.
i0 = smooth(special.i0, {0: i1})
