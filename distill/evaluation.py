"""Evaluation: how far reconstructions are from the recordings, beside what trivial answers reach.

Shapes: `C` channels, `N` samples, `F` bins, `T` frames, `...` any number of signals. Waveforms have
1 as full scale.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from statistics import fmean
from typing import Any

import attrs
import torch
from attrs import field, frozen
from torch import Tensor
from torch.nn import functional as F

from distill import spectral
from distill.baselines import mean_spectrum_baseline as mean_spectrum_baseline  # noqa: PLC0414  # exported
from distill.baselines import silence as silence  # noqa: PLC0414  # exported
from distill.composer import compose
from distill.errors import ShapeError, TermError
from distill.functional import create_stft_loss
from distill.registry import Registry
from distill.representation import MagnitudeIF
from distill.views import LossInputs, Signal

Reconstruct = Callable[[Tensor], Tensor]
"""What is evaluated: it maps a waveform `[C, N]` to its reconstruction `[C, N]`."""

Measure = Callable[[Tensor, Tensor], dict[str, float]]
"""What more is measured: it maps a reconstruction `[N]` and its original to named values."""

_N_FFT, _HOP = 2048, 512
_DYNAMIC_RANGE = 80.0
_LEAST_STEP = 2.0**-23
_FULL_SCALE = _N_FFT / 4
"""The spectral peak of a sine of amplitude 1: half of the Hann window's sum."""
_BOUND = 200.0


def is_silent(original: Tensor) -> Tensor:
    """Tell of signals `[..., N]` which stay below one step of 24-bit audio throughout: `[...]`."""
    return original.abs().amax(-1) < _LEAST_STEP


