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

__all__ = ["ROWS"]

_QUANTILE = "quantile function"
_SCALED = "quantile function, scaled"

ROWS: dict[type[RandomVariable], Row] = {
    # --- continuous
    ptr.NormalRV: Row(continuous.normal, how="normal draw, scaled"),
    ptr.HalfNormalRV: Row(continuous.half_normal, how="absolute normal draw, scaled"),
    ptr.LogNormalRV: Row(continuous.lognormal, how="exponential of a normal draw"),
    ptr.CauchyRV: Row(continuous.cauchy, how=_SCALED),
    ptr.HalfCauchyRV: Row(continuous.half_cauchy, how=_SCALED),
    ptr.GumbelRV: Row(continuous.gumbel, how=_SCALED),
    ptr.LaplaceRV: Row(continuous.laplace, how=_SCALED),
    ptr.LogisticRV: Row(continuous.logistic, how=_SCALED),
    ptr.UniformRV: Row(continuous.uniform, how="uniform draw, scaled"),
    ptr.ExponentialRV: Row(continuous.exponential, how=_SCALED),
    ptr.TruncExponentialRV: Row(continuous.truncexpon, how=_SCALED),
    ptr.ParetoRV: Row(continuous.pareto, how=_SCALED),
    ptr.WeibullRV: Row(continuous.weibull, how=_QUANTILE),
    ptr.TriangularRV: Row(continuous.triangular, how=_QUANTILE),
    ptr.WaldRV: Row(
        continuous.wald, how="root of a quadratic (Michael, Schucany and Haas)"
    ),
    ptr.VonMisesRV: Row(continuous.von_mises, how="rejection (Best and Fisher)"),
    # --- made of gamma draws
    ptr.GammaRV: Row(gamma.gamma, how="rejection (Marsaglia and Tsang)"),
    ptr.InvGammaRV: Row(gamma.invgamma, how="reciprocal of a gamma draw"),
    ptr.GenGammaRV: Row(gamma.gengamma, how="power of a gamma draw"),
    ptr.BetaRV: Row(gamma.beta, how="ratio of gamma draws"),
    ptr.StudentTRV: Row(
        gamma.student_t, how="normal draw over the root of a gamma draw"
    ),
    # --- counts
    ptr.BernoulliRV: Row(
        discrete.bernoulli, cast=False, how="comparison with a uniform draw"
    ),
    ptr.CategoricalRV: Row(
        discrete.categorical,
        cast=False,
        how="largest of the log probabilities plus Gumbel draws (Gumbel-max)",
    ),
    ptr.GeometricRV: Row(discrete.geometric, how="an exponential draw, rounded up"),
    ptr.BinomialRV: Row(
        binomial.binomial,
        how="inversion for means below 10, else rejection (Hörmann's BTRS)",
    ),
    ptr.BetaBinomialRV: Row(
        binomial.beta_binomial,
        how="binomial draw with a beta-distributed probability",
    ),
    ptr.PoissonRV: Row(
        poisson.poisson,
        how="inversion for rates below 10, else rejection (Hörmann's PTRS)",
    ),
    ptr.NegBinomialRV: Row(
        poisson.negative_binomial,
        how="Poisson draw with a gamma-distributed rate",
    ),
    ptr.HyperGeometricRV: Row(
        hypergeometric.hypergeometric,
        how="inversion for means below 10, else a ratio of uniforms (Stadlober's HRUA)",
    ),
    ptr.IntegersRV: Row(
        integers.integers, cast=False, how="multiplication and rejection (Lemire)"
    ),
    # --- vectors
    ptr.MvNormalRV: Row(
        choices.multivariate_normal,
        reads_op=True,
        how="normal draws, times a root of cov",
    ),
    ptr.DirichletRV: Row(
        multivariate.dirichlet, how="gamma draws, normalised in logarithms"
    ),
    ptr.MultinomialRV: Row(
        binomial.multinomial, cast=False, how="binomial draws, category by category"
    ),
    ptr.PermutationRV: Row(
        choices.permutation,
        cast=False,
        reads_op=True,
        static=choices.permutation_static,
        how="order of random sort keys",
    ),
    ptr.ChoiceWithoutReplacement: Row(
        choices.choice_without_replacement,
        cast=False,
        reads_op=True,
        static=choices.choice_static,
        how="order of random sort keys, or of Gumbel draws if weighted (Gumbel top-k)",
    ),
    # --- see jaxlink.rewrites.lower_distributions
    SymbolicDraw: Row(choices.symbolic_draw, reads_op=True, how=_QUANTILE),
}

register(ROWS)
