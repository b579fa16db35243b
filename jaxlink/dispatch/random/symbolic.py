"""PyMC's symbolic distributions, where their graph is not the last word.

They are OpFromGraphs that make a draw of other draws, and are inlined. Two things have
to be said before (`jaxlink.rewrites.symbolic` does): that a draw has no derivative with
respect to some input, which JAX could not know, and that a formula of PyMC's gives
draws outside of the support, or loses the digits of a tail, in which case the
distribution is drawn as one random variable by a sampler from here.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from pytensor.compile.ops import ViewOp
from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.gradients import undifferentiable
from jaxlink.dispatch.random.primitives import standard_exponential, tail_uniform
from jaxlink.dispatch.random.rows import no_derivative, sampler
from jaxlink.dispatch.random.truncated import TRUNCATED
from jaxlink.dispatch.registry import rule
from jaxlink.errors import ArgumentError

__all__ = ["SAMPLERS", "SymbolicDraw", "WithoutDerivative"]

Shape = tuple[int, ...]


class WithoutDerivative(ViewOp):
    """An input of a distribution, with respect to which its draws have none."""

    __props__ = ("name", "of")

    def __init__(self, name: str, of: str):
        self.name, self.of = name, of


@rule(WithoutDerivative)
def without_derivative(op: WithoutDerivative, node: Any) -> Callable[..., Any]:
    del node
    return undifferentiable(jnp.asarray, ArgumentError, no_derivative(op.name, op.of))


class SymbolicDraw(RandomVariable):
    """A symbolic distribution as one random variable.

    ``base`` is the key of its sampler: that of `SAMPLERS`, or of `TRUNCATED`.
    """

    __props__ = (*RandomVariable.__props__, "base", "truncated")
    dtype = "floatX"

    def __init__(
        self, name: str, base: Any, truncated: bool, n_parameters: int, dtype: str
    ):
        self.base, self.truncated = base, truncated
        signature = ",".join(["()"] * n_parameters) + "->()"
        super().__init__(name=name, signature=signature, dtype=dtype, inplace=False)


@sampler(SymbolicDraw, reads_op=True, how="quantile function")
def symbolic_draw(op: SymbolicDraw) -> Callable[..., Array]:
    return (TRUNCATED if op.truncated else SAMPLERS)[op.base]


def asymmetric_laplace(
    key: Array, shape: Shape, dtype: Any, b: Array, kappa: Array, mu: Array
) -> Array:
    # P(X <= mu) = kappa**2 / (1 + kappa**2), exponential on either side. (PyMC's is
    # infinite at u = 0.)
    upper, tail = tail_uniform(key, shape, dtype)
    below, above = jnp.where(upper, 1 - tail, tail), jnp.where(upper, tail, 1 - tail)
    rest = 1 / (1 + kappa**2)
    peak = kappa**2 * rest
    left = kappa * jnp.log(jnp.minimum(below / peak, 1))
    right = -jnp.log(jnp.minimum(above / rest, 1)) / kappa
    x = mu + jnp.where(below <= peak, left, right) / b
    return jnp.where((b > 0) & (kappa > 0) & (kappa < jnp.inf), x, jnp.nan)


def kumaraswamy(key: Array, shape: Shape, dtype: Any, a: Array, b: Array) -> Array:
    # 1 - X**a is U**(1 / b). (PyMC subtracts that from 1, and gets 0 too often.)
    e = standard_exponential(key, shape, dtype)
    x = jnp.exp(jnp.log(-jnp.expm1(-e / b)) / a)
    return jnp.where((a > 0) & (b > 0), x, jnp.nan)


def discrete_weibull(
    key: Array, shape: Shape, dtype: Any, q: Array, beta: Array
) -> Array:
    # P(X >= k) = q**(k**beta): the whole part of a Weibull variable. (PyMC's is -1 at
    # u = 0.)
    largest = np.iinfo(dtype).max // 2
    e = standard_exponential(key, shape, q.dtype)
    x = jnp.floor((e / -jnp.log(q)) ** (1 / beta))
    valid = (q > 0) & (q < 1) & (beta > 0)
    return jnp.where(valid, jnp.minimum(x, largest), -1)


_CONTINUOUS = "pymc.distributions.continuous."

# Class of a symbolic distribution -> its sampler.
SAMPLERS: dict[str, Callable[..., Array]] = {
    _CONTINUOUS + "AsymmetricLaplaceRV": asymmetric_laplace,
    _CONTINUOUS + "KumaraswamyRV": kumaraswamy,
    "pymc.distributions.discrete.DiscreteWeibullRV": discrete_weibull,
}
