"""Shared recordings as an original and as the models of several runs make them: to play and to see.

Shapes: `C` channels, `N` samples.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import NamedArray, is_sharded
from distill.audio.corpus.places import temporary_cache
from distill.audio.corpus.scanning import find_audio
from distill.audio.progress import Progress
from distill.audio.soundfiles import resample
from distill.comparison.answers import ORIGINAL
from distill.comparison.gathering import Compared, Gathered, Shared
from distill.errors import CorpusError, DistillError
from distill.evaluation.recordings import corpus_location_of, open_measured
from distill.inference import Model, load
from distill.model import sounds
from distill.reporting.sounds import Spectrograms, as_flac, spectrograms_of

StrPath: TypeAlias = str | os.PathLike[str]

MOST, _SECONDS = 8, 10
"""How many recordings a page plays, and how much of each: listening tests take no more than about 12 s."""


@frozen(kw_only=True, eq=False)
class Versions:
    """A recording and what the runs make of it, as FLAC files of one length by name.

    `original` is the name of the recording itself, and the runs have those of `names_of`. All are turned down
    by `attenuation` dB, so that none clips.
    """

    name: str
    sounds: Mapping[str, bytes]
    attenuation: float
    channels: int
    sample_rate: int
    spectrograms: Spectrograms


def names_of(runs: Sequence[Compared]) -> dict[str, Compared]:
    """Return the runs that have measures, and so a model, by the names of their sounds."""
    return {f"run-{number}": each for number, each in enumerate(runs) if each.measures is not None}


def versions_of(
    facts: Gathered,
    on: StrPath | Iterable[NamedArray] | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[tuple[Versions, ...], tuple[str, ...]]:
    """Return the recordings that come back worst, and a sentence for each that cannot be read.

    The order is by the mean rating of Zimtohrli, if there is one, else by the mean mel distance.
    """
    runs = names_of(facts.runs)
    used = [each for each in facts.recordings if each.used]
    versions: list[Versions] = []
    problems: list[str] = []
    if not used:
        return (), ()
    goodness = _goodness(used, runs)
    chosen = sorted(used, key=lambda each: goodness[each.key])
    with temporary_cache() as cache:
        models = {key: load(each.run) for key, each in runs.items()}
        for number, recording in enumerate(chosen[:MOST], 1):
            try:
                versions.append(_versions(recording, runs, models, on, cache))
            except DistillError as error:
                problems.append(
                    f"{recording.name} cannot be played: {error.problem}. {error.remedy}".rstrip()
                )
            if on_progress is not None:
                total = min(MOST, len(chosen))
                on_progress(Progress(stage="measuring", done=number, total=total, item=recording.name))
    return tuple(versions), tuple(problems)


def _goodness(recordings: Sequence[Shared], runs: Mapping[str, Compared]) -> dict[str, tuple[float, float]]:
    """Return how good recordings are, by their keys: by the mean rating, then by the mean mel distance."""
    means = []
    for name in ("zimtohrli", "mel"):
        measured = [each.measures.values(name) for each in runs.values() if each.measures is not None]
        means.append([sum(each[one.key] for each in measured) / len(measured) for one in recordings])
    return {
        each.key: (
            math.inf if math.isnan(rating) else rating,
            math.inf if math.isnan(distance) else -distance,
        )
        for each, rating, distance in zip(recordings, *means, strict=True)
    }


def _versions(
    recording: Shared,
    runs: Mapping[str, Compared],
    models: Mapping[str, Model],
    on: StrPath | Iterable[NamedArray] | None,
    cache: Path,
) -> Versions:
    rate = max(model.sample_rate for model in models.values())
    opened = {
        key: _waveform(each, recording, models[key].sample_rate, on, cache) for key, each in runs.items()
    }
    highest = next(key for key, model in models.items() if model.sample_rate == rate)
    original = opened[highest]
    made = {ORIGINAL: original}
    for key, model in models.items():
        sound = sounds.reconstruct(model.vae, model.representation, opened[key])
        made[key] = _fitted(resample(sound, model.sample_rate, rate), original.shape[-1])
    peak = max(1.0, *(float(sound.abs().max()) for sound in made.values()))
    titles = {ORIGINAL: ORIGINAL} | {key: each.name for key, each in runs.items()}
    return Versions(
        name=recording.name,
        sounds={key: as_flac(torch.clamp(sound[:2] / peak, -1, 1), rate) for key, sound in made.items()},
        attenuation=20 * math.log10(peak),
        channels=len(original),
        sample_rate=rate,
        spectrograms=spectrograms_of({titles[key]: sound.mean(dim=0) for key, sound in made.items()}, rate),
    )


def _waveform(
    compared: Compared,
    recording: Shared,
    rate: int,
    on: StrPath | Iterable[NamedArray] | None,
    cache: Path,
) -> Tensor:
    """Return the beginning of a recording `[C, N]`, of the run's corpus or of `on`.

    Raises:
        CorpusError: it is not there, or has changed since it was measured.
    """
    place: Any = corpus_location_of(compared.run, cache) if on is None else on
    name = recording.name
    if compared.measures is not None:  # it may have another name in another corpus
        name = next(each.name for each in compared.measures.files if each.key == recording.key)
    if isinstance(place, str | os.PathLike):
        if is_sharded(str(place)):
            raise CorpusError(
                "it is in shards, of which single recordings are not read",
                remedy="Compare on a folder of recordings to hear them: --on FOLDER.",
            )
        folder = Path(place)
        place = str(_file(folder, name) if folder.is_dir() else folder)
    else:
        place = [each for each in place if each[0] == name]
    measured = open_measured(compared.run, place, heldout=on is None, sample_rate=rate, cache=cache)
    for found, read in measured.entries():
        if found.digest == recording.key:
            return read()[:, : _SECONDS * rate]
    raise CorpusError(
        "it has changed since it was measured", culprit=recording.name, remedy="Compare again to hear it."
    )


def _file(folder: Path, name: str) -> Path:
    """Return the file of a recording, whose path may not be valid text."""
    path = folder / name
    if path.exists():
        return path
    return next((each.path for each in find_audio(folder).candidates if each.name == name), path)


def _fitted(waveform: Tensor, length: int) -> Tensor:
    """Return a waveform `[C, N]` cut or extended by silence to a length."""
    return torch.nn.functional.pad(waveform, (0, max(0, length - waveform.shape[-1])))[:, :length]
