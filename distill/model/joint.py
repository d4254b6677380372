"""Layers that code several frames of the rich code together, besides the principal axes.

The axes are linear: they spend numbers on what is inaudible in a sound, if it varies over a corpus. These
layers know the levels, and so what is audible. Their outputs are added to those of the axes.

Shapes: `B` batch, `Q` bands, `C` numbers of a frame without its overall level, `J` frames that are coded
together, `S` frames, `T'` = S / J latent frames, `K` numbers of a latent frame without the overall levels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.model.code import BandCode, Levels
from distill.spectral.plain import at_least_float32

AUDIBLE = 1e-4
"""The amplitude relative to the loudest band of a latent frame at which a band counts half."""

_SCALE = 3.0
"""The scale of logarithms of amplitudes, in nepers, by which layer inputs are divided."""


class JointLayers(nn.Module):
    """Two hidden layers in each direction between frames of the rich code and a latent frame.

    They add nothing until they are trained or loaded, since their last layers are initialized to 0.
    """

    bands: Tensor

    def __init__(self, code: BandCode, levels: Levels, width: int) -> None:
        super().__init__()
        self.code, self.levels = code, levels
        counts = torch.tensor(code.counts, device="cpu")
        bands = torch.arange(len(counts), device="cpu").repeat_interleave(counts)
        self.register_buffer("bands", bands.to(torch.get_default_device()), persistent=False)
        frames, kept = code.joint * (1 + code.size), code.kept
        self.inwards = _layers(frames, width, kept)
        self.outwards = _layers(kept + code.joint, width, code.joint * code.size)

    def encode(self, level: Tensor, rest: Tensor) -> Tensor:
        """Return what to add to the latents `[B, K, T']` of a code `[B, 1, S]` and `[B, C, S]`."""
        together = self._audible(level, rest).mT.unflatten(1, (-1, self.code.joint)).flatten(2)
        return at_least_float32(self.inwards(together)).mT

    def decode(self, level: Tensor, latents: Tensor) -> Tensor:
        """Return what to add to the code `[B, C, S]` of levels `[B, J, T']` and latents `[B, K, T']`."""
        together = at_least_float32(self.outwards(torch.cat([latents, level], dim=1).mT))
        return together.unflatten(2, (self.code.joint, -1)).flatten(1, 2).mT

    def _audible(self, level: Tensor, rest: Tensor) -> Tensor:
        """Return a code as `[B, 1 + C, S]`, less what cannot be heard beside the rest of a latent frame."""
        levels, shape = self.code.part(level, rest)
        amplitude = self.levels.amplitude(levels).unflatten(2, (-1, self.code.joint))
        heard = AUDIBLE * amplitude.amax((1, 3), keepdim=True) + self.levels.floor
        loudness = (torch.log1p(amplitude / heard) / _SCALE).flatten(2)
        weight = (amplitude / (amplitude + heard)).flatten(2)
        return torch.cat([level, loudness, shape * weight[:, self.bands]], dim=1)


class _Hidden(nn.Module):
    """A residual layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.linear(x))


def _layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), _Hidden(width), last)
