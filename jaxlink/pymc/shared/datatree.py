"""The DataTrees that PyMC returns, from arrays of draws."""

import json
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax
import pymc as pm
from arviz_base import dict_to_dataset
from pymc.backends.arviz import (
    coords_and_dims_for_inferencedata,
    find_constants,
    find_observations,
)
from pymc.util import get_default_varnames
from xarray import DataTree

from jaxlink.pymc.shared.arguments import HERE, Arrays, check_names
from jaxlink.values.keys import key_to_str

__all__ = [
    "KEY",
    "RUN",
    "add_groups",
    "add_version",
    "posterior_names",
    "posterior_tree",
    "predictive_tree",
    "prior_tree",
]

# The attributes of groups from which `replay` computes a draw again.
KEY, RUN = "jaxlink_key", "jaxlink_run"
# Groups that are not drawn.
_DATA = ("observed_data", "constant_data", "predictions_constant_data")


def predictive_tree(
    arrays: Arrays,
    sample_coords: Mapping[str, Any],
    model: pm.Model,
    idata_kwargs: Mapping[str, Any],
    *,
    predictions: bool,
) -> DataTree:
    """PyMC's tree of posterior predictive draws, or of predictions."""
    kwargs: dict[str, Any] = {"model": model, **idata_kwargs}
    kwargs.setdefault("sample_dims", list(sample_coords))
    kwargs["coords"] = {**sample_coords, **(kwargs.get("coords") or {})}
    if predictions:
        return pm.predictions_to_inference_data(dict(arrays), **kwargs)
    return pm.to_inference_data(posterior_predictive=dict(arrays), **kwargs)


def prior_tree(
    arrays: Arrays,
    sample_coords: Mapping[str, Any],
    model: pm.Model,
    idata_kwargs: Mapping[str, Any],
) -> DataTree:
    """PyMC's tree of draws from the prior, with one chain. Unlike in PyMC, variables
    keep the order of ``arrays``."""
    kwargs: dict[str, Any] = {"model": model, **idata_kwargs}
    kwargs["coords"] = {**sample_coords, **(kwargs.get("coords") or {})}
    prior = {name: array[0] for name, array in arrays.items()}
    tree = pm.to_inference_data(prior=prior, **kwargs)
    for group in ("prior", "prior_predictive"):
        if group in tree.children:
            dataset = tree[group].to_dataset()
            ordered = [name for name in arrays if name in dataset]
            tree[group] = DataTree(dataset[ordered])
    return tree


def posterior_tree(
    model: pm.Model,
    drawn: Mapping[str, tuple[Arrays, Arrays]],
    names: Sequence[str],
    library: Any,
    attrs: dict[str, Any],
    *,
    coords: Mapping[str, Any],
    dims: Mapping[str, Any],
) -> DataTree:
    """The tree that PyMC returns for a posterior.

    Arguments:
        model: for coords, dims and data.
        drawn: values and statistics, by the prefix of the names of their groups.
        names: the names of the values, in order.
        library: the module that drew them, if it is known.
        attrs: the attributes of these groups.
        coords, dims: to add to the model's.
    """
    model_coords, model_dims = coords_and_dims_for_inferencedata(model)
    all_coords, all_dims = {**model_coords, **coords}, {**model_dims, **dims}
    datasets = {}
    for prefix, (values, _) in drawn.items():
        datasets[f"{prefix}posterior"] = dict_to_dataset(
            {name: values[name] for name in names},
            inference_library=library,
            attrs=attrs,
            coords=all_coords,
            dims=all_dims,
        )
    for prefix, (_, stats) in drawn.items():
        datasets[f"{prefix}sample_stats"] = dict_to_dataset(
            stats, inference_library=library, attrs=attrs
        )
    data = {
        "observed_data": find_observations(model),
        "constant_data": find_constants(model),
    }
    for group, arrays in data.items():
        if arrays or group == "observed_data":
            datasets[group] = dict_to_dataset(
                arrays,
                inference_library=pm,
                coords=all_coords,
                dims=all_dims,
                sample_dims=[],
            )
    return DataTree.from_dict({f"/{name}": ds for name, ds in datasets.items()})


def posterior_names(
    model: pm.Model, var_names: Sequence[str] | None, *, transformed: bool
) -> list[str]:
    """The names of a posterior's variables, in the model's order.

    Arguments:
        var_names: those that the user asked for; default: all.
        transformed: whether all includes the values of transformed variables.
    """
    names = [var.name for var in model.unobserved_value_vars]
    if var_names is None:
        return list(get_default_varnames(names, transformed))
    if isinstance(var_names, str):
        raise TypeError(f'var_names must be a list of names, such as ["{var_names}"].')
    check_names(var_names, names, "free random variable or deterministic")
    return [name for name in names if name in var_names]


def add_version(
    tree: DataTree,
    key: jax.Array | None = None,
    run: Mapping[str, Any] | None = None,
) -> DataTree:
    """The tree, with the version of jaxlink in the attributes of its groups.

    Arguments:
        key: the key of the run. It is written as text to the groups that were drawn.
        run: what else determines the draws, in JSON's types, for `replay`.
    """
    for name, group in tree.children.items():
        group.attrs["jaxlink_version"] = version("jaxlink")
        if key is not None and name not in _DATA:
            group.attrs[KEY] = key_to_str(key)
        if run is not None and name not in _DATA:
            group.attrs[RUN] = json.dumps(run)
    return tree


def add_groups(tree: DataTree, new: DataTree) -> DataTree:
    """Add groups to a tree, and warn about groups that are replaced."""
    common = tree.children.keys() & new.children.keys()
    if replaced := common - {"observed_data", "constant_data"}:
        warnings.warn(
            f"the groups {', '.join(sorted(replaced))} of the DataTree are replaced. "
            "Pass extend_inferencedata=False to keep them.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
    tree.update(new)
    return tree
