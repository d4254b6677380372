"""Progress reports of work on recordings."""

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Progress:
    """The progress of a stage: `done` of `total` recordings. `item` names the last one, if it has a name.

    The stage is `"decoding"`, `"finishing"` (after the training), or `"measuring"`.
    """

    stage: Literal["decoding", "finishing", "measuring"]
    done: int
    total: int
    item: str = ""
