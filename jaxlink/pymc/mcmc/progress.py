"""The progress of a sampler: a bar for each chain, or one for all."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from rich.theme import Theme

from jaxlink.pymc.shared.arguments import check_names
from jaxlink.pymc.shared.progress import progress_console

__all__ = ["MCMCProgress", "ProgressBar"]

ProgressBar = bool | Literal["split", "combined", "split+stats", "combined+stats"]

_STYLES = ["split", "split+stats", "stats+split"]
_STYLES += ["combined", "combined+stats", "stats+combined"]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        elapsed = task.finished_time or task.elapsed
        if not (task.completed and elapsed):
            return Text("")
        rate = task.completed / elapsed
        return Text(f"{rate:,.0f} it/s" if rate >= 1 else f"{1 / rate:.1f} s/it")


class MCMCProgress:
    """A context in which progress is shown.

    Arguments:
        style: as PyMC's ``progressbar``: ``True`` is ``"split+stats"``.
        chains, draws, tune: what is sampled.
        theme: as for `progress_console`.

    Raises:
        ValueError: there is no such style.
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
            check_names([style], _STYLES, "style of progressbar")
        text = "split+stats" if style is True else str(style)
        self._tune = tune
        self._combined = "combined" in text
        self._divergences = np.zeros(chains, int)
        self._done = np.zeros(chains, int)
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[phase]}"),
        ]
        if "stats" in text:
            columns.append(TextColumn("{task.fields[stats]}"))
        columns += [
            _Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        ]
        console = progress_console(theme)
        self._progress = Progress(*columns, console=console, disable=style is False)
        names = (
            ["Sampling"] if self._combined else [f"Chain {i}" for i in range(chains)]
        )
        total = (draws + tune) * (chains if self._combined else 1)
        self._tasks = [
            self._progress.add_task(
                name, start=False, total=total, phase="compiling", stats=""
            )
            for name in names
        ]

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, chain: int, diverging: Any, stats: Mapping[str, Any]) -> None:
        """Show more steps of a chain.

        Arguments:
            chain: which.
            diverging: of each step since the last update, whether it diverged. Those of
                the warm-up do not count. Without any step, the clock starts.
            stats: of the last step, the ``step_size`` and ``n_steps``.
        """
        task = self._tasks[0 if self._combined else chain]
        self._progress.start_task(task)
        if not len(diverging):
            return
        count, warming = len(diverging), max(self._tune - self._done[chain], 0)
        self._divergences[chain] += np.sum(diverging[warming:])
        self._done[chain] += count
        shown = self._divergences.sum() if self._combined else self._divergences[chain]
        step_size, gradients = stats["step_size"], stats["n_steps"]
        self._progress.update(
            task,
            advance=count,
            phase="warm-up" if self._done[chain] < self._tune else "draws",
            stats=f"{shown} div., step {step_size:.2g}, {gradients} grad.",
        )
