"""More sounds than there are: clips at other levels, and over each other.

Shapes: `B` clips, `N` samples.
"""

import torch
from torch import Tensor


def augment(clips: Tensor, *, gain_db: float, mix: float, generator: torch.Generator) -> Tensor:
    """Lay clips `[B, N]` over each other and change their level, both at random.

    Each clip is laid over with probability `mix` by the one before it, at up to its full level; then
    its level changes by up to `gain_db` in either direction, evenly in dB. What would clip is turned
    down to full scale. The generator is on the CPU, as the clips are.
    """
    chance, share, level = torch.rand(3, len(clips), 1, generator=generator)
    mixed = clips + (chance < mix) * share * clips.roll(1, dims=0)
    louder = mixed * 10 ** ((2 * level - 1) * gain_db / 20)
    return louder / louder.abs().amax(dim=1, keepdim=True).clamp(min=1)
