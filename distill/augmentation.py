"""More sounds than there are: clips at other levels, and over each other.

Shapes: `B` clips, `N` samples.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def augment(
    clips: Tensor,
    *,
    gain_db: float,
    mix: float,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
    of: int | None = None,
) -> Tensor:
    """Lay clips `[B, N]` over each other and change their level, both at random.

    Each clip is laid over with probability `mix` by the one before it, at up to its full level; then
    its level changes by up to `gain_db` in either direction, evenly in dB. What would clip is turned
    down to full scale. The generator is on the CPU, as the clips are. Where the clips are only some
    `rows` `of` more, what happens to them is what would happen to them among all; but the first one
    of these is laid over by the last, whatever stood before it.
    """
    drawn = torch.rand(3, of or len(clips), 1, generator=generator)
    chance, share, level = drawn if rows is None else drawn[:, list(rows)]
    mixed = clips + (chance < mix) * share * clips.roll(1, dims=0)
    louder = mixed * 10 ** ((2 * level - 1) * gain_db / 20)
    return louder / louder.abs().amax(dim=1, keepdim=True).clamp(min=1)
