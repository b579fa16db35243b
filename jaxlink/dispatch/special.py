"""Special functions: tables for scalar Ops and for symbolic Ops.

Where JAX's own function and its derivatives are right, we use it. Otherwise we use our
own, from `jaxlink.numerics.special`.
"""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import pytensor.scalar as ps
from jax import lax
from jax.scipy import special
from pytensor.graph.op import Op
from pytensor.scalar import math as psm
from pytensor.tensor import special as pts

from jaxlink.dispatch.registry import Function, rule
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
from jaxlink.numerics.special.polygamma import gamma, gammaln, polygamma, psi, trigamma
from jaxlink.ops.log_erfc import LogErfc
from jaxlink.values.static import canonical

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

# Symbolic Ops, as functions of their operands alone.
SYMBOLIC: dict[type[Op], Function] = {
    pts.LogAddExp: lambda *xs: reduce(jnp.logaddexp, xs),
    pts.XLogY: xlogy,
    pts.XLog1PY: xlog1py,
}

# Symbolic Ops that work along an axis.
ALONG_AXIS: dict[type[Op], Function] = {
    pts.Softmax: jax.nn.softmax,
    pts.LogSoftmax: jax.nn.log_softmax,
    pts.LogSumExp: special.logsumexp,
}

_FUNCTIONS: dict[type[Op], Function] = {**OWN, **SYMBOLIC, LogErfc: log_erfc}


@rule(*_FUNCTIONS)
def function(op: Op, node: Any) -> Function:
    return _of_floats(node, _FUNCTIONS[type(op)])


@rule(*ALONG_AXIS)
def along_axis(op: Any, node: Any) -> Function:
    return _of_floats(node, partial(ALONG_AXIS[type(op)], axis=op.axis))


def _of_floats(node: Any, fn: Function) -> Function:
    """``fn`` with its operands cast to the output's dtype."""
    dtype = node.outputs[0].type.dtype
    return lambda *args: fn(*(jnp.asarray(x, canonical(dtype)) for x in args))
