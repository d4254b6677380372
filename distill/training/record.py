"""A record of a training run."""

from attrs import frozen


@frozen(kw_only=True)
class Record:
    """A line of `metrics.jsonl`.

    For the split `train`, components are means over the steps since the last record. For `heldout`, they are
    measured on the same clips each time, with the weights of the end of the training, so that they are
    comparable. `seconds` is the training time so far, `audio_rate` the seconds of audio trained on per
    second.
    """

    step: int
    split: str
    seconds: float
    components: dict[str, float]
    weights: dict[str, float]
    progress: float
    audio_rate: float
