"""Shared functions for the tables of `docs/sound.md`: reading of recordings, and figures of an evaluation."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from distill.audio.corpus.scanning import find_audio
from distill.audio.soundfiles import read_audio, resample
from distill.evaluation import Evaluation, evaluate, installed_listeners
from distill.evaluation.contenders import Reconstruct

MEASURES = ("Zimtohrli", "tones", "texture", "abs. level dB", "worst level dB", "mel dB", "LSD dB")

Sounds = Sequence[tuple[str, Tensor]]
"""The names of recordings and their waveforms `[1, N]`."""


def read_sounds(paths: Iterable[Path], sample_rate: int) -> Sounds:
    """Return the first channel of each recording."""
    sounds = []
    for path in paths:
        waveform, rate = read_audio(path)
        sounds.append((path.name, resample(waveform[:1], rate, sample_rate)))
    return sounds


def audio_below(folder: Path) -> list[Path]:
    """Return the paths of the recordings in a folder."""
    return [found.path for found in find_audio(folder).candidates]


def measure(reconstruct: Reconstruct, sounds: Sounds, sample_rate: int) -> Evaluation:
    """Evaluate with Zimtohrli, but without ViSQOL, which takes much longer and adds little information."""
    listeners = {name: each for name, each in installed_listeners().items() if name == "zimtohrli"}
    return evaluate(reconstruct, sounds, sample_rate=sample_rate, listeners=listeners)


def figures(found: Evaluation) -> dict[str, float | None]:
    """Return the figures of an evaluation, by the names in `MEASURES`."""
    mean = found.mean
    assert mean is not None  # noqa: S101  # recordings are not silent
    worst = found.by_level[0][1].level_difference
    values = (mean.zimtohrli, mean.tones, mean.texture, found.mean_absolute_level, worst, mean.mel,
              mean.log_spectral_distance)  # fmt: skip
    return dict(zip(MEASURES, values, strict=True))


def cell(values: Sequence[float | None], *, signed: bool = False) -> str:
    """Format the mean of values and, if there are several, their range."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    style = "+.2f" if signed else ".2f"
    spread = f" ({min(there):{style}}..{max(there):{style}})" if len(there) > 1 else ""
    return f"{statistics.fmean(there):{style}}{spread}"
