"""The progress of a run, as a bar of rich."""

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

__all__ = ["Bar", "progress_bar", "progress_console"]

# (units that were done since, how it stands)
Bar = Callable[[int, str], None]


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        if not (task.completed and task.elapsed):
            return Text("")
        rate, unit = task.completed / task.elapsed, self._unit
        if rate >= 1:
            return Text(f"{rate:,.0f} {unit}s/s")
        return Text(f"{1 / rate:.1f} s/{unit}")


def progress_console(theme: Theme | str | None) -> Console:
    """Where progress is shown, in a theme of rich; default: PyMC's."""
    own = theme if isinstance(theme, Theme) else default_progress_theme
    return Console(stderr=True, theme=own)


@contextmanager
def progress_bar(
    show: bool,
    total: int | None,
    unit: str,
    description: str,
    *,
    theme: Theme | str | None = None,
) -> Iterator[Bar]:
    """A bar that lasts as long as the context; it says that it compiles at first, and
    times what comes after the first call.

    Arguments:
        show: whether there is one.
        total: the number of units, if it is known.
        unit: what is counted, in the singular.
        description: what is being done.
        theme: of rich. A string, which PyMC takes for style sheets of marimo, is not
            used.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        TextColumn("{task.completed:,}") if total is None else MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
        TextColumn("{task.fields[standing]}", table_column=Column(no_wrap=True)),
        console=progress_console(theme),
        disable=not show,
    )
    with progress:
        task = progress.add_task("Compiling", total=total, start=False, standing="")

        def advance(count: int, standing: str) -> None:
            progress.start_task(task)
            progress.update(
                task, advance=count, description=description, standing=standing
            )

        yield advance
