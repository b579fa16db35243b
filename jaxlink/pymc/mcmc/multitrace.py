"""PyMC's MultiTrace of the draws of `sample`, and its callback for each draw."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pymc.backends.base import MultiTrace
from pymc.backends.ndarray import NDArray
from pymc.sampling.parallel import Draw

from jaxlink.pymc.mcmc.kernels import Shapes
from jaxlink.pymc.shared.arguments import Arrays

__all__ = ["Callback", "Recorder"]

# Takes keyword arguments: the `NDArray` trace of a chain, and a `Draw`.
Callback = Callable[..., Any]

# The names of the statistics in PyMC's NUTS, which `pm.to_inference_data` looks for.
_NAMES = {
    "lp": "model_logp",
    "acceptance_rate": "mean_tree_accept",
    "tree_depth": "depth",
    "n_steps": "tree_size",
}


class Recorder:
    """Keeps each draw as PyMC does while it samples.

    Arguments:
        model: the model.
        shapes: the shapes of all values of one step: free variables, value variables
            and deterministics.
        names: the values that the trace keeps.
        chains, tune, draws: the number of each.
        callback: called with each draw after it is kept.
    """

    def __init__(
        self,
        model: pm.Model,
        shapes: Shapes,
        names: Sequence[str],
        *,
        chains: int,
        tune: int,
        draws: int,
        callback: Callback | None,
    ):
        variables = {var.name: var for var in model.unobserved_value_vars}
        self._model, self._names, self._callback = model, names, callback
        self._values = [var.name for var in model.value_vars]
        self._tune, self._steps, self._next = tune, tune + draws, 0
        self._traces = [
            NDArray(
                model=model,
                vars=[variables[name] for name in names],
                fn=lambda *values: values,  # already computed
                var_shapes={name: shapes[name].shape for name in names},
                var_dtypes={name: shapes[name].dtype for name in names},
            )
            for _ in range(chains)
        ]

    def add(self, values: Arrays, stats: Arrays) -> None:
        """Add the next steps: arrays of shape ``(chains, steps, ...)``."""
        dtypes = {_NAMES.get(name, name): x.dtype for name, x in stats.items()}
        for chain, trace in enumerate(self._traces):
            if not self._next:
                trace.setup(self._steps, chain, [{**dtypes, "tune": np.bool_}])
        for step in range(stats["lp"].shape[1]):
            for chain, trace in enumerate(self._traces):
                drawn = {name: x[chain, step] for name, x in values.items()}
                of_step = {
                    _NAMES.get(name, name): x[chain, step] for name, x in stats.items()
                }
                self._record(trace, drawn, of_step)
            self._next += 1

    def _record(
        self, trace: NDArray, drawn: Mapping[str, Any], stats: Mapping[str, Any]
    ) -> None:
        tuning = self._next < self._tune
        of_samplers = [{**stats, "tune": tuning}]
        kept = {name: drawn[name] for name in self._names}
        trace.record(kept, of_samplers, in_warmup=tuning)
        if self._callback is not None:
            is_last = self._next == self._steps - 1
            point = {name: drawn[name] for name in self._values}
            draw = Draw(trace.chain, is_last, self._next, tuning, of_samplers, point)
            self._callback(trace=trace, draw=draw)

    def multitrace(self, *, discard_tuned: bool, took: float) -> MultiTrace:
        """The draws that every chain has."""
        for trace in self._traces:
            trace.close()
        tuned = min(self._tune, self._next)
        drawn = MultiTrace(self._traces)[tuned * discard_tuned : self._next]
        report = drawn.report
        report._n_tune, report._n_draws = tuned, self._next - tuned
        report._t_sampling = took
        return drawn
