"""The table of PyTensor's distributions, with one row for each.

A row gives the distribution its sampler, mostly from `jaxlink.numerics.random`. The
rows of PyMC's distributions are in `jaxlink.dispatch.pymc.table`.
"""

import pytensor.tensor.random.basic as ptr
from pytensor.tensor.random.op import RandomVariable

from jaxlink.dispatch.random import choices
from jaxlink.dispatch.random.registry import Row, register
from jaxlink.numerics.random import (
    binomial,
    continuous,
    discrete,
    gamma,
    hypergeometric,
    integers,
    multivariate,
    poisson,
)
from jaxlink.ops.distributions import SymbolicDraw

_QUANTILE = "quantile function"
_SCALED = "quantile function, scaled"

ROWS: dict[type[RandomVariable], Row] = {
    # --- continuous
    ptr.NormalRV: Row(continuous.normal, "normal draw, scaled"),
    ptr.HalfNormalRV: Row(continuous.half_normal, "absolute normal draw, scaled"),
    ptr.LogNormalRV: Row(continuous.lognormal, "exponential of a normal draw"),
    ptr.CauchyRV: Row(continuous.cauchy, _SCALED),
    ptr.HalfCauchyRV: Row(continuous.half_cauchy, _SCALED),
    ptr.GumbelRV: Row(continuous.gumbel, _SCALED),
    ptr.LaplaceRV: Row(continuous.laplace, _SCALED),
    ptr.LogisticRV: Row(continuous.logistic, _SCALED),
    ptr.UniformRV: Row(continuous.uniform, "uniform draw, scaled"),
    ptr.ExponentialRV: Row(continuous.exponential, _SCALED),
    ptr.TruncExponentialRV: Row(continuous.truncexpon, _SCALED),
    ptr.ParetoRV: Row(continuous.pareto, _SCALED),
    ptr.WeibullRV: Row(continuous.weibull, _QUANTILE),
    ptr.TriangularRV: Row(continuous.triangular, _QUANTILE),
    ptr.WaldRV: Row(
        continuous.wald, "root of a quadratic (Michael, Schucany and Haas)"
    ),
    ptr.VonMisesRV: Row(continuous.von_mises, "rejection (Best and Fisher)"),
    # --- made of gamma draws
    ptr.GammaRV: Row(gamma.gamma, "rejection (Marsaglia and Tsang)"),
    ptr.InvGammaRV: Row(gamma.invgamma, "reciprocal of a gamma draw"),
    ptr.GenGammaRV: Row(gamma.gengamma, "power of a gamma draw"),
    ptr.BetaRV: Row(gamma.beta, "ratio of gamma draws"),
    ptr.StudentTRV: Row(gamma.student_t, "normal draw over the root of a gamma draw"),
    # --- counts
    ptr.BernoulliRV: Row(
        discrete.bernoulli, "comparison with a uniform draw", cast=False
    ),
    ptr.CategoricalRV: Row(
        discrete.categorical,
        "search in the running sums; in 32 bits, Gumbel-max",
        cast=False,
    ),
    ptr.GeometricRV: Row(discrete.geometric, "an exponential draw, rounded up"),
    ptr.BinomialRV: Row(
        binomial.binomial,
        "inversion for means below 10, else rejection (Hörmann's BTRS)",
    ),
    ptr.BetaBinomialRV: Row(
        binomial.beta_binomial, "binomial draw with a beta-distributed probability"
    ),
    ptr.PoissonRV: Row(
        poisson.poisson, "inversion for rates below 10, else rejection (Hörmann's PTRS)"
    ),
    ptr.NegBinomialRV: Row(
        poisson.negative_binomial, "Poisson draw with a gamma-distributed rate"
    ),
    ptr.HyperGeometricRV: Row(
        hypergeometric.hypergeometric,
        "inversion for means below 10, else a ratio of uniforms (Stadlober's HRUA)",
    ),
    ptr.IntegersRV: Row(
        integers.integers,
        "multiplication and rejection (Lemire)",
        cast=False,
        symbols=True,
    ),
    # --- vectors
    ptr.MvNormalRV: Row(
        choices.multivariate_normal, "normal draws, times a root of cov", reads_op=True
    ),
    ptr.DirichletRV: Row(
        multivariate.dirichlet, "gamma draws, normalised in logarithms"
    ),
    ptr.MultinomialRV: Row(
        binomial.multinomial, "binomial draws, category by category", cast=False
    ),
    ptr.PermutationRV: Row(
        choices.permutation,
        "order of random sort keys",
        cast=False,
        reads_op=True,
        static=choices.permutation_static,
    ),
    ptr.ChoiceWithoutReplacement: Row(
        choices.choice_without_replacement,
        "order of random sort keys, or of Gumbel draws if weighted (Gumbel top-k)",
        cast=False,
        reads_op=True,
        static=choices.choice_static,
    ),
    # --- see jaxlink.rewrites.lower_distributions
    SymbolicDraw: Row(choices.symbolic_draw, _QUANTILE, reads_op=True),
}

register(ROWS)
