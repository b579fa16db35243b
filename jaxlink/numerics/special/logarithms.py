"""Functions of a logarithm, or with one inside, where the plain formula fails."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special

from jaxlink.numerics.special.calculus import smooth

__all__ = ["log1mexp", "ndtri_exp", "xlog1py", "xlogy"]

# Python floats, which take the dtype of the arrays that they are combined with.
LOG_2, LOG_2PI = math.log(2), math.log(2 * math.pi)


def log1mexp(x: Any) -> Any:
    """log(1 - exp(x)), from the side on which it is exact."""
    far = x < -LOG_2
    # Each side gets harmless arguments where the other one is used: a nan gradient of
    # the side not taken would spoil the sum.
    from_far = jnp.log1p(-jnp.exp(jnp.where(far, x, -1)))
    # 0 - y, not -y, so that the pole is approached from the right: log(+0).
    from_near = jnp.log(0 - jnp.expm1(jnp.where(far, -0.5, x)))
    return jnp.where(far, from_far, from_near)


@jax.custom_jvp
def ndtri_exp(x: Any) -> Any:
    """The normal quantile of exp(x), also where exp(x) underflows."""
    near = x > -2
    middle = jnp.where(near, -special.ndtri(-jnp.expm1(x)), special.ndtri(jnp.exp(x)))
    # log ndtr(z) is about -z^2 / 2 - log(-z) - log(2 pi) / 2 in the tail; Newton's
    # method on it converges in a few steps from there.
    limit = -20
    far = jnp.maximum(jnp.minimum(x, limit), float(np.finfo(x.dtype).min))

    def newton(_: Any, z: Any) -> Any:
        log_cdf = special.log_ndtr(z)
        log_pdf = -z * z / 2 - LOG_2PI / 2
        return z - (log_cdf - far) * jnp.exp(log_cdf - log_pdf)

    start = -jnp.sqrt(-2 * far - jnp.log(-2 * far) - LOG_2PI)
    z = lax.fori_loop(0, 4, newton, start)
    tail = jnp.where(x == -jnp.inf, -jnp.inf, z)
    return jnp.where(x < limit, tail, middle)


@ndtri_exp.defjvp
def _ndtri_exp_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    z = ndtri_exp(x)
    return z, t * jnp.exp(x + z * z / 2) * math.sqrt(2 * math.pi)


def _ratio(x: Any, y: Any) -> Any:
    """x / y, and zero where x is zero: there x log(y) is zero for any y."""
    zero = x == 0
    return jnp.where(zero, 0, x / jnp.where(zero, 1, y))


xlogy = smooth(special.xlogy, {0: lambda x, y: jnp.log(y), 1: _ratio})
xlog1py = smooth(
    special.xlog1py,
    {0: lambda x, y: jnp.log1p(y), 1: lambda x, y: _ratio(x, 1 + y)},
)
