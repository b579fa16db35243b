"""Jaxlink's distributions as samplers, by PyTensor's names."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import jax.numpy as jnp
import numpy as np
from pytensor.tensor.random.op import RandomVariable

from jaxlink import dispatch as dispatch  # registers all rows
from jaxlink.dispatch.random.registry import find_row
from jaxlink.dispatch.random.rule import cast_parameters, keyed
from jaxlink.dispatch.random.sites import draw_at_site, site_sampler, split_static
from jaxlink.errors import ArgumentError
from jaxlink.optional import load
from jaxlink.pjax.density import logpdf_of_random_variable
from jaxlink.pjax.samplers import Sampler
from jaxlink.values.static import canonical

__all__ = ["TABLE", "TableSampler"]

_REQUIRED = inspect.Parameter.empty
_PYTENSOR = "pytensor.tensor.random.basic"
_CONTINUOUS = "pymc.distributions.continuous"
_MULTIVARIATE = "pymc.distributions.multivariate"


@dataclass(frozen=True)
class Entry:
    """A distribution of the table.

    Attributes:
        module, rv: where the class of its random variable is.
        parameters: their names, with default values.
        options: of the random variable.
    """

    module: str
    rv: str
    parameters: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def op(self) -> RandomVariable:
        return getattr(import_module(self.module), self.rv)(**self.options)


def _required(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, _REQUIRED)


_LOC_SCALE = {"loc": 0.0, "scale": 1.0}

TABLE: dict[str, Entry] = {
    # --- continuous
    "normal": Entry(_PYTENSOR, "NormalRV", _LOC_SCALE),
    "halfnormal": Entry(_PYTENSOR, "HalfNormalRV", _LOC_SCALE),
    "lognormal": Entry(_PYTENSOR, "LogNormalRV", {"mean": 0.0, "sigma": 1.0}),
    "cauchy": Entry(_PYTENSOR, "CauchyRV", _LOC_SCALE),
    "halfcauchy": Entry(_PYTENSOR, "HalfCauchyRV", _LOC_SCALE),
    "gumbel": Entry(_PYTENSOR, "GumbelRV", _LOC_SCALE),
    "laplace": Entry(_PYTENSOR, "LaplaceRV", _LOC_SCALE),
    "logistic": Entry(_PYTENSOR, "LogisticRV", _LOC_SCALE),
    "uniform": Entry(_PYTENSOR, "UniformRV", {"low": 0.0, "high": 1.0}),
    "exponential": Entry(_PYTENSOR, "ExponentialRV", {"scale": 1.0}),
    "truncexpon": Entry(
        _PYTENSOR, "TruncExponentialRV", {**_required("b"), **_LOC_SCALE}
    ),
    "pareto": Entry(_PYTENSOR, "ParetoRV", {**_required("b"), "scale": 1.0}),
    "weibull": Entry(_PYTENSOR, "WeibullRV", _required("alpha")),
    "triangular": Entry(_PYTENSOR, "TriangularRV", _required("left", "mode", "right")),
    "wald": Entry(_PYTENSOR, "WaldRV", {"mean": 1.0, "scale": 1.0}),
    "vonmises": Entry(_PYTENSOR, "VonMisesRV", _required("mu", "kappa")),
    "gamma": Entry(_PYTENSOR, "GammaRV", {**_required("alpha"), "scale": 1.0}),
    "invgamma": Entry(_PYTENSOR, "InvGammaRV", {**_required("alpha"), "scale": 1.0}),
    "gengamma": Entry(_PYTENSOR, "GenGammaRV", {"alpha": 1.0, "p": 1.0, "lambd": 1.0}),
    "beta": Entry(_PYTENSOR, "BetaRV", _required("alpha", "beta")),
    "t": Entry(_PYTENSOR, "StudentTRV", {**_required("df"), **_LOC_SCALE}),
    "truncated_normal": Entry(
        _CONTINUOUS, "TruncatedNormalRV", _required("mu", "sigma", "lower", "upper")
    ),
    "skewnormal": Entry(
        _CONTINUOUS, "SkewNormalRV", {"mu": 0.0, "sigma": 1.0, **_required("alpha")}
    ),
    "skewstudentt": Entry(
        _CONTINUOUS, "SkewStudentTRV", _required("a", "b", "mu", "sigma")
    ),
    "moyal": Entry(_CONTINUOUS, "MoyalRV", {"mu": 0.0, "sigma": 1.0}),
    "rice": Entry(_CONTINUOUS, "RiceRV", _required("b", "sigma")),
    "interpolated": Entry(
        _CONTINUOUS, "InterpolatedRV", _required("x_points", "pdf_points", "cdf_points")
    ),
    "polyagamma": Entry(_CONTINUOUS, "PolyaGammaRV", {"h": 1.0, "z": 0.0}),
    # --- counts
    "bernoulli": Entry(_PYTENSOR, "BernoulliRV", _required("p")),
    "categorical": Entry(_PYTENSOR, "CategoricalRV", _required("p")),
    "geometric": Entry(_PYTENSOR, "GeometricRV", _required("p")),
    "binomial": Entry(_PYTENSOR, "BinomialRV", _required("n", "p")),
    "beta_binomial": Entry(_PYTENSOR, "BetaBinomialRV", _required("n", "a", "b")),
    "poisson": Entry(_PYTENSOR, "PoissonRV", {"lam": 1.0}),
    "negative_binomial": Entry(_PYTENSOR, "NegBinomialRV", _required("n", "p")),
    "hypergeometric": Entry(
        _PYTENSOR, "HyperGeometricRV", _required("ngood", "nbad", "nsample")
    ),
    "integers": Entry(_PYTENSOR, "IntegersRV", _required("low", "high")),
    "discrete_uniform": Entry(
        "pymc.distributions.discrete", "DiscreteUniformRV", _required("lower", "upper")
    ),
    # --- vectors and matrices
    "multivariate_normal": Entry(
        _PYTENSOR, "MvNormalRV", _required("mean", "cov"), {"method": "cholesky"}
    ),
    "dirichlet": Entry(_PYTENSOR, "DirichletRV", _required("alphas")),
    "multinomial": Entry(_PYTENSOR, "MultinomialRV", _required("n", "p")),
    "matrixnormal": Entry(
        _MULTIVARIATE, "MatrixNormalRV", _required("mu", "rowchol", "colchol")
    ),
    "car": Entry(
        _MULTIVARIATE,
        "CARRV",
        {**_required("mu", "W", "alpha", "tau"), "W_is_valid": True},
    ),
    "stick_breaking_weights": Entry(
        _MULTIVARIATE, "StickBreakingWeightsRV", _required("alpha", "K")
    ),
}


class TableSampler(Sampler):
    """The sampler of a distribution of the table."""

    def __init__(self, name: str, entry: Entry):
        load(entry.module.partition(".")[0], f"jaxlink.pjax.{name}")
        op = entry.op()
        row = find_row(op)
        assert row is not None, name
        integral = not str(op.dtype).startswith("float")
        self._dtype = "int64" if integral else "float64"
        draw = keyed(op, row, self._dtype)

        def broadcast(key: Any, shape: Any, dtype: Any, *parameters: Any) -> Any:
            shape = _batch_shape(name, op, shape, parameters)
            return draw(key, shape, dtype, *cast_parameters(op, row, dtype, parameters))

        super().__init__(site_sampler(op, broadcast))
        self._static_at = row.static_parameters(op)
        self.__signature__ = _signature(entry)
        self.__name__ = self.__qualname__ = name
        self.__doc__ = _documentation(name, entry, row.how, op)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        parameters, shape, dtype, name = self._bound(args, kwargs)
        return draw_at_site(self._fn, shape, dtype, parameters, name)

    def keyed(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        """Draw with a key."""
        parameters, shape, dtype, _ = self._bound(args, kwargs)
        dynamic, static = split_static(parameters)
        return self._fn.fn(key, *dynamic, shape=shape, dtype=dtype, static=static)

    @property
    def logpdf(self) -> Callable[..., Any]:
        """The log density, ``logpdf(draw, *parameters)``, by PyMC: the sum over
        the draw's elements."""

        def logpdf(draw: Any, *args: Any, **kwargs: Any) -> Any:
            parameters, shape, dtype, _ = self._bound(args, kwargs)
            dynamic, static = split_static(parameters)
            fn = logpdf_of_random_variable(self.name, self._fn)
            options = {"shape": shape, "dtype": dtype, "static": static}
            return fn(jnp.asarray(draw), *dynamic, **options)

        return logpdf

    def _bound(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], tuple[int, ...] | None, np.dtype, str | None]:
        """The parameters, the batch shape, the dtype and the name of a draw."""
        bound = self.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        *each, shape, dtype, name = bound.arguments.values()
        if shape is not None:
            shape = (int(shape),) if np.ndim(shape) == 0 else tuple(map(int, shape))
        # What fixes a shape is static; everything else is an operand.
        parameters = [
            np.asarray(x) if i in self._static_at else jnp.asarray(x)
            for i, x in enumerate(each)
        ]
        return parameters, shape, canonical(np.dtype(dtype or self._dtype)), name


