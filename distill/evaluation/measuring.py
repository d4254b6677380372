"""Measure reconstructions: of each recording, by each of several contenders.

Shapes: `C` channels, `N` samples. Waveforms have 1 as full scale.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import attrs
import torch
from torch import Tensor

from distill.errors import ShapeError, TermError
from distill.evaluation.hearing import mel_distance, texture, tones_kept
from distill.evaluation.listeners import Listener
from distill.evaluation.ratios import level_difference, si_sdr, signal_to_noise
from distill.evaluation.results import Evaluation, Metrics, Result
from distill.loss.composer import compose
from distill.plugin.registry import Registry
from distill.spectral.metrics import is_silent, log_spectral_distance, multi_resolution_stft
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Signal

Reconstruct = Callable[[Tensor], Tensor]
"""What is evaluated: it maps a waveform `[C, N]` to its reconstruction `[C, N]`."""

Measure = Callable[[Tensor, Tensor], dict[str, float]]
"""What more is measured: it maps a reconstruction `[N]` and its original to named values."""

_NOBODY: Mapping[str, Listener] = MappingProxyType({})
_NOT_FINITE = "the reconstruction is not finite"


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
        # A term that draws numbers draws the same for every recording, whichever are measured before it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            components = loss(LossInputs(prediction=prediction, target=target, progress=1.0))
        return {name: float(components[name]) for name in loss.origins}

    return measure


def evaluate(
    reconstruct: Reconstruct,
    recordings: Iterable[tuple[str, Tensor]],
    measure: Measure | None = None,
    *,
    sample_rate: int,
    listeners: Mapping[str, Listener] = _NOBODY,
) -> Evaluation:
    """Evaluate one contender as `evaluate_all` does several."""
    (evaluation,) = evaluate_all(
        {"": reconstruct}, recordings, measure, sample_rate=sample_rate, listeners=listeners
    ).values()
    return evaluation


def evaluate_all(
    contenders: Mapping[str, Reconstruct],
    recordings: Iterable[tuple[str, Tensor]],
    measure: Measure | None = None,
    *,
    sample_rate: int,
    listeners: Mapping[str, Listener] = _NOBODY,
    on_progress: Callable[[str, str], None] | None = None,
) -> dict[str, Evaluation]:
    """Reconstruct each named recording `[C, N]` by each contender, and measure how close it comes.

    Channels are measured one by one and averaged. One that is silent in the original has no metrics: only
    the others are averaged. `listeners`, by the names of their fields in `Metrics`, rate the mean of the
    channels. What is silent altogether, and what is not finite when reconstructed, is listed and left out
    of the mean. `measure` measures more, `on_progress` is told of each contender and recording measured.

    Raises:
        ShapeError: a reconstruction has not the shape of its recording.
    """
    results: dict[str, list[Result]] = {contender: [] for contender in contenders}
    with torch.no_grad():
        for name, waveform in recordings:
            original = waveform.cpu()  # for float64, which not all devices have
            for contender, reconstruct in contenders.items():
                made = reconstruct(waveform).cpu()
                results[contender].append(_measure(name, made, original, sample_rate, listeners, measure))
                if on_progress is not None:
                    on_progress(contender, name)
    return {contender: Evaluation(tuple(found)) for contender, found in results.items()}


def _measure(
    name: str,
    reconstruction: Tensor,
    original: Tensor,
    sample_rate: int,
    listeners: Mapping[str, Listener],
    measure: Measure | None,
) -> Result:
    if reconstruction.shape != original.shape:
        expected, got = list(original.shape), list(reconstruction.shape)
        raise ShapeError(f"the reconstruction must have the shape {expected}: got {got}", culprit=name)
    if not reconstruction.isfinite().all():
        return Result(name=name, metrics=None, left_out=_NOT_FINITE)
    peak = float(reconstruction.abs().max())
    channels = [
        _metrics(one, other, sample_rate, peak, measure)
        for one, other in zip(reconstruction, original, strict=True)
        if not is_silent(other)
    ]
    if not channels:
        return Result(name=name, metrics=None, left_out="the recording is silent")
    metrics = Metrics.mean(channels)
    if not metrics.finite:
        return Result(name=name, metrics=None, left_out=_NOT_FINITE)
    mixes = reconstruction.mean(dim=0), original.mean(dim=0)
    ratings = {listener: rate(*mixes, sample_rate) for listener, rate in listeners.items()}
    metrics = attrs.evolve(metrics, zimtohrli=ratings.get("zimtohrli"), visqol=ratings.get("visqol"))
    return Result(name=name, metrics=metrics)


def _metrics(
    reconstruction: Tensor, original: Tensor, sample_rate: int, peak: float, measure: Measure | None
) -> Metrics:
    return Metrics(
        log_spectral_distance=float(log_spectral_distance(reconstruction, original)),
        multi_resolution_stft=float(multi_resolution_stft(reconstruction, original)),
        snr=float(signal_to_noise(reconstruction, original)),
        si_sdr=float(si_sdr(reconstruction, original)),
        level_difference=float(level_difference(reconstruction, original)),
        peak=peak,
        mel=mel_distance(reconstruction, original, sample_rate),
        tones=tones_kept(reconstruction, original),
        texture=texture(reconstruction),
        original_texture=texture(original),
        terms=measure(reconstruction, original) if measure else {},
    )
