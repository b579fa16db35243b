"""From the positions of any sampler to the DataTree that PyMC returns."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import jax
import numpy as np
import pymc as pm
from arviz_base import dict_to_dataset
from xarray import DataTree

from jaxlink.pymc.batched.runner import Run, RunOptions, takes_run_options
from jaxlink.pymc.batched.samples import Samples
from jaxlink.pymc.model.entries import Entries
from jaxlink.pymc.model.function import transformed_names
from jaxlink.pymc.model.initial_point import initial_position
from jaxlink.pymc.model.transforms import Ravel, constrain
from jaxlink.pymc.predict.compute import compute_log_likelihood
from jaxlink.pymc.shared.arguments import Arrays, quoted
from jaxlink.pymc.shared.context import resolve_model
from jaxlink.pymc.shared.datatree import (
    add_version,
    posterior_names,
    posterior_tree,
)

__all__ = ["to_datatree"]


@takes_run_options
def to_datatree(
    positions: Any,
    model: pm.Model | None = None,
    *,
    sample_stats: Mapping[str, Any] | None = None,
    var_names: Sequence[str] | None = None,
    log_likelihood: bool = False,
    sample_dims: Sequence[str] = ("chain", "draw"),
    attrs: Mapping[str, Any] | None = None,
    host_callback: bool = False,
    **options: Unpack[RunOptions],
) -> DataTree:
    """The DataTree of a posterior, from the positions that any sampler returns.

    Arguments:
        positions: positions as `logdensity` takes them, in unconstrained space, each
            array with two more axes in front, of chains and draws; or an array of flat
            vectors (`ravel`), of shape ``(chains, draws, size)``.
        model: default: the model on the context stack.
        sample_stats: statistics of the sampler by name, arrays of shape
            ``(chains, draws, ...)``. ArviZ knows ``diverging``, ``energy``,
            ``acceptance_rate``, ``step_size``, ``tree_depth`` and ``n_steps``.
        var_names: free random variables and deterministics; default: all.
        log_likelihood: whether to add the pointwise log likelihood.
        sample_dims: ``("draw", "chain")`` if the axis of draws comes first, as of a
            `jax.lax.scan` over steps of vmapped chains.
        attrs: attributes of the groups, such as the name of the sampler.
        host_callback: see `jaxlink.function`.
        options: see `RunOptions`, but for ``store``.

    Returns:
        what `sample` returns: values in the variables' own space and deterministics
        with their dims and coords, statistics, observed and constant data.

    Raises:
        TypeError: there is no model.
        ValueError: names or shapes are not those of the model's positions, or the model
            lacks a variable of ``var_names``, or ``store`` is given.
        MemoryError: see `RunOptions`.

    Example:
        >>> import jaxlink.pymc, numpy as np, pymc as pm
        >>> with pm.Model():
        ...     sigma = pm.HalfNormal("sigma")
        ...     positions = {"sigma_log__": np.zeros((4, 100))}
        ...     tree = jaxlink.pymc.to_datatree(positions, progressbar=False)
        >>> float(tree["posterior"]["sigma"].mean())
        1.0
    """
    model = resolve_model(model)
    if options.get("store") is not None:
        raise ValueError("to_datatree has no store=: write tree.to_zarr(path).")
    run = Run(**options)
    order = list(sample_dims)
    if sorted(order) != ["chain", "draw"]:
        raise ValueError(
            'sample_dims must be ("chain", "draw") or ("draw", "chain"), not '
            f"{tuple(sample_dims)!r}."
        )
    names = posterior_names(model, var_names, transformed=False)
    fn = constrain(model, names, host_callback=host_callback)
    start = initial_position(model, host_callback=host_callback)
    flat = Ravel.of(start, transformed_names(model))
    values, grid = _read(positions, flat, order)
    stats = _read_stats(sample_stats or {}, grid, order)
    coords = {"chain": range(grid[0]), "draw": range(grid[1])}
    dtypes = {name: entry.dtype for name, entry in flat.shapes.items()}

    def build(arrays: Arrays, coords: Mapping[str, Any]) -> DataTree:
        return DataTree.from_dict({"values": dict_to_dataset(dict(arrays))})

    tree = run(
        fn,
        _constrained,
        Samples(coords, values, dtypes),
        build,
        description="Converting ...",
    )
    found = {name: tree["values"][name].to_numpy() for name in names}
    tree = posterior_tree(
        model,
        {"": (found, stats)},
        names,
        None,
        dict(attrs or {}),
        coords={},
        dims={},
    )
    add_version(tree)
    if log_likelihood:
        # It is added to the tree.
        compute_log_likelihood(
            tree, model=model, host_callback=host_callback, **options
        )
    return tree


def _constrained(fn: Any, _: Any, position: Any) -> Any:
    return fn(position)


def _read(
    positions: Any, flat: Ravel, order: list[str]
) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
    """The entries of positions, with chains and draws in front, and the numbers of
    these."""
    if not isinstance(positions, Mapping):
        if discrete := [n for n, x in flat.shapes.items() if x.dtype.kind in "iub"]:
            raise ValueError(
                "a vector of floats cannot hold the discrete variables "
                f"{quoted(discrete)}: pass a dict of arrays by name."
            )
        vectors = np.asarray(positions)
        if vectors.ndim != 3 or vectors.shape[-1] != flat.size:
            raise ValueError(
                "positions must be a dict of arrays by name, or an array of shape "
                f"({order[0]}s, {order[1]}s, {flat.size}), as flat vectors of this "
                f"model have {flat.size} entries, but is of shape {vectors.shape}."
            )
        positions = jax.vmap(jax.vmap(flat.unravel))(vectors)
    wanted = Entries("position", tuple(flat.shapes), elsewhere=flat.elsewhere)
    wanted.check(positions, "to_datatree(positions)", ValueError)
    found = {name: np.asarray(positions[name]) for name in flat.shapes}
    grid: tuple[int, ...] = ()
    for name, entry in flat.shapes.items():
        value = found[name]
        if value.ndim != 2 + len(entry.shape) or value.shape[2:] != entry.shape:
            raise ValueError(
                f"`{name}` must be of shape ({order[0]}s, {order[1]}s, "
                f"*{entry.shape}), but is {value.shape}. Positions of one chain need "
                "an axis of length 1."
            )
        grid = grid or value.shape[:2]
        if value.shape[:2] != grid:
            raise ValueError(
                f"the positions differ in their numbers of {order[0]}s and "
                f"{order[1]}s: `{name}` has {value.shape[:2]}, others have {grid}."
            )
    if not grid:
        raise ValueError("the model has no free variables, so there are no positions.")
    if 0 in grid:
        raise ValueError(f"there are no positions: their axes have lengths {grid}.")
    ordered = {name: _ordered(value, order) for name, value in found.items()}
    chains, draws = next(iter(ordered.values())).shape[:2]
    return ordered, (chains, draws)


def _read_stats(
    stats: Mapping[str, Any], grid: tuple[int, int], order: list[str]
) -> dict[str, np.ndarray]:
    found = {}
    for name, value in stats.items():
        array = np.asarray(value)
        if array.dtype == object:
            raise ValueError(
                f"the statistic `{name}` must be an array, but is a "
                f"{type(value).__name__}."
            )
        if array.ndim < 2 or _ordered(array, order).shape[:2] != grid:
            raise ValueError(
                f"the statistic `{name}` must begin with axes of {order[0]}s and "
                f"{order[1]}s, as the positions do ({grid[0]} chains of {grid[1]} "
                f"draws), but is of shape {array.shape}."
            )
        found[name] = _ordered(array, order)
    return found


def _ordered(value: np.ndarray, order: list[str]) -> np.ndarray:
    return value if order[0] == "chain" else value.swapaxes(0, 1)
