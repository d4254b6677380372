"""The progress of measuring the axes of a run, on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from distill.cli.display import is_animated

if TYPE_CHECKING:
    from distill.audio.progress import Progress as WorkProgress

_LINE_SECONDS = 10.0
"""Off a terminal, lines on the progress are so many seconds apart."""


@contextmanager
def axes_progress(console: Console) -> Iterator[Callable[["WorkProgress"], None]]:
    """Show a progress bar on a terminal, or print lines. Yield a function to call with progress.

    Nothing is shown before the first call, since the axes of most runs are known.
    """
    bar = Progress(
        TextColumn("Measuring the axes"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        console=console, transient=True, disable=not is_animated(console),
    )  # fmt: skip
    task = bar.add_task("axes", total=None)
    said: float | None = None

    def show(progress: "WorkProgress") -> None:
        nonlocal said
        now = time.monotonic()
        if is_animated(console):
            bar.update(task, completed=progress.done, total=progress.total)
            bar.start() if progress.done < progress.total else bar.stop()
        elif said is None:
            click.echo("Measuring the axes of the run ...", err=True)
            said = now
        elif now >= said + _LINE_SECONDS:
            click.echo(f"Measuring the axes: {progress.done} of {progress.total} ...", err=True)
            said = now

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()
