"""The results of an evaluation: metrics of each recording, and their means."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import attrs
from attrs import field, frozen


@frozen(kw_only=True)
class Metrics:
    """Measures of how close a reconstruction is to its original, averaged over channels or recordings.

    `docs/metrics.md` defines each measure.

    Attributes:
        log_spectral_distance: in dB, lower is better.
        multi_resolution_stft: the multi-resolution STFT loss, lower is better.
        snr: the signal-to-noise ratio in dB, which is high only if phases are correct.
        si_sdr: the scale-invariant signal-to-distortion ratio in dB; as `snr`, it depends on phases.
        level_difference: the change of level in dB, 0 if the level is kept.
        peak: the largest magnitude of the reconstruction. Above 1, it clips.
        mel: the distance in mel bands in dB, lower is better.
        tones: the fraction of the original's tonal peaks that is kept, None if there are too few peaks.
        texture: the roughness of the spectrum in dB, None if the reconstruction is silent.
        original_texture: the roughness of the original's spectrum, which `texture` should match.
        zimtohrli: the rating by Zimtohrli, 1..5, None if it was not computed.
        visqol: the rating by ViSQOL, 1..5, None if it was not computed.
        pesq: the rating of speech by PESQ, 1..4.64, None if it was not computed.
        stoi: the intelligibility of speech by STOI, up to 1, None if it was not computed.
        terms: the values of additional loss terms, by name.
    """

    log_spectral_distance: float
    multi_resolution_stft: float
    snr: float
    si_sdr: float
    level_difference: float
    peak: float
    mel: float
    tones: float | None
    texture: float | None
    original_texture: float | None
    zimtohrli: float | None = None
    visqol: float | None = None
    pesq: float | None = None
    stoi: float | None = None
    terms: dict[str, float] = field(factory=dict)

    @classmethod
    def mean(cls, several: Iterable["Metrics"]) -> "Metrics":
        """Return the mean of one or more metrics, ignoring None. `peak` is the maximum."""
        several = list(several)
        names = [name for name in attrs.fields_dict(cls) if name not in ("peak", "terms")]
        means = {name: _mean(getattr(one, name) for one in several) for name in names}
        terms = {name: fmean(one.terms[name] for one in several) for name in several[0].terms}
        return cls(**means, peak=max(one.peak for one in several), terms=terms)  # type: ignore[arg-type]

    @property
    def is_silent(self) -> bool:
        """Whether the reconstruction is silent throughout, and so has no level and no SI-SDR in dB."""
        return self.peak == 0

    @property
    def finite(self) -> bool:
        """Whether every measure is finite, apart from the values of terms."""
        numbers = [value for value in attrs.asdict(self).values() if isinstance(value, float)]
        return all(map(math.isfinite, numbers))


@frozen(kw_only=True)
class Result:
    """The metrics of a recording or, if it has none, the reason why it is left out of the mean."""

    name: str
    metrics: Metrics | None
    left_out: str = ""


@frozen
class Evaluation:
    """The results of all recordings, and their mean.

    `frechet` is the Fréchet distance of all reconstructions from all originals in dB, None if they have too
    few frames (`frechet_frames`).
    """

    results: tuple[Result, ...]
    frechet: float | None = None
    frechet_frames: int = 0

    @property
    def measured(self) -> tuple[tuple[str, Metrics], ...]:
        """The name and the metrics of each recording that has metrics."""
        return tuple((each.name, each.metrics) for each in self.results if each.metrics)

    @property
    def mean(self) -> Metrics | None:
        """The mean over the recordings that have metrics, or None if none has."""
        return Metrics.mean(metrics for _, metrics in self.measured) if self.measured else None

    @property
    def mean_absolute_level(self) -> float | None:
        """The mean of the absolute level differences, in dB."""
        return _mean(abs(metrics.level_difference) for _, metrics in self.measured)

    @property
    def has_silence(self) -> bool:
        """Whether a reconstruction is silent, so that levels and SI-SDR have no mean in dB."""
        return any(metrics.is_silent for _, metrics in self.measured)

    @property
    def counts(self) -> dict[str, int]:
        """The number of recordings that have each of the optional measures."""
        names = ("tones", "texture", "zimtohrli", "visqol", "pesq", "stoi")
        return {
            name: sum(getattr(metrics, name) is not None for _, metrics in self.measured) for name in names
        }

    @property
    def left_out(self) -> tuple[Result, ...]:
        """The recordings left out of the mean: silent or too short, or their reconstruction is not finite."""
        return tuple(result for result in self.results if result.metrics is None)

    @property
    def ranking(self) -> tuple[tuple[str, Metrics], ...]:
        """The name and the metrics of each recording, worst first.

        The order is by Zimtohrli rating if there is one, with unrated recordings last, else by mel distance.
        """

        def goodness(each: tuple[str, Metrics]) -> float:
            if self.ranked_by == "mel":
                return -each[1].mel
            return math.inf if each[1].zimtohrli is None else each[1].zimtohrli

        return tuple(sorted(self.measured, key=goodness))

    @property
    def ranked_by(self) -> str:
        """The measure by which `ranking` is sorted, `zimtohrli` or `mel`."""
        return "zimtohrli" if self.counts["zimtohrli"] else "mel"

    def as_json(self) -> dict[str, Any]:
        """Return plain data: the mean, the number of recordings in it and left out, and each result.

        `worst` is the first of `ranking`, `worst_level` the recording with the largest level difference.
        """
        return {
            "mean": self.mean and attrs.asdict(self.mean),
            "mean_absolute_level": self.mean_absolute_level,
            "frechet": self.frechet,
            "frechet_frames": self.frechet_frames,
            "worst": _of(self.ranking[:1], self.ranked_by),
            "worst_level": _of(self.by_level[:1], "level_difference"),
            "measured": len(self.measured),
            "counts": self.counts,
            "left_out": len(self.left_out),
            "recordings": [attrs.asdict(result) for result in self.results],
        }

    @property
    def by_level(self) -> tuple[tuple[str, Metrics], ...]:
        """The name and the metrics of each recording, in descending order of level difference."""
        return tuple(sorted(self.measured, key=lambda each: -abs(each[1].level_difference)))


def _of(named: Sequence[tuple[str, Metrics]], measure: str) -> dict[str, Any] | None:
    return next(({"name": name, measure: getattr(metrics, measure)} for name, metrics in named), None)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
