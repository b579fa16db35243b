"""The DataTree that PyMC returns of a mode, and its covariance."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pymc as pm
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult
from xarray import DataArray, Dataset, DataTree

from jaxlink.pymc.shared.arguments import HERE
from jaxlink.pymc.shared.datatree import posterior_tree

__all__ = ["inverse_hessian", "optimum_tree"]


def optimum_tree(
    model: pm.Model,
    values: Mapping[str, np.ndarray],
    position: Mapping[str, np.ndarray],
    covariance: np.ndarray | None,
    result: OptimizeResult,
    method: str,
    *,
    coords: Mapping[str, Any],
    dims: Mapping[str, Any],
) -> DataTree:
    """What `pm.find_MAP` returns as a DataTree.

    Arguments:
        model: the model.
        values: what stands in the posterior, of a single draw.
        position: what was optimized, at the mode.
        covariance: the inverse of the Hessian there, if it was asked for.
        result: of SciPy.
        method: how it was found.
        coords, dims: to add to the model's.
    """
    arrays = {name: value[None, None] for name, value in values.items()}
    tree = posterior_tree(
        model, {"": (arrays, {})}, list(arrays), pm, {}, coords=coords, dims=dims
    )
    del tree["sample_stats"]
    labels = [
        label for name, x in position.items() for label in _labels(model, name, x.shape)
    ]
    flat = np.concatenate([np.ravel(x).astype(float) for x in position.values()])
    fitted = {"mean_vector": DataArray(flat, {"rows": labels}, ["rows"])}
    if covariance is not None:
        coords = {"rows": labels, "columns": labels}
        fitted["covariance_matrix"] = DataArray(covariance, coords, ["rows", "columns"])
    tree["fit"] = DataTree(Dataset(fitted))
    tree["optimizer_result"] = DataTree(_of_result(result, method, labels))
    return tree


def inverse_hessian(hessian: np.ndarray, precision: float) -> np.ndarray:
    """The inverse of a Hessian at a minimum.

    Where it is not positive, its eigenvalues are raised to what can be told from zero,
    with a warning if one was negative.

    Arguments:
        hessian: of shape (d, d).
        precision: the machine epsilon of what it was computed in.
    """
    eigenvalues, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    least = np.abs(eigenvalues).max() * len(eigenvalues) * precision
    least = max(least, np.finfo(float).tiny)
    if eigenvalues.min() < -least:
        warnings.warn(
            "the Hessian is not positive definite (its smallest eigenvalue is "
            f"{eigenvalues.min():.3g}), so this may be a saddle point. The covariance "
            "was made with its eigenvalues clipped.",
            UserWarning,
            skip_file_prefixes=HERE,
        )
    inverse: np.ndarray = (vectors / np.maximum(eigenvalues, least)) @ vectors.T
    return inverse


def _labels(model: pm.Model, name: str, shape: tuple[int, ...]) -> list[str]:
    """A label for each element of a value variable, with coordinates if it has any."""
    if not shape:
        return [name]
    rv = next(rv for rv, value in model.rvs_to_values.items() if value.name == name)
    dims: Sequence[str | None] = model.named_vars_to_dims.get(rv.name) or ()
    if len(dims) != len(shape):
        dims = (None,) * len(shape)
    along: list[Any] = []
    for dim, length in zip(dims, shape, strict=True):
        labels = None if dim is None else model.coords.get(dim)
        fits = labels is not None and len(labels) == length
        along.append(labels if fits else range(length))
    return [f"{name}[{','.join(map(str, index))}]" for index in product(*along)]


def _of_result(result: OptimizeResult, method: str, labels: list[str]) -> Dataset:
    fields = dict(result)
    # Basin hopping has the best local minimization inside.
    fields = {**fields.pop("lowest_optimization_result", {}), **fields}
    variables = {"method": DataArray(method)}
    for name, value in _arrays({**fields, "message": str(fields.get("message", ""))}):
        if name == "method":
            continue  # what trust-constr does inside
        dims = [f"{name}_dim_{axis}" for axis in range(value.ndim)]
        if name in ("hess_inv_sk", "hess_inv_yk"):
            dims = ["lbfgs_corrections", "variables"]
        elif value.shape == (len(labels), len(labels)):
            dims = ["variables", "variables_aux"]
        elif value.ndim in (1, 2) and value.shape[-1] == len(labels):
            dims[-1] = "variables"
        variables[name] = DataArray(value, dims=dims)
    used = {dim for x in variables.values() for dim in x.dims}
    coords = {dim: labels for dim in ("variables", "variables_aux") if dim in used}
    return Dataset(variables, coords)


def _arrays(fields: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """What of a result can be stored; a tuple in parts."""
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, LbfgsInvHessProduct):
            # The matrix may not fit into memory, these can.
            yield f"{name}_sk", np.asarray(value.sk)
            yield f"{name}_yk", np.asarray(value.yk)
        elif isinstance(value, tuple):
            yield from _arrays({f"{name}_{i}": part for i, part in enumerate(value)})
        elif (array := np.asarray(value)).dtype.kind in "biufU":
            yield name, array
