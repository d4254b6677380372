"""Measures of the recordings that a run held out, or of others, file by file, kept in the run folder."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import TypeAlias

import attrs
from attrs import field, frozen

import distill
from distill.arguments import corpus_location, optional_callable
from distill.audio.corpus import NamedArray, Skipped
from distill.audio.corpus.membership import Membership
from distill.audio.corpus.places import temporary_cache
from distill.audio.progress import Progress
from distill.config import structure
from distill.config.words import counted
from distill.errors import ConfigError, RunError, printable, shortened
from distill.evaluation.contenders import evaluate
from distill.evaluation.listeners import Listener, quick_listeners
from distill.evaluation.recordings import Measured, corpus_settings, open_measured
from distill.evaluation.results import Metrics
from distill.inference import Model, load
from distill.model import sounds
from distill.storage.checkpoint_files import checkpoint_paths
from distill.storage.files import write_text
from distill.storage.run import Run, run_of

StrPath: TypeAlias = str | os.PathLike[str]

_FORMAT = 1
"""The version of the file of measures; another one is not read."""

_LARGEST = 1e38
"""No measure of sounds in float32 is larger, and the square of a larger number may not be one."""


@frozen(kw_only=True)
class FileMeasures:
    """The measures of a recording or, if it has none, the reason `left_out`.

    `digest` is that of the samples in the recording's file, by which runs of different corpora share
    recordings. It is empty for pieces of shards. `trained_on` says whether the model was trained on it, None
    if unknown.
    """

    name: str
    digest: str
    trained_on: bool | None
    metrics: Metrics | None
    left_out: str = ""

    @property
    def key(self) -> str:
        """A key that is equal for equal recordings."""
        return self.digest or self.name


@frozen(kw_only=True)
class Measures:
    """The measures of recordings by one model, at its `sample_rate` in Hz.

    `model` is the SHA-256 of the file of the model. `absent` is the number of held-out recordings of the run
    that are not in its corpus any more. `skipped` are the files that cannot be used, of other recordings than
    those of the run.
    """

    files: tuple[FileMeasures, ...]
    sample_rate: int
    model: str
    absent: int = 0
    skipped: tuple[Skipped, ...] = ()

    @property
    def skipped_in_words(self) -> list[str]:
        """A sentence about the files that cannot be used, or none."""
        if not self.skipped:
            return []
        names = shortened([printable(f"{each.path} ({each.reason})") for each in self.skipped])
        return [f"{counted(len(self.skipped), 'file')} cannot be used: {names}."]

    def values(self, name: str) -> dict[str, float]:
        """Return a measure by the keys of the recordings, NaN where it is not defined or not measured.

        `name` is that of an attribute of `distill.evaluation.Metrics`, such as `"mel"`.
        """
        return {each.key: _number(each.metrics, name) for each in self.files}


@frozen
class _Kept:
    """An entry of the file of measures: one recording."""

    metrics: Metrics | None = None
    left_out: str = ""


@frozen(kw_only=True)
class _Conditions:
    """Everything besides the recording that measures depend on. A file with other values is not read."""

    format: int
    distill: str
    model: str
    full_scale: float
    listeners: dict[str, str] = field(factory=dict)


@frozen(kw_only=True)
class _Cache:
    conditions: _Conditions
    recordings: dict[str, _Kept]


def heldout_measures(
    run: Run | StrPath,
    recordings: StrPath | Iterable[NamedArray] | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Measures:
    """Return the measures of a run's held-out recordings, or of other ones, file by file.

    They are kept in the run folder, in `measures.json`, and are measured again if the model, Distill or the
    models of listeners have changed, or if the file is damaged. Sounds are made with fixed seeds, so that
    measures of runs are paired. Only the first minute of a long recording is measured, and ViSQOL, which
    takes long, is left out.

    Args:
        run: the run, whether finished or not, or its folder.
        recordings: a folder of recordings, a single file, shards or arrays. Default: those that the run held
            out, of its corpus.
        on_progress: called while recordings are decoded and measured.

    Raises:
        RunError: the folder is not a run, holds no model yet, or held out nothing.
        CorpusError: the corpus does not exist, or holds none of the recordings to measure.
    """
    tell = optional_callable(on_progress, culprit="on_progress") or (lambda _: None)
    run = run_of(run)
    model = load(run)
    listeners = quick_listeners()
    conditions = _Conditions(
        format=_FORMAT,
        distill=distill.__version__,
        model=_checksum(run),
        full_scale=corpus_settings(run).full_scale if recordings is None else 1.0,
        listeners={name: version(name) for name in listeners},
    )
    kept = _read(run, conditions)
    if recordings is None:
        known = _known(run, kept)
        if known is not None:
            return Measures(files=known, sample_rate=model.sample_rate, model=conditions.model)
    if isinstance(recordings, str | os.PathLike):
        recordings = corpus_location(recordings, culprit="recordings", recorded=False)
    with temporary_cache() as cache:
        measured = open_measured(
            run,
            recordings,
            heldout=recordings is None,
            sample_rate=model.sample_rate,
            cache=cache,
            on_progress=lambda done, total: tell(Progress(stage="decoding", done=done, total=total)),
        )
        before = len(kept)
        try:
            files = _measure(model, measured, kept, listeners, tell)
        finally:  # what was measured before an interruption stays measured
            if len(kept) > before:
                _write(run, _Cache(conditions=conditions, recordings=kept))
    return Measures(
        files=files,
        sample_rate=model.sample_rate,
        model=conditions.model,
        absent=measured.absent,
        skipped=() if recordings is None else measured.skipped,
    )


def _measure(
    model: Model,
    measured: Measured,
    kept: dict[str, _Kept],
    listeners: Mapping[str, Listener],
    tell: Callable[[Progress], None],
) -> tuple[FileMeasures, ...]:
    """Measure recordings. Those in `kept` are not measured again; the others are added to it."""
    files = []
    tell(Progress(stage="measuring", done=0, total=measured.count))
    for done, (recording, read) in enumerate(measured.entries(), 1):
        found = kept.get(recording.digest)
        if found is None:
            (result,) = evaluate(
                partial(sounds.reconstruct, model.vae, model.representation),
                [(recording.name, read())],
                sample_rate=model.sample_rate,
                listeners=listeners,
            ).results
            found = _Kept(result.metrics, result.left_out)
            if recording.digest:
                kept[recording.digest] = found
        files.append(
            FileMeasures(
                name=recording.name,
                digest=recording.digest,
                trained_on=measured.trained_on.get(recording.name),
                metrics=found.metrics,
                left_out=found.left_out,
            )
        )
        tell(Progress(stage="measuring", done=done, total=measured.count, item=recording.name))
    return tuple(files)


def _known(run: Run, kept: Mapping[str, _Kept]) -> tuple[FileMeasures, ...] | None:
    """Return the measures of the recordings that a run held out if all are kept, else None."""
    try:
        heldout = Membership.read(run.split).heldout
    except RunError:  # which is told when the recordings are opened
        return None
    if not heldout or any(member.digest not in kept for member in heldout):
        return None
    return tuple(
        FileMeasures(
            name=member.name,
            digest=member.digest,
            trained_on=False,
            metrics=kept[member.digest].metrics,
            left_out=kept[member.digest].left_out,
        )
        for member in heldout
    )


def _checksum(run: Run) -> str:
    """Return the SHA-256 of the file that the model of a run is loaded from."""
    paths = [run.model] if run.model.exists() else [*checkpoint_paths(run.checkpoints).values()]
    try:
        with paths[-1].open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, IndexError):  # of a run that is training, whose newest checkpoint was removed just now
        return ""


def _read(run: Run, conditions: _Conditions) -> dict[str, _Kept]:
    """Return the stored measures of a run: none if the file is damaged or was measured otherwise."""
    try:
        cache = structure(json.loads(run.measures.read_bytes()), _Cache)
    except (OSError, ValueError, RecursionError, ConfigError):
        return {}
    whole = all(
        bool(each.left_out) if each.metrics is None else _plausible(each.metrics)
        for each in cache.recordings.values()
    )
    return dict(cache.recordings) if whole and cache.conditions == conditions and conditions.model else {}


def _plausible(metrics: Metrics) -> bool:
    numbers = [each for each in attrs.asdict(metrics).values() if isinstance(each, int | float)]
    return metrics.finite and all(abs(each) <= _LARGEST for each in numbers)


def _write(run: Run, cache: _Cache) -> None:
    with suppress(RunError):  # a run that may not be written is measured every time
        write_text(run.measures, json.dumps(attrs.asdict(cache), allow_nan=False) + "\n")


def _number(metrics: Metrics | None, name: str) -> float:
    value = None if metrics is None else getattr(metrics, name)
    return math.nan if value is None else float(value)
