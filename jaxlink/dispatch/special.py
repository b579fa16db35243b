"""Special functions: two tables for scalar Ops, and rules for symbolic Ops.

Where JAX's own function and its derivatives are right, we use it. Otherwise we use our
own, from `jaxlink.numerics.special`.
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
from jaxlink.numerics.special.bessel import ive, kve
from jaxlink.numerics.special.bessel_j import j0, j1, jv
from jaxlink.numerics.special.beta import betainc, betaincinv
from jaxlink.numerics.special.calculus import smooth
from jaxlink.numerics.special.erfc import erfcx, log_erfc
from jaxlink.numerics.special.gamma import (
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
)
from jaxlink.numerics.special.hyper import hyp2f1
from jaxlink.numerics.special.owens import owens_t
from jaxlink.numerics.special.polygamma import (
    gamma,
    gammaln,
    polygamma,
    psi,
    trigamma,
)
from jaxlink.ops.log_erfc import LogErfc
from jaxlink.values.static import canonical

__all__ = ["OWN", "SPECIAL"]

# Python floats, which take the dtype of the array they are combined with.
LOG_2, LOG_2PI = math.log(2), math.log(2 * math.pi)

Function = Callable[..., Any]


def log1mexp(x: Any) -> Any:
    """log(1 - exp(x)), by whichever formula is exact for x."""
    far = x < -LOG_2
    # Each formula gets a harmless argument where the other is used. Otherwise a nan
    # gradient of the formula not used would make the total gradient nan.
    from_far = jnp.log1p(-jnp.exp(jnp.where(far, x, -1)))
    # 0 - y, not -y, so that the pole is log(+0).
    from_near = jnp.log(0 - jnp.expm1(jnp.where(far, -0.5, x)))
    return jnp.where(far, from_far, from_near)


def _erfcinv(x: Any) -> Any:
    # Not erfinv(1 - x), which rounds small x away.
    return -special.ndtri(x / 2) / math.sqrt(2)


def _erfcinv_by_x(x: Any) -> Any:
    return -math.sqrt(math.pi) / 2 * jnp.exp(erfcinv(x) ** 2)


erfcinv: Callable[..., Any] = smooth(_erfcinv, {0: _erfcinv_by_x})


@jax.custom_jvp
def ndtri_exp(x: Any) -> Any:
    """The normal quantile of exp(x), even where exp(x) underflows."""
    near = x > -2
    middle = jnp.where(near, -special.ndtri(-jnp.expm1(x)), special.ndtri(jnp.exp(x)))
    # In the tail, log ndtr(z) is about -z^2 / 2 - log(-z) - log(2 pi) / 2. That gives a
    # start from which Newton's method converges in a few steps.
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


def _i1_by_x(x: Any) -> Any:
    """I0 - I1 / x. For large x, JAX computes inf - inf."""
    far = jnp.isinf(x)
    y = jnp.where((x == 0) | far, 1, x)
    slope = jnp.exp(abs(y)) * (special.i0e(y) - special.i1e(y) / y)
    return jnp.where(x == 0, 0.5, jnp.where(far, jnp.inf, slope))


i1 = smooth(special.i1, {0: _i1_by_x})
# In JAX 0.11 the slope at zero is 1.
i0 = smooth(special.i0, {0: i1})


SPECIAL: dict[type[ps.ScalarOp], Function] = {
    psm.Sigmoid: jax.nn.sigmoid,
    psm.Softplus: jax.nn.softplus,
    psm.Log1mexp: log1mexp,
    psm.Erf: lax.erf,
    psm.Erfc: lax.erfc,
    psm.Erfcx: erfcx,
    psm.Erfinv: lax.erf_inv,
    psm.Erfcinv: erfcinv,
    psm.NdtriExp: ndtri_exp,
    psm.Gamma: gamma,
    psm.GammaLn: gammaln,
    psm.Psi: psi,
    psm.GammaInc: gammainc,
    psm.GammaIncC: gammaincc,
    psm.I0: i0,
    psm.I1: i1,
}


# Functions that JAX lacks, or has only in part of their domain, or without all
# derivatives.
OWN: dict[type[ps.ScalarOp], Function] = {
    psm.BetaInc: betainc,
    psm.BetaIncInv: betaincinv,
    psm.GammaIncInv: gammaincinv,
    psm.GammaIncCInv: gammainccinv,
    psm.Hyp2F1: hyp2f1,
    psm.Ive: ive,
    psm.J0: j0,
    psm.J1: j1,
    psm.Jv: jv,
    psm.Kve: kve,
    psm.Owens_t: owens_t,
    psm.PolyGamma: polygamma,
    psm.TriGamma: trigamma,
}


@rule(*OWN)
def own(op: ps.ScalarOp, node: Any) -> Function:
    return _of_floats(node, OWN[type(op)])


def _float(x: Any, dtype: str) -> Any:
    return jnp.asarray(x, canonical(dtype))


def _of_floats(node: Any, fn: Function) -> Function:
    """``fn`` with its operands cast to the output's dtype."""
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


def _ratio(x: Any, y: Any) -> Any:
    """x / y, or zero where x is zero, because x log(y) is then zero for any y."""
    zero = x == 0
    return jnp.where(zero, 0, x / jnp.where(zero, 1, y))


_xlogy = smooth(special.xlogy, {0: lambda x, y: jnp.log(y), 1: _ratio})
_xlog1py = smooth(
    special.xlog1py,
    {0: lambda x, y: jnp.log1p(y), 1: lambda x, y: _ratio(x, 1 + y)},
)


@rule(pts.XLogY)
def xlogy(op: pts.XLogY, node: Any) -> Function:
    return _of_floats(node, _xlogy)


@rule(pts.XLog1PY)
def xlog1py(op: pts.XLog1PY, node: Any) -> Function:
    return _of_floats(node, _xlog1py)


@rule(LogErfc)
def log_of_erfc(op: LogErfc, node: Any) -> Callable[..., Any]:
    dtype = node.outputs[0].type.dtype
    return lambda x: log_erfc(jnp.asarray(x, canonical(dtype)))
