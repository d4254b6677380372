"""The table of an evaluation: measures of a model and of baselines, as data and as text."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from attrs import frozen

from distill.audio.corpus import Skipped
from distill.audio.corpus.scanning import grouped
from distill.errors import printable
from distill.evaluation.listeners import LISTENERS
from distill.evaluation.results import Evaluation, Metrics

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
        listeners: the models of listeners that were used.
        missing: the models of listeners that are not installed.
        without_baselines: the reason why two baselines are missing, else empty.
    """

    contenders: Mapping[str, Evaluation]
    trained_on: Mapping[str, bool | None]
    skipped: tuple[Skipped, ...]
    absent: int
    listeners: tuple[str, ...]
    missing: tuple[str, ...]
    without_baselines: str = ""

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
        return told

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, files: int | None = None) -> str:
        """Return the table as text: the contenders, the recordings, and notes on what is missing.

        Args:
            files: the number of recordings to list, worst first. Default: all.
        """
        shown = len(self.model.ranking) if files is None else files
        lines = [
            *contender_lines(self.contenders, self.listeners),
            *recording_lines(self.model, self.trained_on, self.listeners, shown),
            f"\n{mean_note(self.model, self.trained_on)}",
        ]
        if self.absent:
            lines.append(f"not in the corpus: {self.absent} of the recordings that the run held out")
        lines += [f"left out: {printable(each.name)}: {each.left_out}" for each in self.model.left_out]
        lines += [f"skipped: {printable(each.path)}: {each.reason}" for each in grouped(self.skipped)]
        if self.without_baselines:
            lines.append(f"linear code and mean spectrum: left out, since {self.without_baselines}")
        if self.missing:
            names = " and ".join(LISTENERS[name] for name in self.missing)
            lines.append(f'{names}: pip install "distill[hearing]"')
        return "\n".join(lines)


def contender_lines(results: Mapping[str, Evaluation], listeners: Collection[str]) -> list[str]:
    """Return a row of means for each contender, and one for the originals."""
    terms = next((result.mean.terms for result in results.values() if result.mean), {})
    original = next((result.mean.original_texture for result in results.values() if result.mean), None)
    groups = [("", _LABEL), *_listeners(listeners, "", ""), ("", 14), ("level dB", 17)]
    lines = [_line(groups).rstrip()]
    heads = [("", _LABEL), *_listeners(listeners, "Zimtohrli", "ViSQOL"), ("tones", 6), ("texture", 8)]
    heads += [("mean", 6), ("abs", 5), ("worst", 6), ("mel", 5), ("LSD", 6), ("MR-STFT", 8)]
    lines.append(_line(heads + [(name, len(name) + 2) for name in terms]))
    for name, result in results.items():
        mean = result.mean
        if mean is None:
            lines.append(f"{LABELS[name]:{_LABEL}}nothing could be measured")
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
        lines.append(f"{LABELS[name]:{_LABEL}}{_line(cells)}")
    if original is not None:
        cells = [*_listeners(listeners, "", ""), ("", 6), (_number(original, 1), 8)]
        lines.append(f"{'originals':{_LABEL}}{_line(cells)}")
    return lines


def recording_lines(
    result: Evaluation, trained_on: Mapping[str, bool | None], listeners: Collection[str], most: int
) -> list[str]:
    """Return a row for each of the `most` worst recordings of the model."""
    ranking = result.ranking
    if not ranking or not most:
        return []
    zimtohrli = [name for name in listeners if name == "zimtohrli"]
    heads = [*_listeners(zimtohrli, "Zimtohrli", ""), ("tones", 6), ("texture", 8), ("original's", 11)]
    heads += [("level", 6), ("mel", 5), ("LSD", 6), ("trained on", 11)]
    lines = ["", f"{_line(heads)}  worst first"]
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
        lines.append(f"{_line(cells)}  {printable(name)}")
    if len(ranking) > most:
        lines.append(f"and {len(ranking) - most} more: --files {len(ranking)}")
    return lines


def mean_note(result: Evaluation, trained_on: Mapping[str, bool | None]) -> str:
    """Return a note on the recordings in the means, and on the best values."""
    measured = [name for name, _ in result.measured]
    known = [trained_on.get(name) for name in measured]
    note = f"Mean over {len(measured)} of {len(result.results)} recordings"
    if True in known:
        note += f", {known.count(True)} of them trained on"
    if result.counts["tones"] < len(measured):
        note += f" (tones: over {result.counts['tones']})"
    return f"{note}. Best: Zimtohrli 5, ViSQOL 4.73, tones 1,\ntexture as the originals', everything else 0."


def _listeners(names: Collection[str], zimtohrli: str, visqol: str) -> list[_Cell]:
    """Return the cells of the listeners that were used."""
    cells = {"zimtohrli": (zimtohrli, 10), "visqol": (visqol, 7)}
    return [cells[name] for name in cells if name in names]


def _line(cells: list[_Cell]) -> str:
    return "".join(f"{text:>{width}}" for text, width in cells)


def _number(value: float | None, digits: int) -> str:
    """Format a number in at most five characters, or `-` for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"