def log_spectral_distance(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Compare signals `[..., N]` by their spectra in dB: `[...]`, lower is better.

    The RMS over bins of the difference in dB, averaged over frames (n_fft 2048, hop 512, Hann; frames
    centred, ends reflected). Both spectra are floored 80 dB below the peak of the original's spectrum
    or, where the original is silent and has none to speak of, 80 dB below that of a full-scale sine.

    Raises:
        ShapeError: the two differ in shape.
    """
    signals = _pair(reconstruction, original)
    magnitudes = [spectral.stft(signal, _N_FFT, _HOP, _N_FFT).abs() for signal in signals]
    peak = torch.where(is_silent(signals[1]), _FULL_SCALE, magnitudes[1].amax((-2, -1)))
    floor = peak[:, None, None] * 10 ** (-_DYNAMIC_RANGE / 20)
    first, second = (20 * torch.maximum(magnitude, floor).log10() for magnitude in magnitudes)
    # A norm has a gradient, 0, between equals too, where a square root has none.
    rms = torch.linalg.vector_norm(first - second, dim=-2) / first.shape[-2] ** 0.5
    distance = rms.mean(-1)
    return distance.view(original.shape[:-1])


def multi_resolution_stft(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Compare signals `[..., N]`, each by itself, as auraloss's multi-resolution STFT loss does: `[...]`.

    Spectral convergence + log magnitude, averaged over FFTs of 512, 1024 and 2048 samples with hops
    of a quarter. It means little where the original is silent.

    Raises:
        ShapeError: the two differ in shape.
    """
    loss = create_stft_loss()
    pairs = zip(*_pair(reconstruction, original), strict=True)
    return torch.stack([loss(r[None, None], o[None, None]) for r, o in pairs]).view(original.shape[:-1])


def signal_to_noise(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Give the signal-to-noise ratio of signals `[..., N]` in dB, bounded to +-200: `[...]`.

    It has no meaning where the original is silent.
    """
    return _decibels(original, reconstruction.double() - original.double())


def si_sdr(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Give the scale-invariant signal-to-distortion ratio of signals `[..., N]` in dB: `[...]`.

    The definition of Le Roux et al. (2019), bounded to +-200 dB: the lower bound stands for a
    reconstruction with nothing of the original. Not a number where the original is 0 throughout.
    """
    reconstruction, original = reconstruction.double(), original.double()
    share = (reconstruction * original).sum(-1, keepdim=True) / original.square().sum(-1, keepdim=True)
    return _decibels(share * original, reconstruction - share * original)


def level_difference(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Give how much louder the reconstruction is, RMS in dB bounded to +-200: `[..., N]` to `[...]`."""
    return _decibels(reconstruction, original)


@frozen(kw_only=True)
class Metrics:
    """How close a reconstruction is to its original, averaged over channels or recordings.

    The log-spectral distance (dB) and the multi-resolution STFT loss are lower when better; SNR and
    SI-SDR (dB) need the phase to be right as well; the level difference (dB) is 0 when the loudness
    is kept. `peak` is the reconstruction's greatest magnitude, of several the greatest: above 1 it clips.
    `terms` are the values of loss terms that were asked for.
    """

    log_spectral_distance: float
    multi_resolution_stft: float
    snr: float
    si_sdr: float
    level_difference: float
    peak: float
    terms: dict[str, float] = field(factory=dict)


@frozen(kw_only=True)
class Result:
    """The metrics of one recording or, where there are none, why it is left out of the mean."""

    name: str
    metrics: Metrics | None
    left_out: str = ""


@frozen
class Evaluation:
    """The results of every recording, and their mean."""

    results: tuple[Result, ...]

    @property
    def mean(self) -> Metrics | None:
        """The mean over the recordings that have metrics, None if none has."""
        measured = [result.metrics for result in self.results if result.metrics]
        return _mean(measured) if measured else None

    @property
    def left_out(self) -> tuple[Result, ...]:
        """The recordings that the mean leaves out: silent ones, and reconstructions not finite."""
        return tuple(result for result in self.results if result.metrics is None)

    def as_json(self) -> dict[str, Any]:
        """Give plain data: the mean, how many recordings it covers and leaves out, and each result."""
        return {
            "mean": self.mean and attrs.asdict(self.mean),
            "measured": len(self.results) - len(self.left_out),
            "left_out": len(self.left_out),
            "recordings": [attrs.asdict(result) for result in self.results],
        }


def term_values(names: str, representation: MagnitudeIF, registry: Registry | None = None) -> Measure:
    """Measure by loss terms, as they are by default, what sounds are: `"mel,stft"`, say.

    Raises:
        TermError: a term is unknown, ambiguous or broken, or is trained itself; when measuring, one
            that looks at the posterior.
    """
    loss = compose(names, registry=registry).eval()
    for name, term in loss.origins.items():
        if term.spec.trained:
            raise TermError(
                f"the term measures nothing until it is trained: '{name}'",
                culprit=str(term),
                remedy="Measure by terms that are not trained themselves.",
            )

    def measure(reconstruction: Tensor, original: Tensor) -> dict[str, float]:
        prediction, target = (
            Signal.from_waveform(x[None], representation) for x in (reconstruction, original)
        )
        components = loss(LossInputs(prediction=prediction, target=target, progress=1.0))
        return {name: float(components[name]) for name in loss.origins}

    return measure


def evaluate(
    reconstruct: Reconstruct, recordings: Iterable[tuple[str, Tensor]], measure: Measure | None = None
) -> Evaluation:
    """Reconstruct each named recording `[C, N]`, and measure how close it comes, by `measure` too.

    A channel that is silent in the original has no metrics: only the others are averaged. What is
    silent altogether, and what is not finite when reconstructed, is listed and left out of the mean.

    Raises:
        ShapeError: a reconstruction has not the shape of its recording.
    """
    with torch.no_grad():
        return Evaluation(
            tuple(_measure(name, reconstruct(wave), wave, measure) for name, wave in recordings)
        )


def _measure(name: str, reconstruction: Tensor, original: Tensor, measure: Measure | None) -> Result:
    reconstruction, original = reconstruction.cpu(), original.cpu()  # for float64, which not all devices have
    if reconstruction.shape != original.shape:
        expected, got = list(original.shape), list(reconstruction.shape)
        raise ShapeError(f"the reconstruction must have the shape {expected}: got {got}", culprit=name)
    peak = float(reconstruction.abs().max())
    channels = zip(reconstruction, original, strict=True)
    measured = [_metrics(one, other, peak, measure) for one, other in channels if not is_silent(other)]
    metrics = _mean(measured) if measured else None
    if not all(map(math.isfinite, [*_numbers(metrics).values(), peak] if metrics else [peak])):
        return Result(name=name, metrics=None, left_out="the reconstruction is not finite")
    if metrics is None:
        return Result(name=name, metrics=None, left_out="the recording is silent")
    return Result(name=name, metrics=metrics)


def _metrics(reconstruction: Tensor, original: Tensor, peak: float, measure: Measure | None) -> Metrics:
    return Metrics(
        log_spectral_distance=float(log_spectral_distance(reconstruction, original)),
        multi_resolution_stft=float(multi_resolution_stft(reconstruction, original)),
        snr=float(signal_to_noise(reconstruction, original)),
        si_sdr=float(si_sdr(reconstruction, original)),
        level_difference=float(level_difference(reconstruction, original)),
        peak=peak,
        terms=measure(reconstruction, original) if measure else {},
    )


def _numbers(metrics: Metrics) -> dict[str, float]:
    """Give the metrics but for the terms', which have no fixed names."""
    return {name: value for name, value in attrs.asdict(metrics).items() if name != "terms"}


def _mean(metrics: Sequence[Metrics]) -> Metrics:
    numbers, terms = (_means([each(one) for one in metrics]) for each in (_numbers, attrgetter("terms")))
    return Metrics(**numbers | {"peak": max(one.peak for one in metrics)}, terms=terms)


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def _pair(reconstruction: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
    """Bring two batches of signals `[..., N]` to `[B, N]` in float32, N at least one window."""
    if reconstruction.shape != original.shape:
        raise ShapeError(
            "reconstruction and original must share the shape [..., N]: "
            f"got {list(reconstruction.shape)} and {list(original.shape)}"
        )
    short = max(0, _N_FFT - original.shape[-1])
    flat = (x.float().reshape(-1, x.shape[-1]) for x in (reconstruction, original))
    first, second = (F.pad(signals, (0, short)) for signals in flat)
    return first, second


def _decibels(signal: Tensor, reference: Tensor) -> Tensor:
    """Give the ratio of two energies over the last axis in dB, bounded; that of no energy is the least."""
    energy, other = (x.double().square().sum(-1) for x in (signal, reference))
    decibels = (10 * (energy / other).log10()).clamp(-_BOUND, _BOUND)
    return torch.where(energy == 0, -_BOUND, decibels)
