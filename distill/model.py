"""The VAE: spectrograms to a sequence of latents and back.

Shapes: `B` batch, `F` bins, `T` frames, `T'` = ceil(T / stride) latent frames, `D` numbers per latent
frame, `C` = width, `S` any number of frames.

Bins are channels and blocks look along time only, as in Vocos (Siuzdak, 2023): on a CPU an order of
magnitude cheaper than convolving over both axes.

The magnitudes' way through the model is a linear code with a network beside it. Before the training
the linear part is set to the principal components of the corpus, the best code of its kind, and the
network to nearly nothing, so that what is learnt in minutes is what the linear code misses.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import ConfigError
from distill.representation import MagnitudeIF, wrapped
from distill.settings import ModelSettings

LOGVAR_BOUND = 8.0
"""The log-variance stays within -8..8: an unbounded one overflows while the KL weight is still 0."""

_INITIAL_NETWORK = 0.05
"""What the network adds to the linear code at first, as a share of what it could."""

_DECOMPOSED_WHOLE = 1536
"""Columns up to which principal components are found exactly, in about a second."""

_FREQUENCY_PULL = 0.1
"""The share of the IF's gradient that reaches what it is made of: the magnitudes decide what that holds."""

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
        self.code_in = nn.Linear(self.stride * width, self.latent_size)
        self.encoder = _stages(settings.encoder_blocks, width, settings.expansion, Halve)
        self.encoder_norm = nn.LayerNorm(width)
        self.posterior = nn.Linear(width, 2 * self.latent_size)
        self.latents_in = nn.Linear(self.latent_size, width)
        self.decoder = _stages(settings.decoder_blocks, width, settings.expansion, Double)
        self.decoder_norm = nn.LayerNorm(width)
        self.code_out = nn.Linear(self.latent_size, self.stride * width)
        self.magnitude_out = nn.Linear(width, bins)
        self.frequency_out = nn.Sequential(nn.Linear(width, rank), nn.Linear(rank, bins))
        with torch.no_grad():
            self.decoder_norm.weight.fill_(_INITIAL_NETWORK)
            self.posterior.weight[: self.latent_size] *= _INITIAL_NETWORK

    def latent_frames(self, frames: int) -> int:
        """Give the number of latent frames for a number of spectrogram frames."""
        return -(-frames // self.stride)

    def forward(self, spectrogram: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw from the posterior with `noise`, decode."""
        mu, logvar = self.encode(spectrogram)
        latents = mu if noise is None else mu + noise * torch.exp(0.5 * logvar)
        return self.decode(latents, spectrogram.shape[-1]), mu, logvar

    def encode(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Give the posterior's `mu` and `logvar`, `[B, D, T']`, of a spectrogram `[B, 2, F, T]`.

        It looks at channel 0 alone: IFs follow from magnitudes wherever they can be told from noise.
        """
        magnitude = F.pad(spectrogram[:, 0].mT, (0, 0, 0, -spectrogram.shape[-1] % self.stride))
        x = self.magnitude_in((magnitude - self.mean_frame[0]) / self.deviation)
        code = self.code_in(x.unflatten(1, (-1, self.stride)).flatten(2))
        x = self.posterior(self.encoder_norm(self.encoder(x)))
        mu, logvar = x.transpose(1, 2).float().chunk(2, dim=1)
        mu = mu + code.transpose(1, 2).float()
        return mu, LOGVAR_BOUND * torch.tanh((logvar + _INITIAL_LOGVAR) / LOGVAR_BOUND)

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Give the spectrogram `[B, 2, F, frames]` of latents `[B, D, T']`."""
        latents = latents.transpose(1, 2)
        code = self.code_out(latents).unflatten(2, (self.stride, -1)).flatten(1, 2)
        hidden = (self.decoder_norm(self.decoder(self.latents_in(latents))) + code)[:, :frames]
        x = torch.addcmul(self.mean_frame[0], self.magnitude_out(hidden).float(), self.deviation)
        # Channel 0 is never negative, and so sharp a bend lets silence come near 0.
        magnitude = F.softplus(x, beta=4)
        pulled = torch.lerp(hidden.detach(), hidden, _FREQUENCY_PULL)
        frequency = wrapped(self.frequency_out(pulled).float())
        return torch.stack([magnitude, frequency], dim=1).mT

    def sound(
        self, latents: Tensor, representation: MagnitudeIF, samples: int, iterations: int | None = None
    ) -> Tensor:
        """Give the waveform `[B, samples]` of latents `[B, D, T']`, rendered as `render` does."""
        spectrogram = self.decode(latents, representation.frames(samples))
        return self.render(spectrogram, representation, samples, iterations)

    def render(
        self, spectrogram: Tensor, representation: MagnitudeIF, samples: int, iterations: int | None = None
    ) -> Tensor:
        """Return the waveform `[B, samples]` of a decoded spectrogram `[B, 2, F, T]`, with phases found.

        It is reconciled as often as the model has it, or in so many `iterations`; 0 keeps the decoded IF.
        What is reconciled begins at phases drawn at random, always the same ones: a decoder's IF is the
        middle of what may be, and noise with such phases repeats itself from hop to hop, and rings.
        """
        iterations = int(self.iterations) if iterations is None else iterations
        if iterations:
            magnitude = spectrogram[:, 0]
            drawn = torch.rand(magnitude[0].mT.shape, generator=torch.Generator().manual_seed(0))
            frequency = (2 * drawn - 1).to(magnitude.device).mT.expand_as(magnitude)
            spectrogram = torch.stack([magnitude.mT, frequency.mT], dim=1).mT
        return representation.inverse(spectrogram, samples, iterations)

    @torch.no_grad()
    def begin_with(self, spectrograms: Tensor) -> None:
        """Begin with the best linear code of the audible part of `[B, 2, F, T]`.

        It is that of principal components: those of the frames, and among these of what makes up a
        latent frame.
        """
        padded = F.pad(spectrograms, (0, -spectrograms.shape[-1] % self.stride)).permute(0, 3, 1, 2)
        audible = padded[:, :, 0].amax(dim=-1) > 1
        if not audible.any():
            return
        self.mean_frame.copy_(padded[audible].mean(dim=0))
        centred = padded[:, :, 0] - self.mean_frame[0]
        self.deviation.copy_(centred[audible].square().mean().sqrt().clamp(min=1e-3))
        centred = centred / self.deviation
        directions, spread = _principal_components(centred[audible], self.magnitude_in.out_features)
        if spread[0] < 1e-3:  # frames that are all alike leave nothing to tell apart
            return
        count = len(spread)
        # Whitened in part: what hardly varies is mostly noise, and is not to be made loud.
        inwards, outwards = ((spread.square() + share * spread[0] ** 2).sqrt() for share in (2e-2, 1e-4))
        self.magnitude_in.weight[:count] = (directions / inwards).T
        self.magnitude_in.bias.zero_()
        self.magnitude_out.weight[:, :count] = directions * outwards
        self.magnitude_out.bias.zero_()

        latent_frames = (centred @ directions).unflatten(1, (-1, self.stride)).flatten(2)
        heard = latent_frames[audible.unflatten(1, (-1, self.stride)).any(dim=-1)]
        mean = heard.mean(dim=0)
        directions, spread = _principal_components(heard - mean, self.latent_size)
        usable = spread > max(1e-3, 1e-2 * spread[0].item())
        directions, spread = directions[:, usable], spread[usable]
        shape = (self.stride, count, len(spread))
        for layer in (self.code_in, self.code_out):
            layer.weight.zero_()
            layer.bias.zero_()
        code_in = self.code_in.weight.T.unflatten(0, (self.stride, -1))
        code_in[:, :count, : len(spread)] = (directions / spread).view(shape) * inwards[:, None]
        self.code_in.bias[: len(spread)] = -mean @ (directions / spread)
        code_out = self.code_out.weight.unflatten(0, (self.stride, -1))
        code_out[:, :count, : len(spread)] = (directions * spread).view(shape) / outwards[:, None]
        self.code_out.bias.view(self.stride, -1)[:, :count] = mean.view(self.stride, -1) / outwards


def _principal_components(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Give at most `count` directions in which centred rows `[N, M]` vary most, and the spread along each.

    The directions are `[M, count]` and orthonormal (Hotelling, 1933), the spread `[count]`. Among
    thousands of columns they are found by subspace iteration (Halko et al., 2011), always from the same
    start: the whole decomposition would take a minute.
    """
    if rows.shape[1] > _DECOMPOSED_WHOLE:
        with torch.random.fork_rng([rows.device] if rows.is_cuda else []):
            torch.manual_seed(0)
            _, sizes, directions = torch.svd_lowrank(rows, q=min(count + 16, *rows.shape), niter=4)
        return directions[:, :count], sizes[:count] / len(rows) ** 0.5
    covariance = (rows.T @ rows / len(rows)).cpu()  # not every device has the decomposition
    variances, directions = torch.linalg.eigh(covariance)
    spread = variances.flip(0)[:count].clamp(min=0).sqrt()
    return directions.flip(1)[:, :count].to(rows.device), spread.to(rows.device)


def _stages(
    blocks: tuple[int, ...], width: int, expansion: int, between: type[Halve] | type[Double]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for stage, count in enumerate(blocks):
        if stage:
            layers.append(between(width))
        layers += [ConvNeXtBlock(width, expansion) for _ in range(count)]
    return nn.Sequential(*layers)
