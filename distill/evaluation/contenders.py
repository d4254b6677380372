"""Measurement of the reconstructions of recordings by several contenders: a model and baselines.

Shapes: `C` channels, `N` samples. Full scale is 1.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import attrs
import torch
from torch import Tensor

from distill.audio.corpus.levels import SHORTEST_SECONDS
from distill.errors import ShapeError, TermError
from distill.evaluation.frechet import FrechetDistance
from distill.evaluation.hearing import mel_distance, texture, tones_kept
from distill.evaluation.listeners import Listener
from distill.evaluation.ratios import level_difference, si_sdr, signal_to_noise
from distill.evaluation.results import Evaluation, Metrics, Result
from distill.loss.composing import compose
from distill.plugin.registry import Registry
from distill.spectral.metrics import is_silent, log_spectral_distance, multi_resolution_stft
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Signal

Reconstruct = Callable[[Tensor], Tensor]
"""The function to evaluate: it maps a waveform `[C, N]` to its reconstruction `[C, N]`."""

Measure = Callable[[Tensor, Tensor], dict[str, float]]
"""An additional measure: it maps a reconstruction `[N]` and its original to named values."""

_NOBODY: Mapping[str, Listener] = MappingProxyType({})
_NOT_FINITE = "the reconstruction is not finite"


def term_values(names: str, representation: MagnitudeIF, registry: Registry | None = None) -> Measure:
    """Return a measure that computes loss terms, such as `"mel,stft"`, with their default options.

    Raises:
        TermError: a term is unknown, ambiguous or broken, or has trained parameters. The measure raises it
            if a term depends on the posterior.
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
        # The fixed seed makes random terms independent of the recordings measured before.
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
    """Evaluate one contender; see `evaluate_all`."""
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
    """Reconstruct each named recording `[C, N]` with each contender and measure the reconstruction.

    Each channel is measured alone, and the metrics are averaged over the channels that are not silent in the
    original. Silent recordings, those shorter than 10 ms, and those whose reconstruction is not finite, are
    listed but left out of the mean.

    Args:
        contenders: the functions to evaluate, by name.
        recordings: pairs of name and waveform.
        measure: additional measures.
        sample_rate: the sample rate in Hz.
        listeners: models of listeners, and measures of speech, by the names of their fields in `Metrics`.
            They rate the mean of the channels.
        on_progress: called with the names of contender and recording after each measurement.

    Returns:
        The evaluation of each contender.

    Raises:
        ShapeError: a reconstruction differs in shape from its recording.
    """
    results: dict[str, list[Result]] = {contender: [] for contender in contenders}
    distances = {contender: FrechetDistance() for contender in contenders}
    with torch.no_grad():
        for name, waveform in recordings:
            original = waveform.cpu()  # for float64, which not all devices have
            for contender, reconstruct in contenders.items():
                made = reconstruct(waveform).cpu()
                result = _measure(name, made, original, sample_rate, listeners, measure)
                results[contender].append(result)
                if result.metrics is not None:
                    _add(distances[contender], made, original, sample_rate)
                if on_progress is not None:
                    on_progress(contender, name)
    return {
        contender: Evaluation(tuple(found), distance.value, distance.frames)
        for (contender, found), distance in zip(results.items(), distances.values(), strict=True)
    }


def _add(distance: FrechetDistance, reconstruction: Tensor, original: Tensor, sample_rate: int) -> None:
    for one, other in zip(reconstruction, original, strict=True):
        if not is_silent(other):
            distance.add(one, other, sample_rate)


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
    seconds = original.shape[-1] / sample_rate
    if seconds < SHORTEST_SECONDS:  # SI-SDR and models of listeners rate whatever is as short as perfect
        too_short = f"the recording lasts {1000 * seconds:.2g} ms, too short to be measured"
        return Result(name=name, metrics=None, left_out=too_short)
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
    return Result(name=name, metrics=attrs.evolve(metrics, **ratings))  # type: ignore[arg-type]


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
