"""Special functions: the rows of `SPECIAL` are scalar Ops, the rules are symbolic Ops.

JAX's own functions wherever it has them: they come with stable derivatives.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.scalar as ps
from jax import lax
from jax.scipy import special
from pytensor.scalar import math as psm
from pytensor.tensor import special as pts

from jaxlink.dispatch.registry import rule
from jaxlink.errors import UnsupportedOpError
from jaxlink.static import canonical

__all__ = ["SPECIAL"]

# Python floats, which take on the dtype of what they meet.
LOG_2, LOG_2PI = math.log(2), math.log(2 * math.pi)

Function = Callable[..., Any]


def log1mexp(x: Any) -> Any:
    """log(1 - exp(x)), from the side on which it is exact."""
    far = x < -LOG_2
    # Each side gets harmless arguments where the other one is used: a nan gradient of
    # the side not taken would spoil the sum.
    from_far = jnp.log1p(-jnp.exp(jnp.where(far, x, -1)))
    # 0 - y, not -y, so that the pole is approached from the right: log(+0).
    from_near = jnp.log(0 - jnp.expm1(jnp.where(far, -0.5, x)))
    return jnp.where(far, from_far, from_near)


def erfcinv(x: Any) -> Any:
    # Not erfinv(1 - x), which loses small x.
    return -special.ndtri(x / 2) / math.sqrt(2)


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


def gammainc(k: Any, x: Any) -> Any:
    return _with_order_zero(special.gammainc, k, x, lambda e: 1 - e)


def gammaincc(k: Any, x: Any) -> Any:
    return _with_order_zero(special.gammaincc, k, x, lambda e: e)


def _with_order_zero(fn: Function, k: Any, x: Any, near_zero: Function) -> Any:
    """JAX gives nan at some points of order zero. Near it, the upper one is k E1(x)."""
    zero = (k == 0) & (x > 0)
    # E1 is zero from 1000 on, and nan at infinity under JAX 0.11.
    limit = near_zero(k * special.exp1(jnp.where(zero, jnp.minimum(x, 1000), 1)))
    return jnp.where(zero, limit, fn(jnp.where(zero, 1, k), x))


SPECIAL: dict[type[ps.ScalarOp], Function] = {
    psm.Sigmoid: jax.nn.sigmoid,
    psm.Softplus: jax.nn.softplus,
    psm.Log1mexp: log1mexp,
    psm.Erf: lax.erf,
    psm.Erfc: lax.erfc,
    psm.Erfcx: special.erfcx,
    psm.Erfinv: lax.erf_inv,
    psm.Erfcinv: erfcinv,
    psm.NdtriExp: ndtri_exp,
    psm.Gamma: special.gamma,
    psm.GammaLn: special.gammaln,
    psm.Psi: special.digamma,
    psm.GammaInc: gammainc,
    psm.GammaIncC: gammaincc,
    psm.I0: special.i0,
    psm.I1: special.i1,
}


def polygamma(n: Any, x: Any) -> Any:
    # Zero at infinity, where JAX's series gives nan.
    end = x == jnp.inf
    inside = lax.polygamma(*jnp.broadcast_arrays(n, jnp.where(end, 1, x)))
    return jnp.where(end, jnp.where(n == 0, jnp.inf, 0), inside)


@rule(psm.PolyGamma)
def polygamma_rule(op: psm.PolyGamma, node: Any) -> Function:
    return _of_floats(node, polygamma)


@rule(psm.TriGamma)
def trigamma(op: psm.TriGamma, node: Any) -> Function:
    return _of_floats(node, lambda x: polygamma(jnp.ones_like(x), x))


# JAX has exponentially scaled Bessel functions of these orders only.
SCALED_BESSEL = {0: special.i0e, 1: special.i1e}


@rule(psm.Ive)
def ive(op: psm.Ive, node: Any) -> Function:
    dtype = node.outputs[0].type.dtype

    def run(v: Any, x: Any) -> Any:
        known = isinstance(v, np.ndarray | np.generic)
        orders = set(np.unique(v)) if known else set()
        if len(orders) != 1 or not orders <= set(SCALED_BESSEL):
            raise UnsupportedOpError(
                "jaxlink has the Bessel function `ive` for the constant orders 0 and 1."
            )
        return SCALED_BESSEL[orders.pop()](_float(x, dtype))

    return run


def _float(x: Any, dtype: str) -> Any:
    return jnp.asarray(x, canonical(dtype))


def _of_floats(node: Any, fn: Function) -> Function:
    """``fn`` of operands in the dtype of the output."""
    dtype = node.outputs[0].type.dtype
    return lambda *args: fn(*(_float(x, dtype) for x in args))


@rule(pts.Softmax)
def softmax(op: pts.Softmax, node: Any) -> Function:
    return _of_floats(node, lambda x: jax.nn.softmax(x, axis=op.axis))


@rule(pts.LogSoftmax)
def log_softmax(op: pts.LogSoftmax, node: Any) -> Function:
    return _of_floats(node, lambda x: jax.nn.log_softmax(x, axis=op.axis))


@rule(pts.LogSumExp)
def logsumexp(op: pts.LogSumExp, node: Any) -> Function:
    return _of_floats(node, lambda x: special.logsumexp(x, axis=op.axis))


@rule(pts.LogAddExp)
def logaddexp(op: pts.LogAddExp, node: Any) -> Function:
    return _of_floats(node, lambda *xs: reduce(jnp.logaddexp, xs))


@rule(pts.XLogY)
def xlogy(op: pts.XLogY, node: Any) -> Function:
    return _of_floats(node, special.xlogy)


@rule(pts.XLog1PY)
def xlog1py(op: pts.XLog1PY, node: Any) -> Function:
    return _of_floats(node, special.xlog1py)
