"""The progress of a sampler: a bar for each chain, or one for all."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from pymc.progress_bar import ProgressBarOptions
from rich.theme import Theme

from jaxlink.pymc.shared.arguments import check_names
from jaxlink.pymc.shared.progress import bars

__all__ = ["MCMCProgress", "ProgressBar"]

type ProgressBar = bool | ProgressBarOptions


class MCMCProgress:
    """The bars of a run.

    Arguments:
        style: PyMC's ``progressbar``: ``True`` is ``"split+stats"``.
        chains, draws, tune: the number of each.
        theme: see `jaxlink.pymc.shared.progress.bars`.

    Attributes:
        display: the context that shows them.

    Raises:
        ValueError: the style is unknown.
    """

    def __init__(
        self,
        style: ProgressBar,
        chains: int,
        draws: int,
        tune: int,
        *,
        theme: Theme | str | None = None,
    ):
        if not isinstance(style, bool):
            styles = get_args(ProgressBarOptions)
            check_names([style], styles, "style of progressbar")
        text = "split+stats" if style is True else str(style)
        self._combined, self._with_stats = "combined" in text, "stats" in text
        self._tune = tune
        self._divergences = np.zeros(chains, int)
        self._done = np.zeros(chains, int)
        total, names = draws + tune, [f"Chain {i}" for i in range(chains)]
        if self._combined:
            total, names = total * chains, ["Sampling"]
        self.display = bars(style is not False, "step", theme=theme)
        self._tasks = [
            self.display.add_task(name, start=False, total=total, standing="compiling")
            for name in names
        ]

    def update(self, chain: int, diverging: Any, stats: Mapping[str, Any]) -> None:
        """Show more steps of a chain.

        Arguments:
            chain: the number of the chain.
            diverging: for each step since the last update, whether it diverged.
                Warm-up steps do not count. An update without steps starts the clock.
            stats: the ``step_size`` and ``n_steps`` of the last step.
        """
        task = self._tasks[0 if self._combined else chain]
        self.display.start_task(task)
        if not len(diverging):
            return
        count, warming = len(diverging), max(self._tune - self._done[chain], 0)
        self._divergences[chain] += np.sum(diverging[warming:])
        self._done[chain] += count
        standing = ["warm-up"] if self._done[chain] < self._tune else []
        if self._with_stats:
            own = slice(None) if self._combined else chain
            standing += [
                f"{self._divergences[own].sum()} div.",
                f"step {stats['step_size']:.2g}",
                f"{stats['n_steps']} grad.",
            ]
        self.display.update(task, advance=count, standing=", ".join(standing))
