"""Read a trace in any form that PyMC takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
from pymc.backends.base import MultiTrace
from pytensor.compile.sharedvalue import SharedVariable
from xarray import Dataset, DataTree

from jaxlink.pymc.batched.samples import Samples
from jaxlink.pymc.shared.arguments import quoted

__all__ = [
    "TraceData",
    "explain_lengths",
    "read_dataset",
    "read_trace",
    "select_samples",
]


@dataclass(frozen=True)
class TraceData:
    """Samples of variables, and the data from which they were drawn.

    Attributes:
        sample_coords: the labels along each sample dimension.
        names: the names of the variables.
        value: returns the samples of one of them, of shape ``(*sample shape, ...)``,
            which may be loaded lazily.
        constant_data, coords: the model's data and coordinates at that time, by name.
        observed: the names of the observed variables.
    """

    sample_coords: Mapping[str, Any]
    names: Sequence[str]
    value: Callable[[str], Any]
    constant_data: Mapping[str, Any] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    observed: Sequence[str] = ()


def read_trace(trace: Any, sample_dims: Sequence[str]) -> TraceData:
    """Read a trace, in any form that `pm.sample_posterior_predictive` takes.

    Arguments:
        trace: a DataTree with a posterior group, a single group, a Dataset, a list of
            points or a MultiTrace.
        sample_dims: the sample dimensions of a DataTree or Dataset.

    Raises:
        TypeError: it is something else.
        ValueError: it has no samples, or lacks these dimensions.
    """
    if isinstance(trace, MultiTrace):
        return _read_multitrace(trace)
    if isinstance(trace, list) and all(isinstance(point, Mapping) for point in trace):
        return _read_points(trace)
    if isinstance(trace, Dataset):
        return read_dataset(trace, sample_dims)
    if not isinstance(trace, DataTree):
        hint = " Pass a list of points: [trace]." if isinstance(trace, Mapping) else ""
        raise TypeError(
            "trace must be a DataTree, a Dataset, a list of points or a MultiTrace, "
            f"not {type(trace).__name__}.{hint}"
        )
    children = trace.children
    dataset = children.get("posterior", trace).dataset
    if not dataset.data_vars and "posterior" not in children:
        raise ValueError(
            "the trace has no posterior. Its groups are "
            f"{quoted(children)}: pass one of them, such as trace.prior."
        )
    data = children.get("constant_data")
    return read_dataset(
        dataset,
        sample_dims,
        constant_data={} if data is None else _arrays(data.data_vars),
        coords={} if data is None else _arrays(data.coords),
        observed=[str(name) for name in children.get("observed_data", {})],
    )


def read_dataset(
    dataset: Dataset,
    sample_dims: Sequence[str],
    *,
    constant_data: Mapping[str, Any] | None = None,
    coords: Mapping[str, Any] | None = None,
    observed: Sequence[str] = (),
) -> TraceData:
    """Read a group of a trace; ``coords`` are added to its own."""
    if isinstance(sample_dims, str) or not sample_dims:
        raise ValueError(
            'sample_dims must be a list, such as ["chain", "draw"], not '
            f"{sample_dims!r}."
        )
    sizes = dataset.sizes
    if missing := [dim for dim in sample_dims if dim not in sizes]:
        raise ValueError(
            f"the trace has no dimension {quoted(missing)}. It has "
            f"{quoted(map(str, sizes))}: name the sample dimensions in sample_dims."
        )
    _refuse_empty([sizes[dim] for dim in sample_dims])

    def value(name: str) -> Any:
        variable = dataset[name].variable
        if missing := [dim for dim in sample_dims if dim not in variable.dims]:
            raise ValueError(
                f"`{name}` of the trace has no dimension {quoted(missing)}, which is a "
                "sample dimension."
            )
        return variable.transpose(*sample_dims, ...)

    return TraceData(
        {dim: dataset[dim] for dim in sample_dims},
        [str(name) for name in dataset.data_vars],
        value,
        constant_data or {},
        {**(coords or {}), **_arrays(dataset.coords)},
        observed,
    )


def _read_multitrace(trace: MultiTrace) -> TraceData:
    _refuse_empty([trace.nchains, len(trace)])

    def value(name: str) -> Any:
        return np.stack(trace.get_values(name, combine=False, squeeze=False))

    coords = {"chain": np.arange(trace.nchains), "draw": np.arange(len(trace))}
    return TraceData(coords, list(trace.varnames), value)


def _read_points(points: Sequence[Mapping[str, Any]]) -> TraceData:
    _refuse_empty([len(points)])
    for i, point in enumerate(points):
        if point.keys() != points[0].keys():
            raise ValueError(
                f"the points of the trace differ: the first has {quoted(points[0])}, "
                f"number {i} has {quoted(point)}."
            )

    def value(name: str) -> Any:
        return np.stack([np.asarray(point[name]) for point in points])[None]

    coords = {"chain": np.arange(1), "draw": np.arange(len(points))}
    return TraceData(coords, list(points[0]), value)


def _refuse_empty(sizes: Sequence[int]) -> None:
    if 0 in sizes:
        raise ValueError("the trace is empty: it has no draws.")


def _arrays(variables: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): variable.data for name, variable in variables.items()}


def select_samples(trace: TraceData, names: Sequence[str], model: pm.Model) -> Samples:
    """The samples of some variables of a model.

    Raises:
        ValueError: the trace lacks one, or has it with another shape than the model.
    """
    if missing := [name for name in names if name not in trace.names]:
        raise ValueError(
            f"the trace lacks {quoted(missing)}, which the model needs. It has "
            f"{quoted(trace.names)}."
        )
    dims = tuple(trace.sample_coords)
    values = {name: trace.value(name) for name in names}
    for name, value in values.items():
        shape, expected = value.shape[len(dims) :], model[name].type.shape
        pairs = zip(shape, expected, strict=False)
        if len(shape) != len(expected) or any(b not in (None, a) for a, b in pairs):
            wanted = ", ".join("?" if n is None else str(n) for n in expected)
            wanted += "," if len(expected) == 1 else ""
            raise ValueError(
                f"`{name}` of the trace is of shape {shape} (without {quoted(dims)}), "
                f"but ({wanted}) in the model."
            )
    dtypes = {name: np.dtype(model[name].type.dtype) for name in names}
    return Samples(trace.sample_coords, values, dtypes)


def explain_lengths(samples: Samples, model: pm.Model) -> str:
    """The values whose lengths differ from those of the model's dimensions now. This
    may be intended, or explain why shapes do not match."""
    found = []
    for name, value in samples.values.items():
        dims = model.named_vars_to_dims.get(name) or ()
        for dim, length in zip(dims, value.shape[len(samples.shape) :], strict=False):
            now = model.dim_lengths.get(dim) if dim is not None else None
            if isinstance(now, SharedVariable) and now.get_value() != length:
                found.append(
                    f"`{name}` of the trace has {length} along `{dim}`, which is now "
                    f"{now.get_value()} long"
                )
    return "; ".join(found)