def _batch_shape(
    name: str, op: RandomVariable, shape: Any, parameters: Sequence[Any]
) -> tuple[int, ...]:
    """``shape``, or if it is None, that to which the parameters broadcast."""
    batches = [
        np.shape(x)[: np.ndim(x) - ndim]
        for x, ndim in zip(parameters, op.ndims_params, strict=True)
    ]
    implied = jnp.broadcast_shapes(*batches)
    if shape is None:
        return implied
    if _broadcast(implied, shape) != shape:
        raise ArgumentError(
            f"shape={shape} of a draw of `{name}` does not fit its parameters, whose "
            f"batch shapes are {', '.join(map(str, batches))}."
        )
    return shape


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _signature(entry: Entry) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, kind, default=default)
        for name, default in _required_first(entry.parameters).items()
    ]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("shape", "dtype", "name")
    ]
    return inspect.Signature([*parameters, *options])


def _required_first(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, without the defaults that a required one follows."""
    names = list(parameters)
    required = [i for i, name in enumerate(names) if parameters[name] is _REQUIRED]
    last = max(required, default=-1)
    return {
        name: _REQUIRED if i < last else parameters[name]
        for i, name in enumerate(names)
    }


def _documentation(name: str, entry: Entry, how: str, op: RandomVariable) -> str:
    shapes = ", ".join(
        f"``{parameter}`` {'a scalar' if not ndim else f'of rank {ndim}'}"
        for parameter, ndim in zip(entry.parameters, op.ndims_params, strict=True)
    )
    return f"""Draw from PyTensor's distribution `{name}`: {how}.

    Arguments:
        {shapes}; or batches of these, which broadcast.
        shape: the batch shape of the draw; default: that of the parameters.
        dtype: of the draw; default: JAX's widest float or integer.
        name: for `jaxlink.pjax.draws` and what builds on it.

    Returns:
        an array of ``shape``, followed by the shape of one draw.
    """
