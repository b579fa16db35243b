"""One draw of a predictive run, computed again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pymc as pm
from xarray import DataTree

from jaxlink.pymc.batched.chunks import Chunks, evaluate
from jaxlink.pymc.batched.samples import Samples, fold_in_data
from jaxlink.pymc.model.function import ModelFunction
from jaxlink.pymc.model.predictive import posterior_predictive, prior
from jaxlink.pymc.predict.forward import draw_from_prior, draw_given
from jaxlink.pymc.predict.read_trace import TraceData, read_trace, select_samples

__all__ = ["Redrawn", "redraw"]


@dataclass(frozen=True)
class Redrawn:
    """A predictive draw.

    Attributes:
        fn: the function of a key, and of given values if there are any.
        key: the key of the draw.
        given: the values given that it reads, by name.
        known: all values of that sample in the posterior.
        values: what was drawn, and what was kept, by name.
    """

    fn: ModelFunction
    key: jax.Array
    given: dict[str, Any]
    known: dict[str, Any]
    values: dict[str, Any]

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments of ``fn``."""
        takes_draw = self.fn.argument is not None
        return (self.key, self.given) if takes_draw else (self.key,)


def redraw(
    model: pm.Model,
    key: jax.Array,
    run: Mapping[str, Any],
    idata: DataTree,
    labels: Mapping[str, int],
    *,
    host_callback: bool,
) -> Redrawn:
    """Compute a draw again.

    Arguments:
        model: the model.
        key: the key of the run.
        run: what the tree says about it.
        idata: the tree, with the posterior that the draws were given.
        labels: the labels of the draw along ``chain`` and ``draw``.

    Raises:
        ValueError: the posterior does not fit the model, or lacks the draw.
    """
    names = run["var_names"]
    if run["function"] == "sample_prior_predictive":
        fn = prior(model, names, host_callback=host_callback)
        samples = Samples({dim: np.array([label]) for dim, label in labels.items()})
        call: Any = draw_from_prior
        others: Mapping[str, Any] = {}
    else:
        read = read_trace(idata, list(labels))
        fn = posterior_predictive(
            model,
            names,
            sample_vars=run["sample_vars"],
            freeze_vars=run["freeze_vars"],
            given=read.names,
            constant_data=read.constant_data,
            coords=read.coords,
            host_callback=host_callback,
        )
        call = draw_given([name for name in names if name not in fn.names])
        every = select_samples(read, fn.names, model)
        index = {dim: _find(read, dim, label) for dim, label in labels.items()}
        cell = tuple(slice(i, i + 1) for i in index.values())
        samples = Samples(
            # By these numbers, the samples of the run had their keys.
            {dim: fold_in_data(every.coords[dim])[[i]] for dim, i in index.items()},
            {name: value[cell] for name, value in every.values.items()},
            every.dtypes,
        )
        others = {
            name: np.asarray(read.value(name)[cell])[0, 0]
            for name in read.names
            if name in model.named_vars and name not in names
        }
    values: dict[str, Any] = {}

    def take(first: int, last: int, arrays: Mapping[str, np.ndarray]) -> None:
        values.update({name: x[0, 0].copy() for name, x in arrays.items()})

    chunks = Chunks(fn, call, samples, key=key, batch_size=1)
    chunks.compile()
    evaluate(chunks, 1, take, lambda n: None)
    given = {name: x[0] for name, x in samples.take(0, 1).items()}
    own = key
    for number in samples.ids(0, 1):
        own = jax.random.fold_in(own, number[0])
    return Redrawn(fn, own, given, {**others, **given}, {**given, **values})


def _find(read: TraceData, dim: str, label: int) -> int:
    found = np.flatnonzero(np.asarray(read.sample_coords[dim]) == label)
    if not len(found):
        raise ValueError(
            f"the posterior has no {dim} {label}, which the draw was given."
        )
    return int(found[0])
