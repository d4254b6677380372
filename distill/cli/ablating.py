"""Terminal output of `distill ablate`: the plan, the progress of all runs, and what has failed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from distill.cli.display import say
from distill.config.words import counted, duration_in_words
from distill.errors import printable

if TYPE_CHECKING:
    from types import TracebackType

    from distill.ablation.ablate import PlannedAblation
    from distill.ablation.progress import Running, Status

_MOST_ROWS = 12
_NAME = 30


def show_plan(console: Console, planned: "PlannedAblation", *, jobs: int) -> None:
    """Print what an ablation is going to train, and how long that may take."""
    plan = planned.plan
    table = Table.grid(padding=(0, 2))
    runs, pending = len(plan.runs), planned.pending
    seeds = ", ".join(map(str, plan.seeds))
    table.add_row("folder", Text(printable(planned.folder)))
    table.add_row("runs", f"{runs}: {len(plan.variants)} variants, each with seed {seeds}")
    if len(pending) < runs:
        table.add_row("", f"{runs - len(pending)} of them are done already")
    table.add_row("each", _length(plan.runs[0].recipe.get("training", {})))
    table.add_row("reference", Text(printable(",".join(plan.reference.loss))))
    if plan.reference.settings:
        table.add_row("", Text(printable(plan.reference.difference)))
    for variant in plan.variants[1:][:_MOST_ROWS]:
        table.add_row("variant", Text(printable(variant.difference)))
    if len(plan.variants) > _MOST_ROWS + 1:
        table.add_row("", f"and {len(plan.variants) - 1 - _MOST_ROWS} more")
    if any(variant.left_out for variant in plan.variants):
        table.add_row("weights", "those of the remaining terms stay as they are")
    if plan.kept:
        table.add_row("note", Text(f"{printable(plan.kept)} is the only term, and is not left out"))
    table.add_row("time", planned.estimate(jobs))
    console.print(table)


def _length(training: Mapping[str, Any]) -> str:
    from distill.config.settings import DEFAULT_MINUTES

    if "steps" in training:
        return counted(training["steps"], "step")
    minutes = training.get("minutes", DEFAULT_MINUTES)
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


class AblationDisplay:
    """A display of all runs in progress on a terminal, or a line for each that ends elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.whole = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[left]}"),
            console=console,
        )  # fmt: skip
        self.runs = Progress(
            TextColumn("  {task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[state]}"),
            console=console,
        )  # fmt: skip
        self.task = self.whole.add_task("", total=1, left="")
        self.rows: dict[str, TaskID] = {}
        self.live = Live(Group(self.whole, self.runs), console=console, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self.live.stop()

    def show(self, status: "Status") -> None:
        """Show the progress."""
        ended = len(status.done) + len(status.failed)
        if status.last:
            failure = status.failed.get(status.last)
            how = "done" if failure is None else "failed"
            left = "" if status.seconds_left is None or ended == status.total else f", {_left(status)}"
            say(self.console, f"{status.last}: {how} ({ended} of {status.total}{left})")
            if failure is not None:
                for line in failure.split("\n"):
                    say(self.console, f"  {line}", style="red")
        failed = f", {len(status.failed)} failed" if status.failed else ""
        self.whole.update(
            self.task,
            description=f"{ended} of {status.total} runs{failed}",
            completed=ended + sum(run.progress for run in status.running),
            total=status.total,
            left=_left(status),
        )
        for name in self.rows.keys() - {run.name for run in status.running}:
            self.runs.remove_task(self.rows.pop(name))
        for run in status.running:
            if run.name not in self.rows and len(self.rows) < _MOST_ROWS:
                self.rows[run.name] = self.runs.add_task(_short(run.name), total=1, state="")
            if run.name in self.rows:
                self.runs.update(self.rows[run.name], completed=run.progress, state=_state(run))


def say_failures(failed: Mapping[str, str], then: str) -> None:
    """Print on standard error which runs have failed and why, and what is done `then`."""
    if not failed:
        return
    runs = "run has" if len(failed) == 1 else "runs have"
    click.echo(f"{len(failed)} {runs} failed. {then}:", err=True)
    for name, message in failed.items():
        lines = printable(message.split("\n")[0])
        click.echo(f"  {printable(name)}: {lines}", err=True)


def _state(run: "Running") -> str:
    if not run.step:
        return "starts"
    loss = "" if run.loss is None else f", loss {run.loss:.4g}"
    return "is measured" if run.progress >= 1 else f"step {run.step}{loss}"


def _left(status: "Status") -> str:
    if status.seconds_left is None:
        return ""
    return f"{duration_in_words(status.seconds_left)} left"


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) <= _NAME else f"{text[: _NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
