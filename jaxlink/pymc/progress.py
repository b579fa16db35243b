"""The progress of a run over samples, as a bar of rich."""

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
from rich.text import Text

__all__ = ["Bar", "progress_bar"]

# (samples that were done since, what is being done now)
Bar = Callable[[int, str], None]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        if not (task.completed and task.elapsed):
            return Text("")
        rate = task.completed / task.elapsed
        return Text(f"{rate:,.0f} draws/s" if rate >= 1 else f"{1 / rate:.1f} s/draw")


@contextmanager
def progress_bar(show: bool, total: int) -> Iterator[Bar]:
    """A bar that lasts as long as the context; it says that it compiles at first, and
    times what comes after.

    Arguments:
        show: whether there is one.
        total: the number of samples.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, theme=default_progress_theme),
        disable=not show,
    )
    with progress:
        task = progress.add_task("Compiling ...", total=total, start=False)

        def advance(count: int, description: str) -> None:
            progress.start_task(task)
            progress.update(task, advance=count, description=description)

        yield advance
