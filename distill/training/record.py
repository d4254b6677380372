"""Reports of a training run: records of the loss, and the kinds of warnings."""

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias

from attrs import frozen

from distill.loss.components import ComponentName

About: TypeAlias = Literal[
    "recipe",
    "checkpoint",
    "corpus",
    "lock",
    "metrics",
    "pairs",
    "tensorboard",
    "page",
    "overfitting",
    "nonfinite",
    "collapse",
    "gradient",
    "divergence",
    "recordings",
    "progress",
]
"""What a warning is about."""


@frozen(kw_only=True)
class Record:
    """A line of `metrics.jsonl`.

    For the split `train`, components are means over the steps since the last record. For `heldout`, they are
    measured on the same clips each time, with the weights of the end of the training, so that they are
    comparable. `seconds` is the training time so far, `audio_rate` the seconds of audio trained on per
    second.

    A training record has the `learning_rate` of its last step and, where the gradients of the terms were
    measured since the last record, `gradients`: `shares` of each term in the gradient at the decoder's
    output, `parameter_shares` in that of the model's weights, and `cosines` between the gradients of two
    terms, by the name of the one that is first in the loss and then of the other.
    """

    step: int
    split: str
    seconds: float
    components: dict[str, float]
    weights: dict[str, float]
    progress: float
    audio_rate: float
    learning_rate: float | None = None
    gradients: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, components: Mapping[str, float], **at: Any) -> Self:  # noqa: ANN401  # the other fields
        """Return the record of components, among which are the weights of the terms."""
        parsed = {name: ComponentName.parse(name) for name in components}
        at |= {name: round(at[name], 3) for name in ("seconds", "audio_rate")}
        return cls(
            components={key: components[key] for key, name in parsed.items() if not name.is_weighting},
            weights={name.term: components[key] for key, name in parsed.items() if name.kind == "weight"},
            **at,
        )
