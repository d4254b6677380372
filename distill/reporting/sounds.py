"""Held-out originals and their reconstructions in a run folder: to play, to see, and with their scores.

Shapes: `C` channels, `N` samples, `M` mel bands, `T` frames.
"""

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
from attrs import field, frozen
from numpy.typing import NDArray
from torch import Tensor

from distill.audio.progress import Progress
from distill.audio.soundfiles import read_audio, resample
from distill.errors import CorpusError
from distill.evaluation.contenders import evaluate
from distill.evaluation.hearing import mel_filterbank
from distill.evaluation.listeners import quick_listeners
from distill.evaluation.results import Evaluation, Metrics, Result
from distill.storage.run import Run

MOST_PLAYED, MOST_SCORED = 12, 50
"""How many of the worst pairs a page holds, and from how many they are chosen."""

_ORIGINAL, _RECONSTRUCTION = ".original.wav", ".reconstruction.wav"
_FRAMES, _BANDS, _N_FFT, _SHORTEST_HOP = 360, 80, 2048, 64
_RANGE_DB = 80
_MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@frozen(kw_only=True, eq=False)
class Spectrograms:
    """The mel spectrograms `[M, T]` of several signals by name, in whole dB, -80..0.

    0 dB is the loudest cell of all. `hertz` `[M]` are the centres of the bands, `seconds` is the length.
    """

    levels: Mapping[str, NDArray[np.int8]]
    hertz: NDArray[np.float64]
    seconds: float


@frozen(kw_only=True, eq=False)
class Pair:
    """An original and its reconstruction as FLAC files, with scores.

    Both are turned down by `attenuation` dB, so that neither clips. `metrics` is None if the pair cannot be
    measured, for the reason `left_out`.
    """

    name: str
    files: tuple[str, str]
    metrics: Metrics | None
    left_out: str
    attenuation: float
    channels: int
    sample_rate: int
    original: bytes
    reconstruction: bytes
    spectrograms: Spectrograms


@frozen(kw_only=True)
class Sounds:
    """The pairs of a run, worst first.

    Attributes:
        pairs: the worst ones, at most 12.
        evaluation: the scores of all, at most 50.
        files: the number of pairs in the folder.
        unreadable: a line for each file that cannot be read.
    """

    pairs: tuple[Pair, ...] = ()
    evaluation: Evaluation = field(factory=lambda: Evaluation(()))
    files: int = 0
    unreadable: tuple[str, ...] = ()


def read_sounds(run: Run, *, on_progress: Callable[[Progress], None] | None = None) -> Sounds:
    """Read and measure the pairs of a run, which `training.pairs` says how many there are of.

    `on_progress` is called after each that is measured.
    """
    originals = sorted(run.audio.glob(f"*{_ORIGINAL}"), key=_by_number)
    waveforms: dict[str, tuple[Tensor, Tensor, int]] = {}
    unreadable: list[str] = []
    for path in originals[:MOST_SCORED]:
        stem = path.name.removesuffix(_ORIGINAL)
        try:
            waveforms[stem] = _read(path, path.with_name(f"{stem}{_RECONSTRUCTION}"))
        except CorpusError as error:
            unreadable.append(f"{Path(error.culprit).name}: {error.problem}")
    listeners = quick_listeners()
    results: list[Result] = []
    for stem, (original, made, rate) in waveforms.items():
        results += evaluate(
            lambda _, made=made: made,  # type: ignore[misc]  # bound now
            [(stem, original)],
            sample_rate=rate,
            listeners=listeners,
        ).results
        if on_progress is not None:
            on_progress(
                Progress(stage="measuring", done=len(results), total=len(waveforms), item=title_of(stem))
            )
    evaluation = Evaluation(tuple(results))
    order = [*(name for name, _ in evaluation.ranking), *(each.name for each in evaluation.left_out)]
    found = {result.name: result for result in results}
    return Sounds(
        pairs=tuple(
            _pair(stem, *waveforms[stem], found[stem].metrics, found[stem].left_out)
            for stem in order[:MOST_PLAYED]
        ),
        evaluation=evaluation,
        files=len(originals),
        unreadable=tuple(unreadable),
    )


