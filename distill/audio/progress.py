"""How far a piece of work on recordings is."""

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Progress:
    """`done` of `total` recordings are through a stage; `item` names what was done last, if it has a name.

    The stage is `"decoding"`, `"finishing"`, which comes after a training, or `"measuring"`.
    """

    stage: Literal["decoding", "finishing", "measuring"]
    done: int
    total: int
    item: str = ""
