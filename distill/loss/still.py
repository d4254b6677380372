"""Terms of a loss that change nothing in the model, as the records of a training run tell. Loads no torch.

Such a term can be most of the total, as `kl` is while the encoder is kept, and hide what changes.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from distill.loss.components import TOTAL


class StillTerms:
    """The terms that change nothing: each measured share of their gradients is 0."""

    def __init__(self) -> None:
        self._still: dict[str, bool] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of these terms, as far as records have their gradients."""
        return tuple(name for name, still in self._still.items() if still)

    def add(self, gradients: object) -> None:
        """Take in the `gradients` of a record, which may be of another version, or None."""
        if not isinstance(gradients, Mapping):
            return
        outputs, parameters = (gradients.get(key) for key in ("shares", "parameter_shares"))
        if not isinstance(outputs, Mapping) or not isinstance(parameters, Mapping):
            return
        for name, share in outputs.items():
            if name in parameters:
                still = all(each == 0 for each in (share, parameters[name]) if each is not None)
                self._still[name] = still and self._still.get(name, True)


def total_without(
    components: Mapping[str, Any], weights: Mapping[str, Any], still: Collection[str]
) -> float | None:
    """Return the sum of the weighted terms without those that change nothing.

    None if nothing is left out, there is no total, or a value or a weight is missing or not finite.
    """
    if TOTAL not in components or not any(name in components for name in still):
        return None
    values = []
    for name, weight in weights.items():
        if name in still:
            continue
        numbers = weight, components.get(name)
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
            return None
        values.append(math.prod(numbers))
    return math.fsum(values) if values else None


def title_without(still: Collection[str]) -> str:
    """Return the name of the total without terms that change nothing."""
    return f"total less {next(iter(still))}" if len(still) == 1 else f"total less {len(still)} terms"
