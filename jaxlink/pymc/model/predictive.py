"""Draws from a model: the prior, and the posterior predictive."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pymc as pm
from pymc.sampling.forward import observed_dependent_deterministics
from pytensor.graph.basic import Variable

from jaxlink.pymc.model.function import ModelFunction, compile_model
from jaxlink.pymc.model.resampling import changed_data, plan_resampling
from jaxlink.pymc.shared.arguments import HERE, check_names, quoted
from jaxlink.pymc.shared.context import resolve_model

__all__ = ["default_outputs", "posterior_predictive", "prior"]


def prior(
    model: pm.Model | None = None,
    var_names: Sequence[str] | None = None,
    *,
    key: bool = True,
    host_callback: bool = False,
) -> ModelFunction:
    """Draws from the prior and the prior predictive distribution.

    The random generators are numbered in the order of the model's variables, so
    ``var_names`` never changes a draw: for one key, ``prior(model, ["a"])`` and
    ``prior(model)`` give the same ``a``, bit for bit.

    Arguments:
        model: default: the model on the context stack.
        var_names: the variables to return; default: all random variables, including
            observed ones (as draws, not as data), and deterministics.
        key: if False, it takes no key: see `jaxlink.function`.
        host_callback: see `jaxlink.function`.

    Returns:
        a function of a PRNG key that returns a dict of one draw of each variable.

    Raises:
        TypeError: there is no model.
        ValueError: the model lacks a variable of ``var_names``.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`. An improper
            distribution cannot be sampled from.

    Warns:
        UserWarning: the model has Potentials, which draws ignore.

    Example:
        >>> import jax, jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu")
        ...     y = pm.Normal("y", mu, 1, observed=[0.5, -1.0])
        ...     f = jaxlink.pymc.prior()
        >>> f
        ModelFunction prior(key) -> {mu, y}
        >>> jax.vmap(f)(jax.random.split(jax.random.key(0), 10))["y"].shape
        (10, 2)
    """
    model = resolve_model(model)
    _warn_about_potentials(model, "prior predictive")
    if var_names is None:
        var_names = [var.name for var in [*model.basic_RVs, *model.deterministics]]
    return compile_model(
        model,
        {},
        _outputs(model, var_names),
        name="prior",
        takes_key=True,
        key=key,
        host_callback=host_callback,
    )


def posterior_predictive(
    model: pm.Model | None = None,
    var_names: Sequence[str] | None = None,
    *,
    sample_vars: Collection[str] | None = None,
    freeze_vars: Collection[str] = (),
    given: Collection[str] | None = None,
    constant_data: Mapping[str, Any] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    key: bool = True,
    host_callback: bool = False,
) -> ModelFunction:
    """Draw from a model, given the values of some of its variables.

    PyMC's rules decide what is resampled: random variables that are not given, mostly
    the observed ones, and those in ``sample_vars``. Given random variables keep their
    values. Deterministics are recomputed if a parent is resampled or changed. As in
    `prior`, ``var_names`` never changes a draw.

    Arguments:
        model: default: the model on the context stack.
        var_names: the variables to return; default: ``sample_vars``, or else the
            observed variables and the deterministics that depend on them.
        sample_vars: variables to resample or recompute even though they are given.
        freeze_vars: variables that keep their given values.
        given: names of the variables in a draw; default: the free random variables.
        constant_data, coords: the model's data and coordinates, by name, at the time of
            the draws, if they may have changed since; default: the current ones.
        key: if False, it takes no key: see `jaxlink.function`.
        host_callback: see `jaxlink.function`.

    Returns:
        a function of a PRNG key and a dict of given values by name (which may hold
        more variables of the model) that returns a dict. Its attribute ``names`` lists
        the given values that it reads, and ``resampled`` the random variables that it
        draws.

    Raises:
        TypeError: there is no model.
        ValueError: the model lacks a variable of ``var_names``, ``sample_vars`` or
            ``freeze_vars``, or ``freeze_vars`` are not given.
        UnsupportedOpError, DynamicShapeError: see `jaxlink.function`.

    Warns:
        ImplicitFreezeWarning: a given random variable keeps its values although a
            parent is resampled or changed.
        UserWarning: the model has Potentials, which draws ignore.

    Example:
        >>> import jax, jaxlink.pymc, pymc as pm
        >>> with pm.Model():
        ...     mu = pm.Normal("mu")
        ...     y = pm.Normal("y", mu, 1e-3, observed=[0.5, -1.0])
        ...     f = jaxlink.pymc.posterior_predictive()
        >>> f
        ModelFunction posterior_predictive(key, draw) -> {y}
        >>> f(jax.random.key(0), {"mu": 2.0})["y"].round(1).tolist()
        [2.0, 2.0]
    """
    model = resolve_model(model)
    _warn_about_potentials(model, "posterior predictive")
    variables = [*model.basic_RVs, *model.deterministics]
    all_names = {var.name for var in variables}
    for names in (sample_vars or (), freeze_vars):
        check_names(names, all_names, "random variable or deterministic of the model")
    if var_names is None:
        var_names = list(sample_vars or default_outputs(model))
    outputs = _outputs(model, var_names)
    if given is None:
        given = [rv.name for rv in model.free_RVs]
    changed = []
    if constant_data is not None or coords is not None:
        graph = [*outputs.values(), *model.free_RVs]
        changed = changed_data(model, graph, constant_data or {}, coords or {})
    returned = list(outputs.values())
    reads, resampled = plan_resampling(
        model, returned, given, sample_vars or (), freeze_vars, changed
    )
    fn = compile_model(
        model,
        {var.name: var for var in reads},
        outputs,
        name="posterior_predictive",
        argument="draw",
        takes_key=True,
        key=key,
        further=all_names,
        host_callback=host_callback,
    )
    return replace(fn, resampled=resampled)


def _outputs(model: pm.Model, var_names: Sequence[str]) -> dict[str, Variable]:
    """The variables with these names, except values in transformed spaces."""
    if isinstance(var_names, str):
        raise TypeError(f"var_names must be a list: write [{var_names!r}].")
    values = {var.name for var in model.value_vars} - {rv.name for rv in model.free_RVs}
    allowed = [name for name in model.named_vars if name not in values]
    check_names(var_names, allowed, "variable of the model")
    return {name: model[name] for name in var_names}


def default_outputs(model: pm.Model, observed: Iterable[str] = ()) -> list[str]:
    """The variables that PyMC draws by default: the observed ones, and deterministics
    that depend directly on them.

    Arguments:
        model: the model.
        observed: the names of the variables that were observed when the trace was made.
            Those that the model still has count as observed.
    """
    still = [name for name in observed if name in model.named_vars]
    names = list(dict.fromkeys([*(rv.name for rv in model.observed_RVs), *still]))
    depend = observed_dependent_deterministics(model, [model[name] for name in names])
    return [*names, *(var.name for var in depend)]


def _warn_about_potentials(model: pm.Model, what: str) -> None:
    if model.potentials:
        names = quoted(var.name for var in model.potentials)
        warnings.warn(
            f"the model has Potentials ({names}), which {what} sampling ignores: its "
            "draws do not follow the distribution of the log density.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
