"""The DataTrees that PyMC returns, from arrays of draws."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pymc as pm
from xarray import DataTree

from jaxlink.pymc.context import HERE
from jaxlink.pymc.runs import Arrays

__all__ = ["extend", "predictive_tree", "prior_tree", "stamped"]


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
        return stamped(pm.predictions_to_inference_data(dict(arrays), **kwargs))
    return stamped(pm.to_inference_data(posterior_predictive=dict(arrays), **kwargs))


def prior_tree(
    arrays: Arrays,
    sample_coords: Mapping[str, Any],
    model: pm.Model,
    idata_kwargs: Mapping[str, Any],
) -> DataTree:
    """PyMC's tree of draws from the prior, of one chain. PyMC leaves the variables in
    any order; here they stand as in ``arrays``."""
    kwargs: dict[str, Any] = {"model": model, **idata_kwargs}
    kwargs["coords"] = {**sample_coords, **(kwargs.get("coords") or {})}
    prior = {name: array[0] for name, array in arrays.items()}
    tree = pm.to_inference_data(prior=prior, **kwargs)
    for group in ("prior", "prior_predictive"):
        if group in tree.children:
            dataset = tree[group].to_dataset()
            ordered = [name for name in arrays if name in dataset]
            tree[group] = DataTree(dataset[ordered])
    return stamped(tree)


def stamped(tree: DataTree) -> DataTree:
    """The tree, whose groups say too which jaxlink made them."""
    for group in tree.children.values():
        group.attrs["jaxlink_version"] = version("jaxlink")
    return tree


def extend(tree: DataTree, new: DataTree) -> DataTree:
    """Add groups to a tree, and warn of those that are replaced."""
    replaced = set(tree.children) & set(new.children)
    if replaced := replaced - {"observed_data", "constant_data"}:
        warnings.warn(
            f"the groups {', '.join(sorted(replaced))} of the DataTree are replaced. "
            "Pass extend_inferencedata=False to keep them.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
    tree.update(new)
    return tree
