"""The table of an evaluation: measures of a model and of baselines, as data and as text."""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from distill.arguments import whole_number
from distill.audio.corpus import Skipped
from distill.audio.corpus.levels import Remark
from distill.audio.corpus.scanning import grouped
from distill.config.words import counted
from distill.errors import printable
from distill.evaluation.columns import (
    COLUMNS,
    FRECHET,
    LEVEL,
    NOT_OF_SILENCE,
    TEXTURE,
    best_values,
    computed_columns,
    default_columns,
    parse_columns,
    shorter,
)
from distill.evaluation.frechet import FEWEST_FRAMES
from distill.evaluation.listeners import LISTENERS
from distill.evaluation.results import Evaluation, Metrics
from distill.evaluation.speech import SPEECH
from distill.evaluation.spreadsheet import csv_text
from distill.storage.files import require_writable, write_atomically

LABELS = {
    "model": "model",
    "linear_code": "linear code",
    "mean_spectrum": "mean spectrum",
    "silence": "silence",
    "ceiling": "ceiling",
}
_LABEL = max(map(len, LABELS.values()))

_Cell: TypeAlias = tuple[str, int]
"""The text of a cell, and the width of its column."""

_LEVELS: list[_Cell] = [("mean", 6), ("abs", 5), ("worst", 6)]
"""The heads of the three columns of a contender's level."""

_FEWEST_TOLD = 10
"""How many files are named of those that are left out, noted or skipped, at the least."""

_FEWER = ("tones", *SPEECH)
"""The measures that many recordings lack."""


@frozen(kw_only=True)
class Row:
    """A recording with its metrics or, if it has none, the reason why it is left out of the mean.

    `trained_on` says whether the model was trained on it, None if unknown.
    """

    name: str
    trained_on: bool | None
    metrics: Metrics | None
    left_out: str = ""


