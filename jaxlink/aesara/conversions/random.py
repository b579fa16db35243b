"""Random variables: ``(rng, size, dtype, *parameters)`` in Aesara.

The parameters of a node are those that NumPy's or SciPy's sampler takes, in both
libraries, whatever the function that made it takes: `gamma` has a shape and a scale.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor.tensor as pt
import pytensor.tensor.random.basic as rvs
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.random.op import DefaultGeneratorMakerOp, RandomVariable
from pytensor.tensor.type_other import NoneTypeT

from jaxlink.aesara.conversions.tensor import constant_of
from jaxlink.aesara.parts import Conversion, Node, Rows

__all__ = ["ROWS"]

# The next generator, and the draw.
Draw = tuple[Variable, Variable]


def _size(node: Node) -> Variable | None:
    """The size. Aesara writes an empty vector if there is none."""
    size = node.inputs[1]
    if isinstance(size.type, NoneTypeT):
        return None
    empty = isinstance(size, Constant) and np.size(size.data) == 0
    return None if empty or size.type.shape == (0,) else size


def _options(node: Node) -> dict[str, Any]:
    return {"size": _size(node), "rng": node.inputs[0], "return_next_rng": True}


def _rv(op_class: type[RandomVariable], **fixed: Any) -> Conversion:
    """The row of a distribution that both libraries have."""

    def convert(node: Node) -> Any:
        rng, _, _, *parameters = node.inputs
        op = op_class(dtype=node.types[1].dtype, **fixed)
        size = _size(node)
        return op.make_node(rng, size, *parameters).outputs

    return convert


def _drawn(draw: Callable[..., Draw]) -> Conversion:
    """The row of a distribution that is a formula of others."""

    def convert(node: Node) -> Draw:
        next_rng, value = draw(*node.inputs[3:], **_options(node))
        return next_rng, pt.cast(value, node.types[1].dtype)

    return convert


def _sized(options: dict[str, Any], *parameters: Any) -> dict[str, Any]:
    """The options, with the size that a draw has without one."""
    size = options["size"]
    return {
        **options,
        "size": pt.broadcast_shape(*parameters) if size is None else size,
    }


def _rayleigh(scale: Any, **options: Any) -> Draw:
    """The length of a vector of two normal variables."""
    next_rng, squares = rvs.chisquare(2, **_sized(options, scale))
    return next_rng, pt.sqrt(squares) * scale


def _power(a: Any, **options: Any) -> Draw:
    """By inversion: the distribution function is ``x**a`` on the unit interval."""
    next_rng, uniform = rvs.uniform(0, 1, **_sized(options, a))
    return next_rng, uniform ** (1 / a)


def _f(dfn: Any, dfd: Any, **options: Any) -> Draw:
    """The ratio of two chi-square variables, each by its degrees of freedom."""
    options = _sized(options, dfn, dfd)
    options["rng"], above = rvs.chisquare(dfn, **options)
    next_rng, below = rvs.chisquare(dfd, **options)
    return next_rng, (above / dfn) / (below / dfd)


def _choice(node: Node) -> Draw:
    a, p, _ = node.inputs[3:]
    replace = bool(constant_of(node, 5, "flag `replace`"))
    p = None if isinstance(p.type, NoneTypeT) else p
    return rvs.choice(a, replace=replace, p=p, **_options(node))


def _permutation(node: Node) -> Draw:
    # Aesara draws one permutation whatever the size is.
    options = {**_options(node), "size": None}
    return rvs.permutation(node.inputs[3], **options)


def _generator(node: Node) -> Any:
    return DefaultGeneratorMakerOp().make_node(*node.inputs).outputs


_BOTH = (
    *(rvs.UniformRV, rvs.TriangularRV, rvs.BetaRV, rvs.NormalRV, rvs.HalfNormalRV),
    *(rvs.LogNormalRV, rvs.GammaRV, rvs.ParetoRV, rvs.GumbelRV, rvs.ExponentialRV),
    *(rvs.WeibullRV, rvs.LogisticRV, rvs.VonMisesRV, rvs.DirichletRV),
    *(rvs.PoissonRV, rvs.GeometricRV, rvs.HyperGeometricRV, rvs.CauchyRV),
    *(rvs.HalfCauchyRV, rvs.InvGammaRV, rvs.WaldRV, rvs.TruncExponentialRV),
    *(rvs.StudentTRV, rvs.BernoulliRV, rvs.LaplaceRV, rvs.BinomialRV),
    *(rvs.NegBinomialRV, rvs.BetaBinomialRV, rvs.GenGammaRV, rvs.MultinomialRV),
    *(rvs.CategoricalRV, rvs.IntegersRV),
)

ROWS: Rows = {
    **{f"random.{op_class.__name__}": _rv(op_class) for op_class in _BOTH},
    # As SciPy does, which takes a singular covariance.
    "random.MvNormalRV": _rv(rvs.MvNormalRV, method="eigh"),
    "random.RandIntRV": _rv(rvs.IntegersRV),
    "random.StandardNormalRV": _rv(rvs.NormalRV),
    "random.ChiSquareRV": _drawn(rvs.chisquare),
    "random.RayleighRV": _drawn(_rayleigh),
    "random.PowerRV": _drawn(_power),
    "random.FRV": _drawn(_f),
    "random.ChoiceRV": _choice,
    "random.PermutationRV": _permutation,
    "random.DefaultGeneratorMakerOp": _generator,
    "random.RandomStateConstructor": _generator,
}
