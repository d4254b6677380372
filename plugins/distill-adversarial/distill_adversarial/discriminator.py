"""A discriminator of one STFT resolution.

Shapes: `B` batch, `C` channels, `F` bins, `T` frames.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

_FLOOR = 1e-4
_COMPRESSION = 0.3
_SLOPE = 0.2


class StftDiscriminator(nn.Module):
    """A convolutional discriminator of complex spectra (Defossez et al., 2022).

    Amplitudes are compressed by an exponent of 0.3, so that quiet sounds and tails matter, too. The strides
    over bins are large, 4, 4 and 2: on a CPU it takes a few percent of the time of EnCodec's.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = [(2, channels, 4), (channels, 2 * channels, 4), (2 * channels, 4 * channels, 2)]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(size, count, (9, 3), (stride, 1), (4, 1))) for size, count, stride in sizes
        )
        self.layers.append(weight_norm(nn.Conv2d(4 * channels, 4 * channels, 3, padding=1)))
        self.verdict = weight_norm(nn.Conv2d(4 * channels, 1, 3, padding=1))

    def forward(self, spectrum: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores `[B, 1, F', T]` and features `[B, C, F'', T]` of complex spectra `[B, F, T]`."""
        parts = torch.view_as_real(spectrum)
        power = parts.square().sum(-1, keepdim=True) + _FLOOR**2
        x = (parts * power ** ((_COMPRESSION - 1) / 2)).permute(0, 3, 1, 2)
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return self.verdict(x), features
