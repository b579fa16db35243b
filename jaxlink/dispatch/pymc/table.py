"""The table of PyMC's distributions: one row for each that has its own class.

Most of PyMC's symbolic distributions need no row, because they are inlined into the
random variables that they consist of. If a distribution's formula fails in a tail,
`jaxlink.rewrites.lower_distributions` turns it into a single random variable. A sampler
from `SYMBOLIC` draws it, or one from `TRUNCATED` if PyMC truncates it.
"""

import pytensor.tensor.random.basic as ptr
from pymc.distributions import continuous as pmc
from pymc.distributions import discrete as pmd
from pymc.distributions import multivariate as pmm
from pymc.distributions.custom import CustomDistRV
from pymc.distributions.simulator import SimulatorRV
from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.random.registry import (
    IMPROPER,
    Row,
    refuse_draws,
    register,
    register_symbolic,
)
from jaxlink.dispatch.registry import Function
from jaxlink.numerics.random import (
    continuous,
    discrete,
    gamma,
    integers,
    multivariate,
    polyagamma,
    truncated,
    truncated_normal,
)

ROWS: dict[type[RandomVariable], Row] = {
    pmc.BetaClippedRV: Row(gamma.beta_clipped, "ratio of gamma draws"),
    pmc.InterpolatedRV: Row(continuous.interpolated, "quantile function"),
    pmc.MoyalRV: Row(gamma.moyal, "logarithm of a gamma draw"),
    pmc.PolyaGammaRV: Row(
        polyagamma.polyagamma,
        "rejection from an inverse Gaussian; for h > 16 a series, off by at most 2e-8",
        differentiable=False,
    ),
    pmc.RiceRV: Row(continuous.rice, "length of a normal vector"),
    pmc.SkewNormalRV: Row(continuous.skew_normal, "weighted normal draws (Azzalini)"),
    pmc.SkewStudentTRV: Row(
        gamma.skew_student_t, "ratio of gamma draws (Jones and Faddy)"
    ),
    pmc.TruncatedNormalRV: Row(truncated_normal.truncated_normal, "quantile function"),
    pmc.WaldRV: Row(continuous.shifted_wald, "as Wald, shifted"),
    pmd.DiscreteUniformRV: Row(
        integers.discrete_uniform,
        "multiplication and rejection (Lemire)",
        cast=False,
        symbols=True,
    ),
    pmm.CARRV: Row(
        multivariate.conditional_autoregression,
        "normal draws, solved with a factor of the precision",
        cast=False,
    ),
    pmm.MatrixNormalRV: Row(
        multivariate.matrix_normal, "normal draws, times both factors"
    ),
    pmm.StickBreakingWeightsRV: Row(
        multivariate.stick_breaking_weights,
        "stick breaking with exponential draws",
        static=(1,),
    ),
}

# Class of a symbolic distribution -> its sampler.
SYMBOLIC: dict[type, Function] = {
    pmc.AsymmetricLaplaceRV: continuous.asymmetric_laplace,
    pmc.KumaraswamyRV: continuous.kumaraswamy,
    pmd.DiscreteWeibullRV: discrete.discrete_weibull,
}

# Class of the distribution that PyMC truncates -> its sampler between the bounds.
TRUNCATED: dict[type, Function] = {
    ptr.ExponentialRV: truncated.exponential,
    ptr.ParetoRV: truncated.pareto,
    ptr.LaplaceRV: truncated.laplace,
    ptr.LogisticRV: truncated.logistic,
    ptr.GumbelRV: truncated.gumbel,
    ptr.HalfNormalRV: truncated.half_normal,
    ptr.LogNormalRV: truncated.log_normal,
    ptr.CauchyRV: truncated.cauchy,
    ptr.GammaRV: truncated.gamma,
    ptr.InvGammaRV: truncated.inverse_gamma,
    ptr.BetaRV: truncated.beta,
    ptr.StudentTRV: truncated.student_t,
    ptr.UniformRV: truncated.uniform,
    ptr.GeometricRV: truncated.geometric,
    pmc.TruncatedNormalRV: truncated.normal,
    pmc.WeibullBetaRV: truncated.weibull,
    pmc.KumaraswamyRV: truncated.kumaraswamy,
    pmc.MoyalRV: truncated.moyal,
    pmc.HalfCauchyRV: truncated.half_cauchy,
    pmc.SkewStudentTRV: truncated.skew_student_t,
}

_PYTHON = (
    "a Python function over NumPy arrays makes its draws. Define it as a graph instead "
    "(`dist=` of pm.CustomDist), register a JAX sampler for its class, or pass "
    "host_callback=True to call Python for each draw"
)

# RandomVariables that cannot have a sampler, and why.
WITHOUT_SAMPLER: dict[type[RandomVariable], str] = {
    pmc.FlatRV: IMPROPER,
    pmc.HalfFlatRV: IMPROPER,
    pmm.ICARRV: IMPROPER,
    CustomDistRV: _PYTHON,
    SimulatorRV: _PYTHON,
}


register(ROWS)
register_symbolic(SYMBOLIC, truncated=False)
register_symbolic(TRUNCATED, truncated=True)
refuse_draws(WITHOUT_SAMPLER)
