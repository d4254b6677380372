"""Terminal output of the commands: summary, progress bars, warnings, and the next commands to run."""

import math
import shlex
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from distill.cli.dashboard import Dashboard, components_in_words, seconds_left
from distill.cli.streams import warn
from distill.config.words import counted, duration_in_words, percentage
from distill.errors import printable, printable_lines
from distill.storage.metrics import WITH_GRADIENTS, recent_metrics

if TYPE_CHECKING:
    from distill.audio.progress import Progress as WorkProgress
    from distill.audio.soundfiles import Written
    from distill.training import observing
    from distill.training.record import Record
    from distill.training.retention import Retention

_SHOWN = 10

_LINE_SECONDS, _LINE_SHARE = 30.0, 0.02
"""Off a terminal, lines on the training are so many seconds apart, or that share of the time so far."""

_AFTER = {
    "calibrating": "Calibrating the model to its error",
    "keeping": "Measuring how much of the training to keep",
    "finishing": "Encoding the recordings",
    "writing": "Writing sounds to listen to",
    "page": "Making the page of the run",
}
"""What is done after the last step, by the stage of its progress."""

_WHILE_IT_TRAINS = ("overfitting", "nonfinite", "collapse", "gradient", "divergence", "recordings")
"""What warnings are about that come while the live display is shown."""


