"""Log densities and deterministics of a model at each sample of a trace."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import pymc as pm
from arviz_base import dict_to_dataset
from pymc.backends.arviz import coords_and_dims_for_inferencedata
from pymc.model.transform.conditioning import remove_value_transforms
from xarray import Dataset, DataTree, merge

from jaxlink.pymc.batched.runner import Run, RunOptions, takes_run_options
from jaxlink.pymc.model.density import log_likelihood, log_prior
from jaxlink.pymc.model.function import ModelFunction
from jaxlink.pymc.model.transforms import constrain
from jaxlink.pymc.predict.read_trace import (
    explain_lengths,
    read_dataset,
    select_samples,
)
from jaxlink.pymc.shared.arguments import Arrays, check_names, quoted
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.datatree import add_version
from jaxlink.pymc.shared.pymc_arguments import refuse

__all__ = ["compute_deterministics", "compute_log_likelihood", "compute_log_prior"]

SAMPLE_DIMS = ("chain", "draw")
# Stands in for the sample dimensions if there are none.
_POINT = "__point__"


@takes_run_options
def compute_log_likelihood(
    idata: DataTree,
    *,
    var_names: Sequence[str] | None = None,
    extend_inferencedata: bool = True,
    model: pm.Model | None = None,
    sample_dims: Sequence[str] = SAMPLE_DIMS,
    backend: None = None,
    compile_kwargs: None = None,
    host_callback: bool = False,
    **options: Unpack[RunOptions],
) -> DataTree | Dataset:
    """The log likelihood of each observation at each sample of a posterior.

    Arguments:
        idata: a DataTree whose posterior has all free variables of the model.
        var_names: observed variables; default: all.
        extend_inferencedata: True adds a group ``log_likelihood`` to ``idata`` in place
            and returns it; False returns the Dataset.
        model: default: the model on the context stack.
        sample_dims: the dimensions of the samples; empty for a single point.
        backend, compile_kwargs: for PyMC's own backends; refused.
        host_callback: see `jaxlink.function`.
        options: see `RunOptions`.

    Returns:
        what `pymc.compute_log_likelihood` returns.

    Raises:
        TypeError: there is no model.
        ValueError: the model lacks a variable of ``var_names``; ``idata`` has no
            posterior, or the posterior lacks a variable or has it with another shape;
            or the model is random (`pm.Minibatch`).
        MemoryError, FileExistsError, ImportError: see `RunOptions`.

    Example:
        >>> import jaxlink.pymc, numpy as np, pymc as pm, xarray as xr
        >>> mu = xr.Dataset({"mu": (("chain", "draw"), np.zeros((2, 50)))})
        >>> idata = xr.DataTree.from_dict({"posterior": mu})
        >>> with pm.Model():
        ...     y = pm.Normal("y", pm.Normal("mu"), 1, observed=[0.5, -1.0])
        ...     _ = jaxlink.pymc.compute_log_likelihood(idata, progressbar=False)
        >>> idata["log_likelihood"]["y"][0, 0].round(3).values.tolist()
        [-1.044, -1.419]
    """
    refuse("compute_log_likelihood", backend=backend, compile_kwargs=compile_kwargs)
    run = Run(**options)
    make = partial(log_likelihood, var_names=var_names, host_callback=host_callback)
    model = resolve_model(model)
    dataset = _over(_posterior(idata), make, model, "log_likelihood", sample_dims, run)
    return _added(idata, "log_likelihood", dataset) if extend_inferencedata else dataset


@takes_run_options
def compute_log_prior(
    idata: DataTree,
    *,
    var_names: Sequence[str] | None = None,
    extend_inferencedata: bool = True,
    model: pm.Model | None = None,
    sample_dims: Sequence[str] = SAMPLE_DIMS,
    backend: None = None,
    compile_kwargs: None = None,
    host_callback: bool = False,
    **options: Unpack[RunOptions],
) -> DataTree | Dataset:
    """The log prior density of each free variable at each sample of a posterior.

    Arguments:
        var_names: free random variables; default: all.

    The other arguments and exceptions are those of `compute_log_likelihood`. The
    result, in a group ``log_prior``, is that of `pymc.stats.compute_log_prior`.
    """
    refuse("compute_log_prior", backend=backend, compile_kwargs=compile_kwargs)
    run = Run(**options)
    make = partial(log_prior, var_names=var_names, host_callback=host_callback)
    model = resolve_model(model)
    dataset = _over(_posterior(idata), make, model, "log_prior", sample_dims, run)
    return _added(idata, "log_prior", dataset) if extend_inferencedata else dataset


@takes_run_options
def compute_deterministics(
    dataset: Dataset | DataTree,
    *,
    group: str | None = None,
    var_names: Sequence[str] | None = None,
    model: pm.Model | None = None,
    sample_dims: Sequence[str] = SAMPLE_DIMS,
    merge_dataset: bool = False,
    extend_dataset: bool = False,
    backend: None = None,
    compile_kwargs: None = None,
    host_callback: bool = False,
    **options: Unpack[RunOptions],
) -> Dataset | DataTree:
    """The deterministics of a model at each sample of a trace.

    Arguments:
        dataset: values of the free variables: a Dataset, a group of a DataTree, or a
            DataTree with groups.
        group: the group of a DataTree to use; default: ``posterior``, else ``prior``.
        var_names: deterministics; default: all.
        extend_dataset: True adds the deterministics to ``dataset`` in place and returns
            it; False returns a new Dataset.
        merge_dataset: whether the new Dataset also has the values of the old one.

    The other arguments and exceptions are those of `compute_log_likelihood`.

    Returns:
        what `pymc.compute_deterministics` returns.

    Example:
        >>> import jaxlink.pymc, numpy as np, pymc as pm, xarray as xr
        >>> mu = xr.Dataset({"mu": (("chain", "draw"), np.ones((2, 50)))})
        >>> with pm.Model():
        ...     twice = pm.Deterministic("twice", 2 * pm.Normal("mu"))
        ...     new = jaxlink.pymc.compute_deterministics(mu, progressbar=False)
        >>> float(new["twice"].mean())
        2.0
    """
    refuse("compute_deterministics", backend=backend, compile_kwargs=compile_kwargs)
    if merge_dataset and extend_dataset:
        raise ValueError("give either merge_dataset or extend_dataset, not both.")
    model = resolve_model(model)
    names = [var.name for var in model.deterministics]
    if var_names is not None:
        check_names(var_names, names, "deterministic of the model")
        names = list(var_names)
    node = _group(dataset, group)
    run = Run(**options)
    make = partial(constrain, var_names=names, host_callback=host_callback)
    flat = node.to_dataset() if isinstance(node, DataTree) else node
    new = _over(flat, make, model, "deterministics", sample_dims, run)
    if merge_dataset:
        return merge([flat, new], compat="override", join="outer")
    if not extend_dataset:
        return new
    node.update(new)
    return dataset


def _over(
    dataset: Dataset,
    make: Callable[[pm.Model], ModelFunction],
    model: pm.Model,
    name: str,
    sample_dims: Sequence[str],
    run: Run,
) -> Dataset:
    """Evaluate a function of positions at each sample of a dataset.

    Arguments:
        dataset: values of the free variables, in the variables' own space.
        make: makes the function from a model.
        model: the model.
        name: the name of the result, and of its group on disk.
        sample_dims: the dimensions of the samples.
        run: how to evaluate the function.
    """
    # Without transforms, a position has the same values as a trace.
    plain = remove_value_transforms(model)
    fn = make(plain)
    if fn.takes_key:
        raise ValueError(
            f"the {name} of this model is random, because of pm.Minibatch: build the "
            "model with all of the data."
        )
    if not sample_dims:
        if run.store is not None:
            raise ValueError("store= needs sample_dims along which it can grow.")
        dataset = dataset.expand_dims(_POINT)
    samples = select_samples(
        read_dataset(dataset, sample_dims or [_POINT]), fn.names, plain
    )
    model_coords, model_dims = coords_and_dims_for_inferencedata(plain)

    def build(arrays: Arrays, coords: Mapping[str, Any]) -> DataTree:
        result = dict_to_dataset(
            {n: arrays[n] if sample_dims else arrays[n][0] for n in fn.outputs or ()},
            inference_library=pm,
            dims=model_dims,
            coords={**model_coords, **coords},
            sample_dims=list(sample_dims),
            skip_event_dims=True,
        )
        return add_version(DataTree.from_dict({name: result}))

    tree = run(
        fn,
        _evaluate,
        samples,
        build,
        description="Computing ...",
        hint=lambda: explain_lengths(samples, model),
    )
    result: Dataset = tree[name].to_dataset()
    return result


def _evaluate(fn: Any, _: Any, position: Any) -> Any:
    return fn(position)


def _posterior(idata: Any) -> Dataset:
    if not isinstance(idata, DataTree) or "posterior" not in idata.children:
        if isinstance(idata, DataTree):
            found = f"has the groups {quoted(idata.children)}"
        else:
            found = f"is a {type(idata).__name__}"
        hint = ""
        if isinstance(idata, Dataset):
            hint = ' Pass xarray.DataTree.from_dict({"posterior": idata}).'
        raise ValueError(
            f"idata must be a DataTree with a posterior, but it {found}.{hint}"
        )
    return idata["posterior"].to_dataset()


def _added(idata: DataTree, name: str, dataset: Dataset) -> DataTree:
    idata[name] = DataTree(dataset)
    return idata


def _group(dataset: Dataset | DataTree, group: str | None) -> Dataset | DataTree:
    """The requested group, or else the default one."""
    if not isinstance(dataset, Dataset | DataTree):
        raise TypeError(
            f"dataset must be a Dataset or a DataTree, not {type(dataset).__name__}."
        )
    if not (isinstance(dataset, DataTree) and dataset.children):
        if group is not None:
            raise ValueError("group= needs a DataTree of groups, not a single group.")
        return dataset
    if group is not None:
        check_names([group], list(dataset.children), "group of the DataTree")
        return dataset.children[group]
    for name in ("posterior", "prior"):
        if name in dataset.children:
            return dataset.children[name]
    raise ValueError(
        "the DataTree has neither a posterior nor a prior. Pass one of its groups: "
        f"{quoted(dataset.children)}."
    )
