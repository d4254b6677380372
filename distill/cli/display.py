"""What a training shows on the terminal: a summary, a progress bar with every component, warnings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from distill.audio.corpus import Corpus, Split, Stream
from distill.audio.soundfiles import Written
from distill.model import VAE
from distill.recipe import Draft
from distill.training.retention import Retention
from distill.training.trainer import Record

_SKIPPED_SHOWN = 10


@contextmanager
def corpus_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while recordings are decoded; give the function to call with files done and in all."""
    with Progress(
        TextColumn("Decoding recordings"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        console=console, transient=True, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("decode", total=None)

        def show(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        yield show


def summary(console: Console, draft: Draft, corpus: Corpus, vae: VAE, *, device: str, begun: str) -> None:
    """Say what is about to be trained, on what, with which loss."""
    recipe = draft.recipe
    train, heldout = corpus.train, corpus.heldout
    rate = recipe.representation.sample_rate
    latents = vae.latent_size * rate / recipe.representation.hop / vae.stride
    table = Table.grid(padding=(0, 2))
    for term in draft.terms:
        config = getattr(recipe.loss, term.name)
        start, end = config.weight_at(0.0), config.weight_at(1.0)
        weight = f"{end:g}" if start == end else f"{start:g} rising to {end:g}"
        table.add_row("loss", f"{term.name}, weight {weight}", Text(term.origin, "dim"))
    # Paths are no markup: one may hold brackets.
    table.add_row("corpus", Text(str(corpus.folder)), "")
    table.add_row("", f"{_extent(train)}, to train on", "")
    table.add_row("", f"{_extent(heldout)}, held out", "")
    for skipped in corpus.skipped[:_SKIPPED_SHOWN]:
        table.add_row("skipped", Text(skipped.path), Text(skipped.reason, "yellow"))
    if len(corpus.skipped) > _SKIPPED_SHOWN:
        table.add_row("", f"and {len(corpus.skipped) - _SKIPPED_SHOWN} more", "")
    parameters = sum(parameter.numel() for parameter in vae.parameters())
    table.add_row("model", f"{parameters / 1e6:.1f} million parameters, {latents:.0f} latents per second", "")
    table.add_row("begins", Text(f"with {begun}"), "")
    table.add_row("device", device, "")
    console.print(table)


def _extent(split: Split | Stream) -> str:
    if isinstance(split, Stream):
        return f"{len(split.shards)} shards, {_minutes(split.seconds)}"
    count = len(split.recordings)
    return f"{count} recording{'' if count == 1 else 's'}, {_minutes(split.seconds)}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


class Display:
    """The progress bar of a training; off a terminal, a line for each held-out measurement."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            SpinnerColumn(), BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.description}"),
            console=console,
        )  # fmt: skip
        self.task = self.bar.add_task("starting", total=1.0)
        self.trained, self.heldout = Text(), Text(style="bold")
        self.live = Live(Group(self.bar, self.trained, self.heldout), console=console)
        self.latest: Record | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def show(self, record: Record) -> None:
        """Show a record of either split."""
        if record.split == "heldout":
            self.heldout.plain = f"held-out  {_components(record)}"
            if not self.console.is_terminal:
                trained = f", trained {_components(self.latest)}" if self.latest else ""
                say(self.console, f"step {record.step}: held-out {_components(record)}{trained}")
            return
        self.latest = record
        left = record.seconds * (1 - record.progress) / max(record.progress, 1e-6)
        rate = f"{record.audio_rate:.0f} s of audio per s"
        text = f"step {record.step}, {rate}, {_minutes(left)} left"
        self.bar.update(self.task, completed=record.progress, description=text)
        self.trained.plain = f"trained   {_components(record)}"

    def warn(self, message: str) -> None:
        """Show what must not be overlooked."""
        self.console.print(Panel(message, title="Warning", border_style="bold yellow"))


def _components(record: Record | None) -> str:
    named = record.components.items() if record else ()
    return "  ".join(
        f"{name} {value:.4g}" for name, value in named if "/" not in name and name != "gradient_norm"
    )


def in_words(retention: Retention) -> str:
    """Say how much of what was learnt is kept, and why."""
    share = f"Kept {retention.share:.1%} of what was learnt".replace(".0%", "%")
    if not retention.recordings:
        return f"{share}, as training.keep says."
    judged = f"judged on {retention.recordings} recording{'' if retention.recordings == 1 else 's'}"
    reason = "no measure got worse" if retention.share == 1 else "with more, a measure got worse"
    more = "" if retention.share == 1 else " --set training.keep=1 keeps all."
    return f"{share}: {reason}, {judged}.{more}"


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: nothing in it is markup, and a path in it can be copied whole."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def say_written(written: Written) -> None:
    """Name a file that was written, and say so if it is louder than full scale, or was turned down."""
    note = ""
    if written.exceeds_full_scale:
        note = f"  (peak {written.peak:.2f}, kept as 32-bit float)"
    elif written.attenuation:
        note = f"  (turned down by {written.attenuation:.1f} dB)"
    click.echo(f"{written.path}{note}")
