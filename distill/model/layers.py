"""The layers of the VAE: patches of bins and frames, and residual blocks over a grid of patches.

Shapes: `B` batch, `Q` cells along frequency, `S` cells along time, `C` channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.spectral.plain import at_least_float32

_FREQUENCY_KERNEL = 5
_TIME_KERNEL = 3


class ConvNeXtBlock(nn.Module):
    """A residual block over a grid `[B, Q, S, C]`: a depthwise convolution, then an MLP (Liu et al., 2022).

    The kernel spans 5 cells along frequency and 3 along time: the current one and the 2 before it or, with
    `looks_ahead`, the one before and the one after it.
    """

    def __init__(self, channels: int, expansion: int, *, looks_ahead: bool) -> None:
        super().__init__()
        self.padding = (1, 1) if looks_ahead else (2, 0)
        kernel = _FREQUENCY_KERNEL, _TIME_KERNEL
        self.depthwise = nn.Conv2d(channels, channels, kernel, groups=channels)
        weight = self.depthwise.weight.detach().contiguous(memory_format=torch.channels_last)
        self.depthwise.weight = nn.Parameter(weight)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus the residual."""
        # A depthwise convolution in bfloat16 is slower than one in float32 on a CPU.
        with torch.autocast(x.device.type, enabled=x.is_cuda and torch.is_autocast_enabled(x.device.type)):
            reach = _FREQUENCY_KERNEL // 2
            y = F.pad(at_least_float32(x).permute(0, 3, 1, 2), (*self.padding, reach, reach))
            y = self.depthwise(y).permute(0, 2, 3, 1)
        return x + self.scale * self.narrow(F.relu(self.widen(self.norm(y)), inplace=True))


class Grid(nn.Module):
    """A stack of blocks over a grid of `bands` cells along frequency, with a position embedding per cell.

    With `looks_ahead`, the first block looks one cell ahead in time. The other blocks are causal.
    """

    def __init__(self, bands: int, channels: int, blocks: int, expansion: int, *, looks_ahead: bool) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(bands, 1, channels))
        self.blocks = nn.Sequential(
            *(
                ConvNeXtBlock(channels, expansion, looks_ahead=looks_ahead and not index)
                for index in range(blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the input's shape, `[B, bands, S, C]`."""
        placed: Tensor = self.blocks(x + self.place)
        return placed


def join_patches(x: Tensor, height: int, length: int) -> Tensor:
    """Join patches of cells: `[B, Q, S, C]` to `[B, Q / height, S / length, height * length * C]`."""
    batch, bands, steps, channels = x.shape
    x = x.reshape(batch, bands // height, height, steps // length, length, channels)
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3)


def split_patches(x: Tensor, height: int, length: int) -> Tensor:
    """Invert `join_patches`: `[B, Q, S, C]` to `[B, Q * height, S * length, C / (height * length)]`."""
    batch, bands, steps, _ = x.shape
    x = x.reshape(batch, bands, steps, height, length, -1).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, bands * height, steps * length, -1)