def title_of(stem: str) -> str:
    """Return the name of a recording from the name of its files, which begins with a number."""
    return re.sub(r"^\d+-", "", stem) or stem


def as_mp3(waveform: Tensor, sample_rate: int) -> bytes:
    """Return the mean of the channels `[C, N]` as an MP3 file, turned down where it would clip."""
    mono = waveform.detach().float().cpu().mean(dim=0, keepdim=True)
    if sample_rate not in _MP3_RATES:
        mono, sample_rate = resample(mono, sample_rate, _MP3_RATES[-2]), _MP3_RATES[-2]
    mono = mono / max(1.0, float(mono.abs().max()))
    return _encoded(mono, sample_rate, "MP3", "MPEG_LAYER_III")


def as_flac(waveform: Tensor, sample_rate: int) -> bytes:
    """Return a waveform `[C, N]` within full scale as a FLAC file of 16 bits."""
    return _encoded(waveform, sample_rate, "FLAC", "PCM_16")


def _by_number(path: Path) -> tuple[int, str]:
    number = re.match(r"\d{1,9}", path.name)
    return int(number[0]) if number else 0, path.name


def _read(original: Path, reconstruction: Path) -> tuple[Tensor, Tensor, int]:
    """Return an original and its reconstruction `[C, N]` and their sample rate.

    Raises:
        CorpusError: one cannot be read, or they do not belong together.
    """
    one, rate = read_audio(original)
    other, other_rate = read_audio(reconstruction)
    if one.shape != other.shape or rate != other_rate:
        raise CorpusError("is not of the length and rate of its original", culprit=str(reconstruction))
    return one, other, rate


def _pair(
    stem: str, original: Tensor, made: Tensor, rate: int, metrics: Metrics | None, left_out: str
) -> Pair:
    peak = max(1.0, float(original.abs().max()), float(made.abs().max()))
    heard = [torch.clamp(each[:2] / peak, -1, 1) for each in (original, made)]
    return Pair(
        name=title_of(stem),
        files=(f"{stem}{_ORIGINAL}", f"{stem}{_RECONSTRUCTION}"),
        metrics=metrics,
        left_out=left_out,
        attenuation=20 * float(np.log10(peak)),
        channels=len(original),
        sample_rate=rate,
        original=as_flac(heard[0], rate),
        reconstruction=as_flac(heard[1], rate),
        spectrograms=spectrograms_of(
            {"original": original.mean(dim=0), "reconstruction": made.mean(dim=0)}, rate
        ),
    )


def _encoded(waveform: Tensor, rate: int, kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform.T.numpy(), rate, format=kind, subtype=subtype)
    return file.getvalue()


def spectrograms_of(signals: Mapping[str, Tensor], rate: int) -> Spectrograms:
    """Return the spectrograms of signals `[N]` of one length."""
    filterbank = mel_filterbank(rate, _N_FFT, _BANDS)
    length = len(next(iter(signals.values())))
    hop = max(_SHORTEST_HOP, -(-length // _FRAMES))
    window = torch.hann_window(_N_FFT, dtype=torch.float64)
    powers = {
        name: filterbank
        @ torch.stft(signal.double(), _N_FFT, hop, window=window, pad_mode="constant", return_complex=True)
        .abs()
        .square()
        for name, signal in signals.items()
    }
    loudest = max(float(power.max()) for power in powers.values()) or 1.0
    return Spectrograms(
        levels={
            name: (10 * (power / loudest).clamp(min=10 ** (-_RANGE_DB / 10)).log10())
            .round()
            .to(torch.int8)
            .numpy()
            for name, power in powers.items()
        },
        hertz=filterbank.argmax(dim=1).double().numpy() * rate / _N_FFT,
        seconds=length / rate,
    )
