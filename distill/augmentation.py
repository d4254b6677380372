"""More sounds than there are: clips at other speeds and levels, and over each other.

Shapes: `B` clips, `N` samples.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def drawn_samples(samples: int, speed: float) -> int:
    """Give the length of clips of which `augment` makes clips of `samples`."""
    return math.ceil(samples * (1 + speed))


def augment(
    clips: Tensor,
    samples: int,
    *,
    speed: float,
    gain_db: float,
    mix: float,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
    of: int | None = None,
) -> Tensor:
    """Play clips `[B, N]` at other speeds, lay them over each other and change their level: `[B, samples]`.

    N is `drawn_samples(samples, speed)`. Of each clip a part is played, pitch and all, at a speed
    between `1 / (1 + speed)` and `1 + speed`, even on a logarithmic scale. With probability `mix` it is
    laid over by the one before it, at up to its full level; then its level changes by up to `gain_db`
    in either direction, evenly in dB. What would clip is turned down to full scale.

    The generator is on the CPU, as the clips are. Where the clips are only some `rows` `of` more, what
    happens to them is what would happen to them among all; but the first one of these is laid over by
    the last, whatever stood before it.
    """
    drawn = torch.rand(5, of or len(clips), 1, generator=generator)
    turn, place, chance, share, level = drawn if rows is None else drawn[:, list(rows)]
    played = (samples * (1 + speed) ** (2 * turn - 1)).round().long()
    starts = (place * (clips.shape[-1] - played + 1)).long()
    clips = torch.stack(
        [
            _resample(clip[start : start + length], samples)
            for clip, start, length in zip(clips, starts[:, 0].tolist(), played[:, 0].tolist(), strict=True)
        ]
    )
    mixed = clips + (chance < mix) * share * clips.roll(1, dims=0)
    louder = mixed * 10 ** ((2 * level - 1) * gain_db / 20)
    return louder / louder.abs().amax(dim=1, keepdim=True).clamp(min=1)


def _resample(clip: Tensor, samples: int) -> Tensor:
    """Bring a clip `[N]` to another number of samples, its spectrum cut or padded with zeros.

    A filter with a transition band would leave the uppermost bins of every clip empty, and the model
    would believe that they are.
    """
    if len(clip) == samples:
        return clip
    spectrum = torch.fft.rfft(clip)[: samples // 2 + 1]
    return torch.fft.irfft(spectrum, n=samples) * (samples / len(clip))
