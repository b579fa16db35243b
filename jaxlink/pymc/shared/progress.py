"""Progress bars.

They use rich directly. PyMC's bars for chains import matplotlib, which PyMC does not
install, and its simple bar shows a percentage without counts or rates.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pymc.progress_bar import default_progress_theme
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text
from rich.theme import Theme

__all__ = ["Bar", "bars", "progress_bar"]

# (units done since the last call, a text to show beside the bar)
Bar = Callable[[int, str], None]


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        elapsed, unit = task.finished_time or task.elapsed, self._unit
        if not (task.completed and elapsed):
            return Text("")
        rate = task.completed / elapsed
        if rate >= 1:
            return Text(f"{rate:,.0f} {unit}s/s")
        return Text(f"{1 / rate:.1f} s/{unit}")


def bars(
    show: bool, unit: str, *, ends: bool = True, theme: Theme | str | None = None
) -> Progress:
    """A display on standard error, still without bars. Each task needs a field
    ``standing``, the text beside its bar.

    Arguments:
        show: whether anything is displayed.
        unit: what is counted, in the singular.
        ends: whether the totals are known.
        theme: a rich theme; default: PyMC's. A string, which PyMC takes as a style
            sheet for marimo, is ignored.
    """
    theme = theme if isinstance(theme, Theme) else default_progress_theme
    clock = TimeRemainingColumn(elapsed_when_finished=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        _Rate(unit),
        clock if ends else TimeElapsedColumn(),
        TextColumn("{task.fields[standing]}", table_column=Column(no_wrap=True)),
        console=Console(stderr=True, theme=theme),
        disable=not show,
    )


@contextmanager
def progress_bar(
    show: bool,
    total: int | None,
    unit: str,
    description: str,
    *,
    theme: Theme | str | None = None,
) -> Iterator[Bar]:
    """One bar, shown while the context lasts. It says "Compiling" until it is first
    called, and measures the time from then on.

    Arguments:
        show, unit, theme: see `bars`.
        total: the number of units, if it is known.
        description: what is being done.
    """
    with bars(show, unit, ends=total is not None, theme=theme) as progress:
        task = progress.add_task("Compiling", total=total, start=False, standing="")

        def advance(count: int, standing: str) -> None:
            progress.start_task(task)
            progress.update(
                task, advance=count, description=description, standing=standing
            )

        yield advance
