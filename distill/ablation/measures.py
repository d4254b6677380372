"""The measures that an ablation compares. Loads no torch."""

from collections.abc import Mapping

from distill.comparison.scales import SCALES, Scale
from distill.config.words import suggest
from distill.errors import InputError

MEASURES: Mapping[str, Scale] = {
    name: SCALES[name] for name in ("zimtohrli", "tones", "texture", "level", "mel", "lsd", "mr_stft")
}
"""The measures by name. `texture` and `level` are distances from the original's."""


def measure_named(name: str) -> Scale:
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
