"""Special functions: two tables for scalar Ops, and rules for symbolic Ops.

Where JAX's own function and its derivatives are right, we use it. Otherwise we use our
own, from `jaxlink.numerics.special`.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import pytensor.scalar as ps
from jax import lax
from jax.scipy import special
from pytensor.scalar import math as psm
from pytensor.tensor import special as pts

from jaxlink.dispatch.registry import rule
from jaxlink.numerics.special.bessel import ive, kve
from jaxlink.numerics.special.bessel_i import i0, i1
from jaxlink.numerics.special.bessel_j import j0, j1, jv
from jaxlink.numerics.special.beta import betainc, betaincinv
from jaxlink.numerics.special.erfc import erfcinv, erfcx, log_erfc
from jaxlink.numerics.special.gamma import (
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
)
from jaxlink.numerics.special.hyper import hyp2f1
from jaxlink.numerics.special.logarithms import log1mexp, ndtri_exp, xlog1py, xlogy
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

Function = Callable[..., Any]


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


@rule(pts.XLogY)
def xlogy_rule(op: pts.XLogY, node: Any) -> Function:
    return _of_floats(node, xlogy)


@rule(pts.XLog1PY)
def xlog1py_rule(op: pts.XLog1PY, node: Any) -> Function:
    return _of_floats(node, xlog1py)


@rule(LogErfc)
def log_of_erfc(op: LogErfc, node: Any) -> Callable[..., Any]:
    dtype = node.outputs[0].type.dtype
    return lambda x: log_erfc(jnp.asarray(x, canonical(dtype)))
