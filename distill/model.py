"""The VAE: spectrograms to a sequence of latents and back.

Shapes: `B` batch, `F` bins, `T` frames, `T'` = ceil(T / stride) latent frames, `D` numbers per latent
frame, `C` = width, `S` any number of frames.

Bins are channels and blocks look along time only, as in Vocos (Siuzdak, 2023): on a CPU an order of
magnitude cheaper than convolving over both axes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import ConfigError
from distill.representation import MagnitudeIF
from distill.settings import ModelSettings

LOGVAR_BOUND = 8.0
"""The log-variance stays within -8..8: an unbounded one overflows while the KL weight is still 0."""

_INITIAL_LOGVAR = -3.0
"""The posterior starts narrow, so that the decoder hears the latents from the first step on."""


class ConvNeXtBlock(nn.Module):
    """A residual block over `[B, S, C]`: depthwise convolution in time, then an MLP (Liu et al., 2022)."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's own part to `x`."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.narrow(F.gelu(self.widen(self.norm(y)), approximate="tanh"))


class Halve(nn.Module):
    """Join every two frames: `[B, 2 * S, C]` -> `[B, S, C]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.join = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Join."""
        return self.join(x.unflatten(1, (-1, 2)).flatten(2))


class Double(nn.Module):
    """Make two frames of each: `[B, S, C]` -> `[B, 2 * S, C]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.split = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Split."""
        return self.split(x).unflatten(2, (2, -1)).flatten(1, 2)


class VAE(nn.Module):
    """A variational autoencoder over time (Kingma & Welling, 2014) for one representation.

    Called with a spectrogram `[B, 2, F, T]` and standard normal noise `[B, D, T']`, or None for the
    posterior's mean, it gives the reconstruction `[B, 2, F, T]` and the posterior's `mu` and
    `logvar`, `[B, D, T']`.

    Raises:
        ConfigError: `latents_per_second` leaves less than one number per latent frame.
    """

    mean_frame: Tensor
    deviation: Tensor
    iterations: Tensor

    def __init__(self, settings: ModelSettings, representation: MagnitudeIF) -> None:
        super().__init__()
        self.stride: int = 2 ** (len(settings.encoder_blocks) - 1)
        frames_per_second = representation.sample_rate / representation.hop
        self.latent_size = int(settings.latents_per_second * self.stride / frames_per_second)
        if self.latent_size < 1:
            raise ConfigError(
                f"model.latents_per_second: must be at least {math.ceil(frames_per_second / self.stride)} "
                f"with this representation and {len(settings.encoder_blocks)} stages, "
                f"got {settings.latents_per_second}"
            )
        bins, width, rank = representation.bins, settings.width, settings.frequency_rank
        # The corpus's mean frame, both channels, and the spread of channel 0 around it.
        self.register_buffer("mean_frame", torch.zeros(2, bins))
        self.register_buffer("deviation", torch.ones(()))
        # How often decoded frames are reconciled: what was measured best after training.
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))
        self.magnitude_in = nn.Linear(bins, width)
        self.frequency_in = nn.Sequential(nn.Linear(2 * bins, rank), nn.Linear(rank, width))
        self.encoder = _stages(settings.encoder_blocks, width, settings.expansion, Halve)
        self.encoder_norm = nn.LayerNorm(width)
        self.posterior = nn.Linear(width, 2 * self.latent_size)
        self.latents_in = nn.Linear(self.latent_size, width)
        self.decoder = _stages(settings.decoder_blocks, width, settings.expansion, Double)
        self.decoder_norm = nn.LayerNorm(width)
        self.magnitude_out = nn.Linear(width, bins)
        self.frequency_out = nn.Sequential(nn.Linear(width, rank), nn.Linear(rank, 2 * bins))

    def latent_frames(self, frames: int) -> int:
        """Give the number of latent frames for a number of spectrogram frames."""
        return -(-frames // self.stride)

    def forward(self, spectrogram: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw from the posterior with `noise`, decode."""
        mu, logvar = self.encode(spectrogram)
        latents = mu if noise is None else mu + noise * torch.exp(0.5 * logvar)
        return self.decode(latents, spectrogram.shape[-1]), mu, logvar

    def encode(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Give the posterior's `mu` and `logvar`, `[B, D, T']`, of a spectrogram `[B, 2, F, T]`."""
        missing = -spectrogram.shape[-1] % self.stride
        magnitude, frequency = F.pad(spectrogram, (0, missing)).transpose(2, 3).unbind(1)
        angle = math.pi * frequency
        x = self.magnitude_in((magnitude - self.mean_frame[0]) / self.deviation)
        x = x + self.frequency_in(torch.cat([angle.cos(), angle.sin()], dim=-1))
        x = self.posterior(self.encoder_norm(self.encoder(x)))
        mu, logvar = x.transpose(1, 2).float().chunk(2, dim=1)
        return mu, LOGVAR_BOUND * torch.tanh((logvar + _INITIAL_LOGVAR) / LOGVAR_BOUND)

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Give the spectrogram `[B, 2, F, frames]` of latents `[B, D, T']`."""
        x = self.decoder(self.latents_in(latents.transpose(1, 2)))
        x = self.decoder_norm(x)[:, :frames]
        # Channel 0 is never negative, and an angle of two numbers reaches every frequency.
        magnitude = F.softplus(self.magnitude_out(x).float() * self.deviation + self.mean_frame[0])
        real, imaginary = self.frequency_out(x).float().chunk(2, dim=-1)
        frequency = torch.atan2(imaginary, real) / math.pi
        return torch.stack([magnitude, frequency], dim=1).transpose(2, 3)

    @torch.no_grad()
    def normalise(self, spectrograms: Tensor) -> None:
        """Take the mean frame, and the spread around it, from the audible frames of `[B, 2, F, T]`."""
        frames = spectrograms.transpose(1, 3).flatten(0, 1).transpose(1, 2)
        audible = frames[frames[:, 0].amax(dim=1) > 1]
        if len(audible):
            self.mean_frame.copy_(audible.mean(dim=0))
            spread = (audible[:, 0] - self.mean_frame[0]).square().mean().sqrt()
            self.deviation.copy_(spread.clamp(min=1e-3))


def _stages(
    blocks: tuple[int, ...], width: int, expansion: int, between: type[Halve] | type[Double]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for stage, count in enumerate(blocks):
        if stage:
            layers.append(between(width))
        layers += [ConvNeXtBlock(width, expansion) for _ in range(count)]
    return nn.Sequential(*layers)