@frozen(kw_only=True)
class Table:
    """The evaluation of a model and its baselines. `str()` returns it as a text table.

    Attributes:
        contenders: the evaluation of the `"model"` and of the baselines `"linear_code"`, `"mean_spectrum"`,
            `"silence"` and, as an upper bound, `"ceiling"`. The first two baselines are missing if the run
            has no statistics of its recordings.
        trained_on: whether the model was trained on a recording, by name; None if unknown.
        skipped: files that could not be decoded.
        absent: the number of held-out recordings of the run that are not in the corpus.
        listeners: the models of listeners, and the measures of speech, that were used.
        missing: the models of listeners that were asked for and are not installed.
        without_baselines: the reason why two baselines are missing, else empty.
        remarks: remarks on measured recordings whose level or length is unusual.
    """

    contenders: Mapping[str, Evaluation]
    trained_on: Mapping[str, bool | None]
    skipped: tuple[Skipped, ...]
    absent: int
    listeners: tuple[str, ...]
    missing: tuple[str, ...]
    without_baselines: str = ""
    remarks: tuple[Remark, ...] = ()

    @property
    def model(self) -> Evaluation:
        """The evaluation of the model."""
        return self.contenders["model"]

    @property
    def rows(self) -> tuple[Row, ...]:
        """A row for each recording, with the metrics of the model."""
        return tuple(
            Row(
                name=each.name,
                trained_on=self.trained_on.get(each.name),
                metrics=each.metrics,
                left_out=each.left_out,
            )
            for each in self.model.results
        )

    @property
    def mean(self) -> Metrics | None:
        """The mean of the model's metrics over the recordings that have metrics, or None if none has."""
        return self.model.mean

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as printed by `distill evaluate --json`. Missing baselines are None."""
        told: dict[str, Any] = {
            name: self.contenders[name].as_json() if name in self.contenders else None for name in LABELS
        }
        for row in filter(None, told.values()):
            for recording in row["recordings"]:
                recording["trained_on"] = self.trained_on.get(recording["name"])
        told["skipped"] = [{"path": each.path, "reason": each.reason} for each in self.skipped]
        told["remarks"] = [{"path": each.path, "text": each.text} for each in self.remarks]
        return told

    def to_csv(self) -> str:
        """Return comma-separated values: a line for each recording and contender, and for each mean."""
        return csv_text(self.contenders, self.trained_on)

    def write_csv(self, file: Path | str, *, overwrite: bool = False) -> None:
        """Write `to_csv` to a file.

        Raises:
            OutputError: the file exists and `overwrite` is not set, or its path is no file's.
            RunError: the file cannot be written.
        """
        path = Path(file).expanduser()
        require_writable([path], overwrite=overwrite, instead="file with --csv")
        write_atomically(path, self.to_csv().encode(errors="backslashreplace"))

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, files: int | None = None, columns: str | Iterable[str] | None = None) -> str:
        """Return the table as text: the contenders, the recordings, and notes on what is missing.

        Args:
            files: the number of recordings to list, worst first. Default: all.
            columns: the measures to show by their names in `to_dict`, such as `"mel,si_sdr"`, or `"all"`.
                Default: what fits in 80 characters.

        Raises:
            InputError: a column is unknown, or `files` is not a whole number from 0 on.
        """
        files = None if files is None else whole_number(files, culprit="files", least=0)
        shown = len(self.model.ranking) if files is None else files
        chosen = None if columns is None else parse_columns(columns)
        told = computed_columns(chosen or default_columns(self.listeners), self.listeners)
        lines = [
            *contender_lines(self.contenders, self.listeners, chosen),
            *recording_lines(self.model, self.trained_on, self.listeners, shown, chosen),
            f"\n{mean_note(self.model, self.trained_on, told)}",
        ]
        silent = any(result.has_silence for result in self.contenders.values())
        if silent and (lacking := [COLUMNS[name].head for name in told if name in NOT_OF_SILENCE]):
            lines.append(f"{' and '.join(lacking)} -: not defined for silence")
        if self.absent:
            lines.append(f"not in the corpus: {self.absent} of the recordings that the run held out")
        most = None if files is None else max(files, _FEWEST_TOLD)
        lines += _told("left out", [(each.name, each.left_out) for each in self.model.left_out], most)
        lines += _told("note", [(each.path, each.text) for each in self.remarks], most)
        lines += _told("skipped", [(each.path, each.reason) for each in grouped(self.skipped)], most)
        if self.without_baselines:
            lines.append(f"linear code and mean spectrum: left out, since {self.without_baselines}")
        if self.missing:
            names = " and ".join(LISTENERS[name] for name in self.missing)
            lines.append(f'{names}: pip install "distill[hearing]"')
        return "\n".join(lines)


def _told(head: str, about: Sequence[tuple[str, str]], most: int | None) -> list[str]:
    """Return a line for each file that something is said about, at most so many, and where the others are."""
    lines = [f"{head}: {printable(name)}: {text}" for name, text in about[:most]]
    if len(about) > len(lines):
        lines.append(f"{head}: {len(about) - len(lines):,} more, which --json lists")
    return lines


def contender_lines(
    results: Mapping[str, Evaluation], listeners: Collection[str], columns: Sequence[str] | None = None
) -> list[str]:
    """Return a row of means for each contender, and one for the originals."""
    shown = computed_columns(columns or default_columns(listeners), listeners)
    terms = next((result.mean.terms for result in results.values() if result.mean), {})
    original = next((result.mean.original_texture for result in results.values() if result.mean), None)
    heads: list[_Cell] = [("", _LABEL)]
    groups = heads.copy()
    for name in shown:
        heads += _heads(name)
        groups.append(("level dB" if name == LEVEL else "", sum(width for _, width in _heads(name))))
    lines = [_line(groups).rstrip()] if LEVEL in shown else []
    lines.append(_line(heads + [(name, len(name) + 2) for name in terms]))
    for name, result in results.items():
        mean = result.mean
        if mean is None:
            lines.append(f"{LABELS[name]:{_LABEL}}nothing could be measured")
            continue
        cells = [cell for column in shown for cell in _mean_cells(column, result, mean)]
        cells += [(f"{value:.3g}", len(term) + 2) for term, value in mean.terms.items()]
        lines.append(f"{LABELS[name]:{_LABEL}}{_line(cells)}")
    if original is not None and TEXTURE in shown:
        before = shown[: shown.index(TEXTURE)]
        texture = (_number(original, 1), COLUMNS[TEXTURE].width)
        cells = [("", sum(width for _, width in _heads(name))) for name in before]
        lines.append(f"{'originals':{_LABEL}}{_line([*cells, texture])}")
    return lines


def recording_lines(
    result: Evaluation,
    trained_on: Mapping[str, bool | None],
    listeners: Collection[str],
    most: int,
    columns: Sequence[str] | None = None,
) -> list[str]:
    """Return a row for each of the `most` worst recordings of the model."""
    ranking = result.ranking
    if not ranking or not most:
        return []
    shown = computed_columns(columns or shorter(default_columns(listeners)), listeners)
    shown = tuple(name for name in shown if name != FRECHET)  # which a recording has not
    heads: list[_Cell] = []
    for name in shown:
        heads.append((COLUMNS[name].head, COLUMNS[name].width))
        if name == TEXTURE:
            heads.append(("original's", 11))
    lines = ["", f"{_line([*heads, ('trained on', 11)])}  worst first"]
    for name, metrics in ranking[:most]:
        known = {True: "yes", False: "no", None: "?"}[trained_on.get(name)]
        cells = [cell for column in shown for cell in _recording_cells(column, metrics)]
        lines.append(f"{_line([*cells, (known, 11)])}  {printable(name)}")
    if len(ranking) > most:
        lines.append(f"and {len(ranking) - most} more: --files {len(ranking)}")
    return lines


def mean_note(result: Evaluation, trained_on: Mapping[str, bool | None], columns: Sequence[str]) -> str:
    """Return a note on the recordings in the means, and on the best values."""
    measured = [name for name, _ in result.measured]
    known = [trained_on.get(name) for name in measured]
    count, total = len(measured), len(result.results)
    of = counted(total, "recording") if count == total else f"{count:,} of {counted(total, 'recording')}"
    note = f"Measured on {of}" if count == 1 else f"Mean over {of}"
    if True in known:
        note += ", which was trained on" if count == 1 else f", {known.count(True)} of them trained on"
    fewer = [
        f"{COLUMNS[name].head}: over {result.counts[name]}"
        for name in columns
        if name in _FEWER and result.counts[name] < len(measured)
    ]
    if fewer:
        note += f" ({', '.join(fewer)})"
    note += "."
    if FRECHET in columns:
        needed = "" if result.frechet_frames >= FEWEST_FRAMES else f", and needs {FEWEST_FRAMES}"
        note += f" Frechet is over {result.frechet_frames} frames{needed}."
    return textwrap.fill(f"{note} {best_values(columns)}", 80)


def _heads(column: str) -> list[_Cell]:
    """Return the heads of a column in the rows of contenders."""
    return _LEVELS if column == LEVEL else [(COLUMNS[column].head, COLUMNS[column].width)]


def _mean_cells(column: str, result: Evaluation, mean: Metrics) -> list[_Cell]:
    """Return the cells of a column in the row of a contender."""
    if column == LEVEL:
        worst = result.by_level[0][1].level_difference
        values = (
            (None, None, None)
            if result.has_silence
            else (mean.level_difference, result.mean_absolute_level, worst)
        )
        return [(_number(value, 1), width) for value, (_, width) in zip(values, _LEVELS, strict=True)]
    value = result.frechet if column == FRECHET else getattr(mean, column)
    if column in NOT_OF_SILENCE and result.has_silence:
        value = None
    return [(_number(value, COLUMNS[column].digits), COLUMNS[column].width)]


def _recording_cells(column: str, metrics: Metrics) -> list[_Cell]:
    """Return the cells of a column in the row of a recording."""
    value = None if column in NOT_OF_SILENCE and metrics.is_silent else getattr(metrics, column)
    cells = [(_number(value, COLUMNS[column].digits), COLUMNS[column].width)]
    if column == TEXTURE:
        cells.append((_number(metrics.original_texture, 1), 11))
    return cells


def _line(cells: list[_Cell]) -> str:
    return "".join(f"{text:>{width}}" for text, width in cells)


def _number(value: float | None, digits: int) -> str:
    """Format a number in at most five characters, without a sign of what is rounded to 0; None is `-`."""
    if value is None:
        return "-"
    return f"{value:z.{digits}f}" if abs(value) < 100 else f"{value:.0f}"
