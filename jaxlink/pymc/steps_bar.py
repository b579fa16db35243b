"""The progress of an optimization, as a bar of rich."""

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

__all__ = ["StepsBar", "steps_bar"]

# (steps that were made since, how it stands)
StepsBar = Callable[[int, str], None]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        if not (task.completed and task.elapsed):
            return Text("")
        rate = task.completed / task.elapsed
        return Text(f"{rate:,.0f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step")


@contextmanager
def steps_bar(show: bool, total: int | None, description: str) -> Iterator[StepsBar]:
    """A bar that lasts as long as the context; it says that it compiles at first, and
    times what comes after the first step.

    Arguments:
        show: whether there is one.
        total: the number of steps, if it is known.
        description: what is being done.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        TextColumn("{task.completed:,}") if total is None else MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
        TextColumn("{task.fields[standing]}", table_column=Column(no_wrap=True)),
        console=Console(stderr=True, theme=default_progress_theme),
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
