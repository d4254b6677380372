"""Progress reports of work on recordings."""

from typing import Literal, TypeAlias

from attrs import frozen

Stage: TypeAlias = Literal[
    "decoding", "measuring", "map", "axes", "calibrating", "keeping", "finishing", "writing", "page"
]


@frozen(kw_only=True)
class Progress:
    """The progress of a stage: `done` of `total` recordings. `item` names the last one, if it has a name.

    The stage is `"decoding"`, `"measuring"`, `"map"` (the sounds of recordings on the map of a page are made)
    or `"axes"` (pieces of recordings and moves of generated sounds, by which axes are found), or one of those
    after the last step of a training run: `"calibrating"` (in steps) or `"keeping"` (measurements of how much
    of the training to keep), `"finishing"` (recordings are encoded), `"writing"` (of sounds to listen to) and
    `"page"`.
    """

    stage: Stage
    done: int
    total: int
    item: str = ""