@contextmanager
def corpus_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar for decoding. Yield a function to call with the files done and their total."""
    with decoding_bar(console) as bar:
        task = bar.add_task("decode", total=None)

        def show(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        yield show


def decoding_bar(console: Console) -> Progress:
    """Return a progress bar for the decoding of recordings. It disappears at the end."""
    return Progress(
        TextColumn("Decoding recordings"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        console=console, transient=True, disable=not is_animated(console),
    )  # fmt: skip


def is_animated(console: Console) -> bool:
    """Return whether a console can draw over what it has drawn: a terminal, but not a dumb one."""
    return console.is_terminal and not console.is_dumb_terminal


class Display:
    """An observer that shows a training run on the terminal.

    Elsewhere, and on a terminal that cannot move its cursor (`TERM=dumb`), it prints a line for each held-out
    measurement, for the training twice a minute or more rarely, and for each stage after the last step. Used
    as a context manager, it restores the terminal in any case.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.is_animated = is_animated(console)
        self.dashboard = Dashboard()
        self.live = Live(self.dashboard, console=console, vertical_overflow="crop")
        self.decoding = decoding_bar(console)
        self.decoded = self.decoding.add_task("decode", total=None)
        self.finishing = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[count]}"),
            console=console, transient=True, disable=not self.is_animated,
        )  # fmt: skip
        self.stage = ""
        self._stage_said = -math.inf
        self.latest: Record | None = None
        self._told: Record | None = None
        self._said = -math.inf  # the training time of the last line in a log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        """Stop all live displays. A terminal can show only one at a time."""
        if self.decoding.live.is_started:
            self.decoding.stop()
        self.live.stop()
        if self.finishing.live.is_started:
            self.finishing.stop()

    def progress(self, progress: "WorkProgress") -> None:
        """Show the progress of decoding, or of a stage after the training."""
        if progress.stage == "decoding":
            self.decoding.update(self.decoded, completed=progress.done, total=progress.total)
            self.decoding.start()
            return
        begins = progress.stage != self.stage
        self.stage = progress.stage
        if not self.is_animated:
            self._log_stage(progress, begins=begins)
            return
        if begins:
            self._begin_stage(_AFTER[progress.stage])
        count = f"{progress.done}/{progress.total}" if progress.total > 1 else ""
        total = progress.total if progress.total > 1 else None
        for task in self.finishing.task_ids:
            self.finishing.update(task, completed=progress.done, total=total, count=count, refresh=begins)

    def _log_stage(self, progress: "WorkProgress", *, begins: bool) -> None:
        """Print how far a stage is when it begins, and then twice a minute."""
        now = time.monotonic()
        if begins or now >= self._stage_said + _LINE_SECONDS:
            self._stage_said = now
            count = f": {progress.done} of {progress.total}" if progress.total > 1 else ""
            say(self.console, f"{_AFTER[progress.stage]}{count} ...")

    def _begin_stage(self, text: str) -> None:
        for task in self.finishing.task_ids:
            self.finishing.remove_task(task)
        self.finishing.add_task(text, total=None, count="")
        if not self.finishing.live.is_started:
            self._stop()
            self.finishing.start()

    def summary(self, summary: "observing.Summary") -> None:
        """Print the summary of the run."""
        self._stop()
        table = Table.grid(padding=(0, 2))
        for term in summary.terms:
            start, end = term.first_weight, term.last_weight
            weight = f"{end:g}" if start == end else f"{start:g} rising to {end:g}"
            table.add_row("loss", f"{term.name}, weight {weight}", Text(term.origin, "dim"))
        # `Text` prints paths without parsing markup, since they may contain brackets.
        table.add_row("corpus", Text(printable(summary.corpus)), "")
        table.add_row("", f"{_extent(summary.train)}, to train on", "")
        table.add_row("", f"{_extent(summary.heldout)}, held out", "")
        from distill.audio.corpus.scanning import grouped  # loads torch, as does a summary

        skipped = grouped(summary.skipped)
        for each in skipped[:_SHOWN]:
            table.add_row("skipped", Text(printable(each.path)), Text(printable(each.reason), "yellow"))
        if len(skipped) > _SHOWN:
            table.add_row(
                "", Text(f"and {len(skipped) - _SHOWN} more, in {printable(summary.run.skipped)}"), ""
            )
        for remark in summary.remarks[:_SHOWN]:
            table.add_row("note", Text(printable(remark.path)), Text(printable(remark.text), "yellow"))
        if len(summary.remarks) > _SHOWN:
            table.add_row("", f"and {len(summary.remarks) - _SHOWN} more", "")
        size = f"{summary.parameters / 1e6:.1f} million parameters"
        table.add_row("model", f"{size}, {summary.latents_per_second:.0f} latents per second", "")
        table.add_row("begins", Text(printable(f"with {summary.start}")), "")
        table.add_row("device", f"{summary.device}, {summary.precision}", "")
        self.console.print(table)
        training = summary.recipe.training
        limit = training.time_limit
        self.dashboard.length = f" of {training.steps}" if limit is None else f", {limit:g} min in all"
        # What a resumed run has measured holds until gradients are measured again.
        with suppress(OSError):  # told of by the first record that is written
            for record in recent_metrics(summary.run.metrics, tail=WITH_GRADIENTS).records:
                self.dashboard.still.add(record.get("gradients"))
        if still := self.dashboard.still.names:
            say(self.console, _about_still(still))
        if self.is_animated:
            self.live.start()

    def record(self, record: "Record") -> None:
        """Show a record."""
        before = self.dashboard.still.names
        self.dashboard.add(record)
        if (still := self.dashboard.still.names) != before and still:
            say(self.console, _about_still(still))
        if record.split == "train":
            self.latest = record
        if self.is_animated:
            return
        apart = max(_LINE_SECONDS, _LINE_SHARE * record.seconds)
        if record.split == "train" and record.seconds < self._said + apart:
            return
        self._said = record.seconds
        left = duration_in_words(seconds_left(record), digits=1)
        at = f"step {record.step}{self.dashboard.length}, {left} left"
        measured = self._in_words(record)
        if record.split == "train":
            self._say_measured(f"{at}: trained {measured}")
        else:
            untold = self.latest if self.latest is not self._told else None
            when = f"at step {untold.step} " if untold and untold.step != record.step else ""
            trained = f", trained {when}{self._in_words(untold)}" if untold else ""
            self._say_measured(f"{at}: held-out {measured}{trained}")
        self._told = self.latest

    def _in_words(self, record: "Record") -> str:
        """Return the components of a record that change, in a line."""
        told, still = self.dashboard.told_of(record), self.dashboard.still.names
        return components_in_words({name: value for name, value in told.items() if name not in still})

    def _say_measured(self, text: str) -> None:
        """Print a line of a log, broken between components if it is for a dumb terminal."""
        width = self.console.width if self.console.is_terminal else len(text)
        glued = "  ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in text.split("  "))
        for line in textwrap.wrap(glued, width, subsequent_indent="  ", break_on_hyphens=False):
            say(self.console, line.replace("\N{NO-BREAK SPACE}", " "))

    def warning(self, warning: "observing.TrainingWarning") -> None:
        """Show a warning: in a panel during the training, on stderr before it."""
        text = printable_lines(warning.message)
        if warning.about in _WHILE_IT_TRAINS:
            self.console.print(Panel(Text(text), title="Warning", border_style="bold yellow"))
        else:
            warn(text)

    def done(self, outcome: "observing.Outcome") -> None:
        """Print the result of the run, and the next commands to run."""
        self._stop()
        folder = outcome.run.folder
        resume = ("train", "--resume", "--out", folder)
        if outcome.interrupted:
            at = f"at step {outcome.step}, and saved" if outcome.step else "before the first step"
            say(self.console, f"Interrupted {at}. Go on with:")
            self._print_command(*resume)
            return
        if outcome.was_finished:
            finished = f"The training was finished already, at step {outcome.step}."
            say(self.console, f"{finished} To train for longer, pass the time in all:")
            self._print_command(*resume, "--minutes", "M")
        if outcome.retention is not None:
            for line in in_words(outcome.retention).splitlines():
                say(self.console, line)
            if outcome.retention.recordings and outcome.retention.share < 1:
                say(self.console, "To keep all of it, without training again:")
                self._print_command(*resume, "--set", "training.keep=1")
        audio = outcome.run.audio
        hear = f" Originals and reconstructions to listen to: {audio}" if audio.exists() else ""
        say(self.console, f"Done.{hear}")
        if outcome.run.page.exists():
            say(self.console, f"Look at the run, and listen: {outcome.run.page}")
        say(self.console, "Next:")
        self._print_command("reconstruct", folder, "FILE...", "--out", "DIR")
        self._print_command("generate", folder, "-n", "8", "--out", "DIR")
        held_out = outcome.heldout.recordings
        if outcome.sharded:
            measurable = outcome.corpus if held_out else "RECORDINGS"
        else:
            measurable = "--heldout" if held_out else outcome.corpus
        self._print_command("evaluate", folder, measurable)

    def _print_command(self, *words: str | Path) -> None:
        say(self.console, "  distill " + " ".join(shlex.quote(str(word)) for word in words), style="bold")


