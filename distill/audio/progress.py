"""Progress reports of work on recordings."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from torch import Tensor

Stage: TypeAlias = Literal[
    "decoding",
    "measuring",
    "map",
    "axes",
    "reconstructing",
    "calibrating",
    "keeping",
    "finishing",
    "writing",
    "page",
]


@frozen(kw_only=True)
class Progress:
    """The progress of a stage: `done` of `total` recordings. `item` names the last one, if it has a name.

    The stage is `"decoding"`, `"measuring"`, `"map"` (sounds of recordings for the map of a page),
    `"axes"` (pieces of recordings and moves of generated sounds, by which axes are found) or
    `"reconstructing"` (in seconds of a recording). After the last step of a training run, it is
    `"calibrating"` (in steps) or `"keeping"` (measurements of how much of the training to keep),
    `"finishing"` (recordings are encoded), `"writing"` (of sounds to listen to) and `"page"`.
    """

    stage: Stage
    done: int
    total: int
    item: str = ""


def telling(
    blocks: "Iterable[Tensor]", samples: int, sample_rate: int, item: str, tell: Callable[[Progress], None]
) -> "Iterator[Tensor]":
    """Yield the blocks `[C, n]` of a recording that is reconstructed, and tell how many seconds there are."""
    made = 0

    def tell_made() -> None:
        done, total = (-(-each // sample_rate) for each in (min(made, samples), samples))
        tell(Progress(stage="reconstructing", done=done, total=total, item=item))

    tell_made()
    for block in blocks:
        yield block
        made += block.shape[-1]
        tell_made()
