"""The measures that runs are compared by: what each is, and which direction is better. Loads no torch."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from distill.evaluation.results import Metrics

Better: TypeAlias = Literal["higher", "lower"]


@frozen(kw_only=True)
class Scale:
    """A measure of a recording as it is compared.

    `key` is its name in JSON and in options, `name` and the shorter `label` those in tables.
    """

    key: str
    label: str
    name: str
    better: Better
    digits: int
    of: "Callable[[Metrics], float | None]"
    unit: str = ""

    @property
    def higher(self) -> bool:
        """Whether higher values are better."""
        return self.better == "higher"

    @property
    def head(self) -> str:
        """The head of a narrow column: the label with the unit."""
        return f"{self.label} {self.unit}".rstrip()

    def value(self, metrics: "Metrics | None") -> float:
        """Return the measure of a recording, NaN if it has none."""
        found = None if metrics is None else self.of(metrics)
        return math.nan if found is None else found

    def shown(self, value: float, *, signed: bool = False) -> str:
        """Return a value as text."""
        return f"{value:{'+' if signed else ''}z.{self.digits}f}" if math.isfinite(value) else "-"


def _unless_silent(metrics: "Metrics", decibels: float) -> float | None:
    """Return a ratio of energies in dB, which silence has not."""
    return None if metrics.is_silent else decibels


def _texture(metrics: "Metrics") -> float | None:
    if metrics.texture is None or metrics.original_texture is None:
        return None
    return abs(metrics.texture - metrics.original_texture)


SCALES: Mapping[str, Scale] = {
    each.key: each
    for each in (
        Scale(
            key="zimtohrli", label="Zimtohrli", name="Zimtohrli", better="higher", digits=3,
            of=lambda one: one.zimtohrli,
        ),
        Scale(
            key="tones", label="tones", name="tones kept", better="higher", digits=3,
            of=lambda one: one.tones,
        ),
        Scale(
            key="mel", label="mel", name="mel distance", better="lower", digits=2, unit="dB",
            of=lambda one: one.mel,
        ),
        Scale(
            key="level", label="level", name="level error", better="lower", digits=2, unit="dB",
            of=lambda one: _unless_silent(one, abs(one.level_difference)),
        ),
        Scale(
            key="texture", label="texture", name="texture error", better="lower", digits=2, unit="dB",
            of=_texture,
        ),
        Scale(
            key="lsd", label="LSD", name="LSD", better="lower", digits=2, unit="dB",
            of=lambda one: one.log_spectral_distance,
        ),
        Scale(
            key="mr_stft", label="MR-STFT", name="MR-STFT", better="lower", digits=3,
            of=lambda one: one.multi_resolution_stft,
        ),
        Scale(
            key="si_sdr", label="SI-SDR", name="SI-SDR", better="higher", digits=1, unit="dB",
            of=lambda one: _unless_silent(one, one.si_sdr),
        ),
    )
}  # fmt: skip
"""The measures by key. Errors are sizes, so that too loud and too quiet do not cancel each other."""