def _about_still(names: Sequence[str]) -> str:
    named, change = " and ".join(names), "changes" if len(names) == 1 else "change"
    return f"{named} {change} nothing in the model, since the gradient is 0: totals are without it."


def _extent(extent: "observing.Extent") -> str:
    count, noun = (extent.shards, "shard") if extent.shards else (extent.recordings, "recording")
    return f"{counted(count, noun)}, {duration_in_words(extent.seconds, digits=1)}"


def in_words(retention: "Retention") -> str:
    """Return a sentence that says how much of the training is kept, and why."""
    judged, on = retention.recordings, counted(retention.recordings, "recording")
    if retention.share:
        why = f"which measured best on {on}" if judged else "as training.keep says"
        return f"Kept {percentage(retention.share)} of the training, {why}."
    why = f"since no share of it measured better on {on}" if judged else "as training.keep says"
    same = "the model is the one that the training began with."
    more = "\nMore recordings, more time or other terms may change that." if judged else ""
    return f"Kept nothing of the training, {why}: {same}{more}"


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is, without line breaks, so that a path in it can be copied."""
    console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


def say_written(written: "Written") -> None:
    """Print the path of a written file, with notes on its level, and on the recording it was made from."""
    note = ""
    # What is below would be shown as 0.
    whole, peaks = written.attenuation >= 0.05, written.reduction >= 0.05
    if written.exceeds_full_scale:
        note = f"  (peak {written.peak:.2f}, kept as 32-bit float)"
    elif whole and peaks:
        note = f"  (turned down by {written.attenuation:.1f} dB, peaks by {written.reduction:.1f} dB more)"
    elif peaks:
        note = f"  (peaks turned down by {written.reduction:.1f} dB)"
    elif whole:
        note = f"  (turned down by {written.attenuation:.1f} dB)"
    if written.remark:
        note += f"  (the recording {written.remark})"
    click.echo(f"{printable(written.path)}{note}")
