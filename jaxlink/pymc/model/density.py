"""Log densities of a model, as functions of a position in unconstrained space."""

from collections.abc import Sequence
from typing import Any

import pymc as pm
from pymc.logprob.utils import local_remove_check_parameter
from pytensor import config
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import dfs_rewriter

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
    terms = {var.name: var for var in [*model.basic_RVs, *model.potentials]}
    if var_names is not None:
        check_names(var_names, terms, "random variable or potential of the model")
        terms = {name: terms[name] for name in var_names}
    if sum:
        outputs = model.logp(list(terms.values()), jacobian=jacobian)
        if not terms:  # PyMC's sum of no terms is an int8
            outputs = outputs.astype(config.floatX)
    else:
        factors = model.logp(list(terms.values()), jacobian=jacobian, sum=False)
        outputs = dict(zip(terms, factors, strict=True))
    return _density(model, outputs, "logdensity", host_callback)


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
    names = [var.name for var in model.observed_RVs]
    what = "observed variable"
    return _pointwise(model, names, var_names, what, "log_likelihood", host_callback)


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
    names = [var.name for var in model.free_RVs]
    what = "free random variable"
    return _pointwise(model, names, var_names, what, "log_prior", host_callback)


def _pointwise(
    model: pm.Model,
    allowed: Sequence[str],
    var_names: Sequence[str] | None,
    what: str,
    name: str,
    host_callback: bool,
) -> ModelFunction:
    if var_names is not None:
        check_names(var_names, allowed, f"{what} of the model")
        allowed = var_names
    variables = [model[name] for name in allowed]
    terms = model.logp(variables, jacobian=False, sum=False) if variables else []
    named = dict(zip(allowed, terms, strict=True))
    return _density(model, named, name, host_callback)


def _density(
    model: pm.Model, outputs: Any, name: str, host_callback: bool
) -> ModelFunction:
    if not model.check_bounds:
        outputs = _without_checks(outputs)
    values = {var.name: var for var in model.value_vars}
    return compile_model(
        model,
        values,
        outputs,
        name=name,
        argument="position",
        takes_key=None,
        host_callback=host_callback,
    )


def _without_checks(outputs: Variable | dict[str, Variable]) -> Any:
    named = {"": outputs} if isinstance(outputs, Variable) else outputs
    # A copy, because a frozen model returns the same graph each time.
    fgraph = FunctionGraph(outputs=clone_replace(list(named.values())), clone=False)
    dfs_rewriter(local_remove_check_parameter).rewrite(fgraph)
    if isinstance(outputs, Variable):
        return fgraph.outputs[0]
    return dict(zip(named, fgraph.outputs, strict=True))
