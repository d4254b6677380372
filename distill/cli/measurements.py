"""What `distill evaluate` shows on the terminal: a progress bar, tables of measures, and notes."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from distill.evaluation import Evaluation

_LABELS = {
    "model": "model",
    "linear_code": "linear code",
    "mean_spectrum": "mean spectrum",
    "silence": "silence",
    "ceiling": "ceiling",
}
_LABEL = max(map(len, _LABELS.values()))

_Cell: TypeAlias = tuple[str, int]
"""What stands in a cell, and the width of its column."""


@contextmanager
def evaluation_progress(console: Console, count: int) -> Iterator[Callable[[str, str], None]]:
    """Show a bar of `count` measurements; yield the function to call after each with row and recording."""
    with Progress(
        TextColumn("Measuring"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), TextColumn("{task.description}"),
        console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=600,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=count)

        def show(row: str, recording: str) -> None:
            bar.update(task, advance=1, description=escape(f"{printable(recording)}: {_LABELS[row]}"))

        yield show


def print_contenders(results: Mapping[str, Evaluation], listeners: Collection[str]) -> None:
    """Print a row of means for each contender, and one for what the originals have."""
    terms = next((result.mean.terms for result in results.values() if result.mean), {})
    original = next((result.mean.original_texture for result in results.values() if result.mean), None)
    groups = [("", _LABEL), *_listeners(listeners, "", ""), ("", 14), ("level dB", 17)]
    click.echo(_line(groups).rstrip())
    heads = [("", _LABEL), *_listeners(listeners, "Zimtohrli", "ViSQOL"), ("tones", 6), ("texture", 8)]
    heads += [("mean", 6), ("abs", 5), ("worst", 6), ("mel", 5), ("LSD", 6), ("MR-STFT", 8)]
    click.echo(_line(heads + [(name, len(name) + 2) for name in terms]))
    for name, result in results.items():
        mean = result.mean
        if mean is None:
            click.echo(f"{_LABELS[name]:{_LABEL}}nothing could be measured")
            continue
        worst = result.by_level[0][1].level_difference
        cells = [
            *_listeners(listeners, _number(mean.zimtohrli, 2), _number(mean.visqol, 2)),
            (_number(mean.tones, 2), 6),
            (_number(mean.texture, 1), 8),
            (_number(mean.level_difference, 1), 6),
            (_number(result.mean_absolute_level, 1), 5),
            (_number(worst, 1), 6),
            (_number(mean.mel, 1), 5),
            (_number(mean.log_spectral_distance, 2), 6),
            (_number(mean.multi_resolution_stft, 2), 8),
            *((f"{value:.3g}", len(term) + 2) for term, value in mean.terms.items()),
        ]
        click.echo(f"{_LABELS[name]:{_LABEL}}{_line(cells)}")
    if original is not None:
        cells = [*_listeners(listeners, "", ""), ("", 6), (_number(original, 1), 8)]
        click.echo(f"{'originals':{_LABEL}}{_line(cells)}")


def print_recordings(
    result: Evaluation, trained_on: Mapping[str, bool | None], listeners: Collection[str], most: int
) -> None:
    """Print a row for each of the `most` recordings that the model does worst."""
    ranking = result.ranking
    if not ranking or not most:
        return
    zimtohrli = [name for name in listeners if name == "zimtohrli"]
    heads = [*_listeners(zimtohrli, "Zimtohrli", ""), ("tones", 6), ("texture", 8), ("original's", 11)]
    heads += [("level", 6), ("mel", 5), ("LSD", 6), ("trained on", 11)]
    click.echo(f"\n{_line(heads)}  worst first")
    for name, metrics in ranking[:most]:
        known = {True: "yes", False: "no", None: "?"}[trained_on.get(name)]
        cells = [
            *_listeners(zimtohrli, _number(metrics.zimtohrli, 2), ""),
            (_number(metrics.tones, 2), 6),
            (_number(metrics.texture, 1), 8),
            (_number(metrics.original_texture, 1), 11),
            (_number(metrics.level_difference, 1), 6),
            (_number(metrics.mel, 1), 5),
            (_number(metrics.log_spectral_distance, 2), 6),
            (known, 11),
        ]
        click.echo(f"{_line(cells)}  {printable(name)}")
    if len(ranking) > most:
        click.echo(f"and {len(ranking) - most} more: --files {len(ranking)}")


def mean_note(result: Evaluation, trained_on: Mapping[str, bool | None]) -> str:
    """Say of which recordings the means are, and which values are best."""
    measured = [name for name, _ in result.measured]
    known = [trained_on.get(name) for name in measured]
    note = f"Mean over {len(measured)} of {len(result.results)} recordings"
    if True in known:
        note += f", {known.count(True)} of them trained on"
    if result.counts["tones"] < len(measured):
        note += f" (tones: over {result.counts['tones']})"
    return f"{note}. Best: Zimtohrli 5, ViSQOL 4.73, tones 1,\ntexture as the originals', everything else 0."


def printable(name: str) -> str:
    """Return a recording's name without characters that would steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def _listeners(names: Collection[str], zimtohrli: str, visqol: str) -> list[_Cell]:
    """Return the cells of the listeners that are there."""
    cells = {"zimtohrli": (zimtohrli, 10), "visqol": (visqol, 7)}
    return [cells[name] for name in cells if name in names]


def _line(cells: list[_Cell]) -> str:
    return "".join(f"{text:>{width}}" for text, width in cells)


def _number(value: float | None, digits: int) -> str:
    """Write a number in at most five characters, so that columns hold; `-` for none."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"
