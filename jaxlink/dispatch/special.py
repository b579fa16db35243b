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
from jaxlink.numerics.special import (
    bessel,
    bessel_i,
    bessel_j,
    beta,
    erfc,
    gamma,
    hyper,
    logarithms,
    owens,
    polygamma,
)
from jaxlink.ops.log_erfc import LogErfc
from jaxlink.values.static import canonical

SPECIAL: dict[type[ps.ScalarOp], Function] = {
    psm.Sigmoid: jax.nn.sigmoid,
    psm.Softplus: jax.nn.softplus,
    psm.Log1mexp: logarithms.log1mexp,
    psm.Erf: lax.erf,
    psm.Erfc: lax.erfc,
    psm.Erfcx: erfc.erfcx,
    psm.Erfinv: lax.erf_inv,
    psm.Erfcinv: erfc.erfcinv,
    psm.NdtriExp: logarithms.ndtri_exp,
    psm.Gamma: polygamma.gamma,
    psm.GammaLn: polygamma.gammaln,
    psm.Psi: polygamma.psi,
    psm.GammaInc: gamma.gammainc,
    psm.GammaIncC: gamma.gammaincc,
    psm.I0: bessel_i.i0,
    psm.I1: bessel_i.i1,
}

# Functions that JAX lacks, or has only in part of their domain, or without all
# derivatives.
OWN: dict[type[ps.ScalarOp], Function] = {
    psm.BetaInc: beta.betainc,
    psm.BetaIncInv: beta.betaincinv,
    psm.GammaIncInv: gamma.gammaincinv,
    psm.GammaIncCInv: gamma.gammainccinv,
    psm.Hyp2F1: hyper.hyp2f1,
    psm.Ive: bessel.ive,
    psm.J0: bessel_j.j0,
    psm.J1: bessel_j.j1,
    psm.Jv: bessel_j.jv,
    psm.Kve: bessel.kve,
    psm.Owens_t: owens.owens_t,
    psm.PolyGamma: polygamma.polygamma,
    psm.TriGamma: polygamma.trigamma,
}

# Symbolic Ops, as functions of their operands alone.
SYMBOLIC: dict[type[Op], Function] = {
    pts.LogAddExp: lambda *xs: reduce(jnp.logaddexp, xs),
    pts.XLogY: logarithms.xlogy,
    pts.XLog1PY: logarithms.xlog1py,
}

# Symbolic Ops that work along an axis.
ALONG_AXIS: dict[type[Op], Function] = {
    pts.Softmax: jax.nn.softmax,
    pts.LogSoftmax: jax.nn.log_softmax,
    pts.LogSumExp: special.logsumexp,
}

_FUNCTIONS: dict[type[Op], Function] = {**OWN, **SYMBOLIC, LogErfc: erfc.log_erfc}


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
