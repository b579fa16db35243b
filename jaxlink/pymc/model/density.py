"""Log densities of a model, as functions of a position in unconstrained space."""

from collections.abc import Hashable, Mapping, Sequence

import pymc as pm
from pymc.logprob.abstract import _icdf, _logccdf, _logcdf, _logprob
from pymc.logprob.utils import local_remove_check_parameter
from pytensor import config
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import dfs_rewriter
from pytensor.graph.traversal import io_toposort

from jaxlink.call.cache import kept_with
from jaxlink.pymc.model.function import ModelFunction, compile_model
from jaxlink.pymc.shared.arguments import check_names
from jaxlink.pymc.shared.context import resolve_model

__all__ = ["log_likelihood", "log_prior", "logdensity"]


def logdensity(
    model: pm.Model | None = None,
    var_names: Sequence[str] | None = None,
    *,
    jacobian: bool = True,
    sum: bool = True,
    host_callback: bool = False,
) -> ModelFunction:
    """The joint log density of a model.

    The function takes a *position*: a dict of arrays by the names of the value
    variables, such as ``{"mu": ..., "sigma_log__": ...}``, with the shapes of the
    transformed variables. Parameters outside their domain give -inf (unless the model
    has ``check_bounds=False``). If the density itself is random, because of
    `pm.Minibatch`, the function takes a PRNG key first.

    Arguments:
        model: default: the model on the context stack.
        var_names: the random variables and potentials to include; default: all.
        jacobian: whether to add the log determinants of the transforms' Jacobians.
        sum: True returns the sum of all terms, a scalar; False a dict of the terms by
            name, with the shapes that PyMC gives them.
        host_callback: see `jaxlink.function`.

    Raises:
        TypeError: there is no model.
        ValueError: the model lacks a variable of ``var_names``.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

    Example:
        >>> import jax, jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     sigma = pm.HalfNormal("sigma")
        ...     y = pm.Normal("y", 0, sigma, observed=[0.5, -1.0])
        ...     density = jaxlink.pymc.logdensity()
        >>> density
        ModelFunction logdensity(position) -> array
        >>> round(float(jax.grad(density)({"sigma_log__": 0.0})["sigma_log__"]), 3)
        -0.75
    """
    model = resolve_model(model)
    what = "random variable or potential of the model"
    terms = _select([*model.basic_RVs, *model.potentials], var_names, what)
    return _density(
        model, terms, "logdensity", host_callback, jacobian=jacobian, sum=sum
    )


def log_likelihood(
    model: pm.Model | None = None,
    var_names: Sequence[str] | None = None,
    *,
    host_callback: bool = False,
) -> ModelFunction:
    """The pointwise log likelihood, one value for each observation.

    Arguments:
        model: default: the model on the context stack.
        var_names: observed variables; default: all.
        host_callback: see `jaxlink.function`.

    Returns:
        a function of a position, as in `logdensity`, that returns a dict of
        arrays by the observed variables' names.

    Raises:
        The same errors as `logdensity`.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu")
        ...     y = pm.Normal("y", mu, 1, observed=[0.5, -1.0])
        ...     f = jaxlink.pymc.log_likelihood()
        >>> f({"mu": 0.5})["y"].round(3).tolist()
        [-0.919, -2.044]
    """
    model = resolve_model(model)
    terms = _select(model.observed_RVs, var_names, "observed variable of the model")
    return _density(model, terms, "log_likelihood", host_callback)


def log_prior(
    model: pm.Model | None = None,
    var_names: Sequence[str] | None = None,
    *,
    host_callback: bool = False,
) -> ModelFunction:
    """The log prior density of each free variable, without Jacobians.

    Arguments:
        model: default: the model on the context stack.
        var_names: free random variables; default: all.
        host_callback: see `jaxlink.function`.

    Returns:
        a function of a position, as in `logdensity`, that returns a dict of
        arrays by the variables' names.

    Raises:
        The same errors as `logdensity`.
    """
    model = resolve_model(model)
    terms = _select(model.free_RVs, var_names, "free random variable of the model")
    return _density(model, terms, "log_prior", host_callback)


def _select(
    variables: Sequence[Variable], var_names: Sequence[str] | None, what: str
) -> dict[str, Variable]:
    named = {var.name: var for var in variables}
    if var_names is None:
        return named
    check_names(var_names, named, what)
    return {name: named[name] for name in var_names}


def _density(
    model: pm.Model,
    terms: Mapping[str, Variable],
    name: str,
    host_callback: bool,
    *,
    jacobian: bool = False,
    sum: bool = False,
) -> ModelFunction:
    def make() -> list[Variable]:
        logps = model.logp(list(terms.values()), jacobian=jacobian, sum=sum)
        if sum:  # PyMC's sum of no terms is an int8
            logps = [logps if terms else logps.astype(config.floatX)]
        return logps if model.check_bounds else _without_checks(logps)

    identity = tuple(terms.values()), jacobian, sum, _parts(model)
    logps = kept_with(model, identity, make)
    return compile_model(
        model,
        {var.name: var for var in model.value_vars},
        logps[0] if sum else dict(zip(terms, logps, strict=True)),
        name=name,
        argument="position",
        host_callback=host_callback,
    )


def _parts(model: pm.Model) -> Hashable:
    """All that PyMC makes a log density of, which is half the time of a second call if
    it is made again. Models can be changed, by new variables or in place."""
    variables = [*model.basic_RVs, *model.potentials]
    values = [model.rvs_to_values[rv] for rv in model.basic_RVs]
    transforms = [model.rvs_to_transforms.get(rv) for rv in model.basic_RVs]
    nodes = [(node, *node.inputs) for node in io_toposort([], variables + values)]
    rules = [tuple(f.registry.items()) for f in (_logprob, _logcdf, _logccdf, _icdf)]
    parts = *variables, *values, *transforms, *nodes, *rules
    return parts, model.check_bounds, config.floatX


def _without_checks(outputs: Sequence[Variable]) -> list[Variable]:
    # A copy, because a frozen model returns the same graph each time.
    fgraph = FunctionGraph(outputs=clone_replace(outputs), clone=False)
    dfs_rewriter(local_remove_check_parameter).rewrite(fgraph)
    return fgraph.outputs
