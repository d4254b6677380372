"""What an evaluation finds: metrics of a recording, and of several together."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import attrs
from attrs import field, frozen


@frozen(kw_only=True)
class Metrics:
    """How close a reconstruction is to its original, averaged over channels or recordings.

    The log-spectral distance, the distance in mel bands (both dB) and the multi-resolution STFT loss are
    lower when better. `tones` is the share of the original's tonal peaks that are kept, None where there
    are too few. The `texture` (dB) should be that of the original; it is None where the reconstruction is
    silent. SNR and SI-SDR (dB) need the phase to be right as well; the level difference (dB) is 0 when
    the loudness is kept. `peak` is the reconstruction's greatest magnitude, of several the greatest: above
    1 it clips. `zimtohrli` and `visqol` are what models of listeners say, 1..5, None where they were not
    asked or have no answer. `terms` are the values of loss terms that were asked for.
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
    terms: dict[str, float] = field(factory=dict)

    @classmethod
    def mean(cls, several: Iterable["Metrics"]) -> "Metrics":
        """Return the mean of one or more, each measure over those that have it; `peak` is the greatest."""
        several = list(several)
        names = [name for name in attrs.fields_dict(cls) if name not in ("peak", "terms")]
        means = {name: _mean(getattr(one, name) for one in several) for name in names}
        terms = {name: fmean(one.terms[name] for one in several) for name in several[0].terms}
        return cls(**means, peak=max(one.peak for one in several), terms=terms)  # type: ignore[arg-type]

    @property
    def finite(self) -> bool:
        """Whether every measure is finite; values of terms may be what they like."""
        numbers = [value for value in attrs.asdict(self).values() if isinstance(value, float)]
        return all(map(math.isfinite, numbers))


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
    def measured(self) -> tuple[tuple[str, Metrics], ...]:
        """The name and the metrics of each recording that has metrics."""
        return tuple((each.name, each.metrics) for each in self.results if each.metrics)

    @property
    def mean(self) -> Metrics | None:
        """The mean over the recordings that have metrics, None if none has."""
        return Metrics.mean(metrics for _, metrics in self.measured) if self.measured else None

    @property
    def mean_absolute_level(self) -> float | None:
        """The mean of the level differences' magnitudes, in dB: louder and quieter do not cancel out."""
        return _mean(abs(metrics.level_difference) for _, metrics in self.measured)

    @property
    def counts(self) -> dict[str, int]:
        """Over how many recordings the mean of each measure is that some recordings may lack."""
        names = ("tones", "texture", "zimtohrli", "visqol")
        return {
            name: sum(getattr(metrics, name) is not None for _, metrics in self.measured) for name in names
        }

    @property
    def left_out(self) -> tuple[Result, ...]:
        """The recordings that the mean leaves out: silent ones, and reconstructions not finite."""
        return tuple(result for result in self.results if result.metrics is None)

    @property
    def ranking(self) -> tuple[tuple[str, Metrics], ...]:
        """The name and the metrics of each recording, the worst first.

        By Zimtohrli where it was asked, those that it cannot rate last, and by mel distance elsewhere.
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
        """Give plain data: the mean, how many recordings it covers and leaves out, and each result.

        `worst` is the first of the `ranking`, `worst_level` that of the greatest difference in level.
        """
        return {
            "mean": self.mean and attrs.asdict(self.mean),
            "mean_absolute_level": self.mean_absolute_level,
            "worst": _of(self.ranking[:1], self.ranked_by),
            "worst_level": _of(self.by_level[:1], "level_difference"),
            "measured": len(self.measured),
            "counts": self.counts,
            "left_out": len(self.left_out),
            "recordings": [attrs.asdict(result) for result in self.results],
        }

    @property
    def by_level(self) -> tuple[tuple[str, Metrics], ...]:
        """The name and the metrics of each recording, the greatest difference in level first."""
        return tuple(sorted(self.measured, key=lambda each: -abs(each[1].level_difference)))


def _of(named: Sequence[tuple[str, Metrics]], measure: str) -> dict[str, Any] | None:
    return next(({"name": name, measure: getattr(metrics, measure)} for name, metrics in named), None)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
