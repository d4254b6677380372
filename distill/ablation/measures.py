"""The measures that an ablation compares: what each is, and which direction is better. Loads no torch."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

from distill.config.words import suggest
from distill.errors import InputError

if TYPE_CHECKING:
    from distill.evaluation.results import Metrics

Better: TypeAlias = Literal["higher", "lower"]


@frozen(kw_only=True)
class Measure:
    """A measure of one recording: its head in a table, and which direction is better."""

    head: str
    better: Better
    of: "Callable[[Metrics], float | None]"

    def value(self, metrics: "Metrics | None") -> float:
        """Return the measure of a recording, NaN if it has none."""
        found = None if metrics is None else self.of(metrics)
        return math.nan if found is None else found


def _texture(metrics: "Metrics") -> float | None:
    if metrics.texture is None or metrics.original_texture is None:
        return None
    return abs(metrics.texture - metrics.original_texture)


MEASURES: Mapping[str, Measure] = {
    "zimtohrli": Measure(head="Zimtohrli", better="higher", of=lambda metrics: metrics.zimtohrli),
    "tones": Measure(head="tones", better="higher", of=lambda metrics: metrics.tones),
    "texture": Measure(head="texture", better="lower", of=_texture),
    "level": Measure(head="level dB", better="lower", of=lambda metrics: abs(metrics.level_difference)),
    "mel": Measure(head="mel dB", better="lower", of=lambda metrics: metrics.mel),
    "lsd": Measure(head="LSD dB", better="lower", of=lambda metrics: metrics.log_spectral_distance),
    "mr_stft": Measure(head="MR-STFT", better="lower", of=lambda metrics: metrics.multi_resolution_stft),
}
"""The measures by name. `texture` and `level` are distances from the original's."""


def measure_named(name: str) -> Measure:
    """Return a measure.

    Raises:
        InputError: there is none of this name.
    """
    if name not in MEASURES:
        raise InputError(
            f"there is no measure {name!r}{suggest(name, MEASURES)}",
            culprit="measure",
            remedy=f"Choose from: {', '.join(MEASURES)}",
        )
    return MEASURES[name]
