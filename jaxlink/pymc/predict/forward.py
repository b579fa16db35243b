"""Predictive sampling with the signatures of PyMC's functions."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import pymc as pm
from pytensor.graph.traversal import ancestors
from xarray import DataTree

from jaxlink.pymc.batched.runner import Run, RunOptions, takes_run_options
from jaxlink.pymc.batched.samples import Samples, draw_labels
from jaxlink.pymc.model.data import check_observed
from jaxlink.pymc.model.predictive import default_outputs, posterior_predictive, prior
from jaxlink.pymc.predict.read_trace import explain_lengths, read_trace, select_samples
from jaxlink.pymc.shared.arguments import Arrays, check_names
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.datatree import (
    add_groups,
    add_version,
    predictive_tree,
    prior_tree,
)
from jaxlink.pymc.shared.pymc_arguments import refuse
from jaxlink.pymc.shared.seeds import RandomSeed, resolve_key

__all__ = [
    "draw_from_prior",
    "draw_given",
    "sample_posterior_predictive",
    "sample_prior_predictive",
]

# We log where PyMC logs.
_log = logging.getLogger("pymc.sampling.forward")


@takes_run_options
def sample_prior_predictive(
    draws: int = 500,
    model: pm.Model | None = None,
    var_names: Iterable[str] | None = None,
    random_seed: RandomSeed = None,
    return_inferencedata: bool = True,
    idata_kwargs: Mapping[str, Any] | None = None,
    backend: None = None,
    compile_kwargs: None = None,
    *,
    key: Any = None,
    host_callback: bool = False,
    **options: Unpack[RunOptions],
) -> DataTree | dict[str, np.ndarray]:
    """Draw from the prior and the prior predictive distribution.

    Draw *i* uses the key ``fold_in(fold_in(key, 0), i)``. So the same (threefry) key
    gives the same draws for any ``batch_size``, any number of devices and any
    ``var_names``, and a longer run starts with the draws of a shorter one.

    Arguments:
        draws: the number of draws.
        model: default: the model on the context stack.
        var_names: the variables to return, in this order; default: all random variables
            (including observed ones) and deterministics, in the model's order.
        random_seed: an int, a sequence of ints, or a NumPy generator.
        return_inferencedata: True returns a DataTree, False a dict of arrays of shape
            ``(draws, ...)``.
        idata_kwargs: arguments for `pymc.to_inference_data`.
        backend, compile_kwargs: for PyMC's own backends; refused.
        key: a JAX PRNG key, instead of a seed.
        host_callback: see `jaxlink.function`.
        options: see `RunOptions`.

    Returns:
        the DataTree that `pymc.sample_prior_predictive` returns.

    Raises:
        TypeError: there is no model, or both ``key`` and ``random_seed`` are given.
        ValueError: the model lacks a variable of ``var_names``, ``draws`` is less than
            1, or observed data do not have the length of their dimensions.
        MemoryError, FileExistsError, ImportError: see `RunOptions`.

    Warns:
        UserWarning: the model has Potentials, which draws ignore.

    Example:
        >>> import jaxlink.pymc, pymc as pm
        >>> with pm.Model(coords={"city": ["Rome", "Oslo"]}):
        ...     mu = pm.Normal("mu", dims="city")
        ...     y = pm.Normal("y", mu, 1, observed=[0.5, -1.0], dims="city")
        ...     idata = jaxlink.pymc.sample_prior_predictive(
        ...         100, random_seed=1, progressbar=False
        ...     )
        >>> dict(idata["prior_predictive"].sizes)
        {'chain': 1, 'draw': 100, 'city': 2}
    """
    refuse("sample_prior_predictive", backend=backend, compile_kwargs=compile_kwargs)
    model = resolve_model(model)
    labels = draw_labels(draws)
    run = Run(**options)
    _refuse_dict(run.store, return_inferencedata)
    if var_names is None:
        names = [var.name for var in [*model.basic_RVs, *model.deterministics]]
    else:
        names = _names(var_names)
    run_key = resolve_key(key, random_seed, run.mesh)
    record = {"function": "sample_prior_predictive", "var_names": names}
    if return_inferencedata:
        check_observed(model)
    fn = prior(model, names, host_callback=host_callback)
    drawn = set(ancestors([model[name] for name in names])) & set(model.basic_RVs)
    _log.info(f"Sampling: {sorted(drawn, key=lambda var: var.name)}")
    arrays: dict[str, np.ndarray] = {}

    def build(values: Arrays, coords: Mapping[str, Any]) -> DataTree:
        arrays.update({name: values[name] for name in names})
        if not return_inferencedata:
            return DataTree()
        tree = prior_tree(arrays, coords, model, idata_kwargs or {})
        return add_version(tree, run_key, record)

    tree = run(
        fn,
        draw_from_prior,
        Samples({"chain": range(1), "draw": labels}),
        build,
        description="Sampling ...",
        key=run_key,
    )
    if return_inferencedata:
        return tree
    return {name: array[0] for name, array in arrays.items()}


@takes_run_options
def sample_posterior_predictive(
    trace: Any,
    model: pm.Model | None = None,
    *,
    var_names: str | Sequence[str] | None = None,
    sample_vars: str | Sequence[str] | None = None,
    freeze_vars: str | Sequence[str] | None = None,
    sample_dims: Sequence[str] | None = None,
    key: Any = None,
    random_seed: RandomSeed = None,
    return_inferencedata: bool = True,
    extend_inferencedata: bool = False,
    predictions: bool = False,
    idata_kwargs: Mapping[str, Any] | None = None,
    backend: None = None,
    compile_kwargs: None = None,
    host_callback: bool = False,
    **options: Unpack[RunOptions],
) -> DataTree | dict[str, np.ndarray]:
    """Draw once from the posterior predictive distribution at each sample of a trace.

    As in `pymc.sample_posterior_predictive`, some variables are resampled, some are
    kept and some are computed: see `jaxlink.pymc.posterior_predictive`.

    The sample with the labels *c* and *d* along ``chain`` and ``draw`` uses the key
    ``fold_in(fold_in(key, c), d)``, and likewise for other sample dimensions. So the
    same (threefry) key gives the same draws for any ``batch_size``, any number of
    devices and any ``var_names``, even if chains were reordered or draws were thinned.
    (If labels are not distinct integers in [0, 2**32), or the trace is a list of
    points, samples are numbered 0, 1, 2, ...)

    Ctrl-C ends the run. The draws finished so far, of all chains, are returned with a
    warning.

    Arguments:
        trace: a DataTree with a posterior group, a single group, a Dataset, a list of
            points or a MultiTrace. It may be loaded lazily.
        model: default: the model on the context stack.
        var_names: the variables to return; default: ``sample_vars``, or else the
            observed variables and the deterministics that depend on them.
        sample_vars: variables to resample or recompute even though the trace has them.
        freeze_vars: variables to take from the trace even if their parents changed.
        sample_dims: the dimensions of the samples; default: ``["chain", "draw"]``.
        key: a JAX PRNG key.
        random_seed: instead of a key: an int, a sequence of ints or a NumPy generator.
        return_inferencedata: True returns a DataTree, False a dict of arrays of shape
            ``(*sample shape, ...)``.
        extend_inferencedata: adds the groups to ``trace`` in place, and returns it.
        predictions: puts the draws into the group ``predictions``, for predictions from
            new data.
        idata_kwargs: arguments for `pymc.to_inference_data`, or
            `pymc.predictions_to_inference_data`.
        backend, compile_kwargs: for PyMC's own backends; refused.
        host_callback: see `jaxlink.function`.
        options: see `RunOptions`.

    Returns:
        the DataTree that `pymc.sample_posterior_predictive` returns.

    Raises:
        TypeError: there is no model, both ``key`` and ``random_seed`` are given, or
            ``trace`` is not one of the types above.
        ValueError: the model lacks a variable of ``var_names``, ``sample_vars`` or
            ``freeze_vars``; the trace is empty, lacks a variable or has it with another
            shape; or lengths of data do not match.
        MemoryError, FileExistsError, ImportError: see `RunOptions`.

    Warns:
        ImplicitFreezeWarning: see `jaxlink.pymc.posterior_predictive`.
        UserWarning: the model has Potentials, which draws ignore; groups of ``trace``
            are replaced; or the run was interrupted.

    Example:
        >>> import jaxlink.pymc, numpy as np, pymc as pm, xarray as xr
        >>> mu = xr.Dataset({"mu": (("chain", "draw"), np.zeros((2, 50)))})
        >>> with pm.Model():
        ...     pm.Normal("y", pm.Normal("mu"), 1, observed=[0.5, -1.0])
        ...     idata = jaxlink.pymc.sample_posterior_predictive(
        ...         mu, random_seed=1, progressbar=False
        ...     )
        y
        >>> idata["posterior_predictive"]["y"].shape
        (2, 50, 2)
    """
    function = "sample_posterior_predictive"
    refuse(function, backend=backend, compile_kwargs=compile_kwargs)
    model = resolve_model(model)
    run = Run(**options)
    _refuse_dict(run.store, return_inferencedata)
    if extend_inferencedata and not isinstance(trace, DataTree):
        raise TypeError(
            "extend_inferencedata adds groups to a DataTree, but trace is a "
            f"{type(trace).__name__}."
        )
    run_key = resolve_key(key, random_seed, run.mesh)
    dims = ["chain", "draw"] if sample_dims is None else _names(sample_dims)
    read = read_trace(trace, dims)
    resampled = None if sample_vars is None else _names(sample_vars)
    if var_names is not None:
        names = _names(var_names)
    else:
        names = (
            default_outputs(model, read.observed) if resampled is None else resampled
        )
    check_names([*names, *(resampled or ())], model.named_vars, "variable of the model")
    names = list(dict.fromkeys(names))
    if not names:
        if not return_inferencedata:
            return {}
        return trace if extend_inferencedata else DataTree()
    if return_inferencedata and not predictions:
        check_observed(model)
    fn = posterior_predictive(
        model,
        names,
        sample_vars=resampled,
        freeze_vars=_names(freeze_vars or ()),
        given=read.names,
        constant_data=read.constant_data,
        coords=read.coords,
        host_callback=host_callback,
    )
    record = {
        "function": function,
        "var_names": names,
        "sample_vars": resampled,
        "freeze_vars": _names(freeze_vars or ()),
    }
    samples = select_samples(read, fn.names, model)
    computed = [name for name in names if name not in fn.names]
    kept = [name for name in names if name in fn.names]
    _log.info(f"Sampling: {[model[name] for name in fn.resampled]}")
    arrays: dict[str, np.ndarray] = {}

    def build(values: Arrays, coords: Mapping[str, Any]) -> DataTree:
        arrays.update({name: values[name] for name in [*computed, *kept]})
        if not return_inferencedata:
            return DataTree()
        kwargs = idata_kwargs or {}
        tree = predictive_tree(arrays, coords, model, kwargs, predictions=predictions)
        return add_version(tree, run_key, record)

    tree = run(
        fn,
        draw_given(computed),
        samples,
        build,
        description="Sampling ...",
        key=run_key,
        keep=kept,
        hint=lambda: explain_lengths(samples, model),
        interruptible=True,
    )
    if not return_inferencedata:
        return arrays
    return add_groups(trace, tree) if extend_inferencedata else tree


def draw_from_prior(fn: Any, key: Any, _: Any) -> dict[str, Any]:
    """One draw of all that ``fn`` returns."""
    return dict(fn(key))


@dataclass(frozen=True)
class _DrawGiven:
    """Draws given the values of one sample, and keeps these variables."""

    names: tuple[str, ...]

    def __call__(self, fn: Any, key: Any, draw: Any) -> dict[str, Any]:
        out = fn(key, draw)
        return {name: out[name] for name in self.names}


def draw_given(names: Sequence[str]) -> Any:
    """What draws these variables, given the values of one sample."""
    return _DrawGiven(tuple(names))


def _refuse_dict(store: Any, return_inferencedata: bool) -> None:
    if store is not None and not return_inferencedata:
        raise ValueError(
            "with a store the result is a DataTree: leave out return_inferencedata."
        )


def _names(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
