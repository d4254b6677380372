"""The progress bars of commands that measure or reconstruct recordings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from distill.audio.progress import Progress as WorkProgress
from distill.cli.display import decoding_bar, is_animated
from distill.errors import printable


@contextmanager
def evaluation_progress(console: Console) -> Iterator[Callable[[WorkProgress], None]]:
    """Show a progress bar for each stage: decoding, measuring, sounds for a map, and reconstructing.

    Yield a function to call with progress.
    """
    bars = {
        "decoding": decoding_bar(console),
        "measuring": _bar(console, "Measuring"),
        "map": _bar(console, "Making sounds for the map"),
        "reconstructing": _bar(console, "Reconstructing", unit=" s"),
    }
    tasks = {stage: bar.add_task("", total=None) for stage, bar in bars.items()}

    def show(progress: WorkProgress) -> None:
        for stage, bar in bars.items():
            if stage != progress.stage and bar.live.is_started:
                bar.stop()
        bar, task = bars[progress.stage], tasks[progress.stage]
        description = escape(printable(progress.item))
        bar.update(task, completed=progress.done, total=progress.total, description=description)
        bar.start()

    try:
        yield show
    finally:
        for bar in bars.values():
            if bar.live.is_started:
                bar.stop()


def _bar(console: Console, text: str, unit: str = "") -> Progress:
    return Progress(
        TextColumn(text), BarColumn(), TextColumn(f"{{task.completed}}/{{task.total}}{unit}"),
        TimeRemainingColumn(), TextColumn("{task.description}"),
        console=console, transient=True, disable=not is_animated(console), speed_estimate_period=600,
    )  # fmt: skip
