"""The VAE, which encodes spectrograms as a sequence of latent frames and decodes them.

Shapes: `B` batch, `F` bins, `T` frames, `Q` bands of 32 bins, `S` = ceil(T / 8) frames of the rich code, `C`
numbers per such frame without its overall level, `T'` latent frames of `D` numbers. The latent frames of the
rich code are its frames; one of a smaller code represents `J` of them together.

The model is local in frequency: patches of bins and frames are processed by layers whose weights are shared
by all bands, so that what is learnt at one frequency applies to all. Levels are measured and kept separate
from shapes (see `code.py`).
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.config.settings import STRIDE, ModelSettings
from distill.model.axes import PrincipalAxes
from distill.model.code import BAND, BandCode, Levels, band_count, spread_levels
from distill.model.joint import JointLayers
from distill.model.layers import Grid, join_patches, split_patches
from distill.model.phases import ITERATIONS, roughened, sharpened, white_noise, with_phases
from distill.model.spread import audible_error
from distill.spectral.plain import at_least_float32
from distill.spectral.representation import MagnitudeIF, wrapped

LOGVAR_BOUND = 8.0
"""The log-variance is bounded to -8..8. An unbounded one would overflow while the KL weight is 0."""

_INITIAL_LOGVAR = -3.0
"""The initial log-variance. A narrow posterior lets the decoder use the latents from the first step on."""

_PATCH = 16, 4
"""Bins and frames of a patch, which is a cell of the fine grid."""

_JOINED = 2, 2
"""Fine cells along frequency and time in a coarse cell, which is a band in a latent frame."""

_SCALE = 2.0
"""The scale of log-magnitudes within a band, in nepers, by which layer inputs are divided."""

_FREQUENCY_PULL = 0.1
"""The factor on the IF's gradient with respect to the decoder's features, so that the magnitudes dominate."""

_LEAST_SPREAD = 0.02
"""The minimum of the predicted error, in nepers."""


class Decoded(NamedTuple):
    """The output of the decoder, in whole latent frames.

    `log_magnitude` and `frequency` (the IF) are `[B, 32 * Q, 8 * S]`, `levels` `[B, Q, S]` are the band
    levels of the code, and `features` the input of the last layers.

    The class is a tuple since `torch.compile` cannot trace the creation of attrs objects.
    """

    log_magnitude: Tensor
    frequency: Tensor
    levels: Tensor
    features: Tensor


class VAE(nn.Module):
    """A variational autoencoder (Kingma & Welling, 2014) for one representation.

    The forward pass takes a spectrogram `[B, 2, F, T]` and standard normal noise `[B, D, T']`, or None to use
    the posterior's mean. It returns the reconstruction `[B, 2, F, T]` and the posterior's `mu` and `logvar`,
    both `[B, D, T']`.

    A latent frame represents `stride` frames. Encoder and decoder look at most `lookahead` frames ahead of
    it.

    Raises:
        ConfigError: `latents_per_second` has no room for the levels and one more number.
    """

    lookahead = STRIDE
    hearing: Tensor

    def __init__(self, settings: ModelSettings, representation: MagnitudeIF) -> None:
        super().__init__()
        self.iterations = ITERATIONS
        self.bins, self.bands = representation.bins, band_count(representation.bins)
        self.levels = Levels(representation.floor)
        self.register_buffer("hearing", _erb_weights(representation, self.bands), persistent=False)
        code = BandCode.sized(settings, representation)
        self.code, self.stride = code, STRIDE * code.joint
        width, fine, expansion = settings.width, settings.fine_width, settings.expansion
        fine_bands, patch, joined = self.bands * _JOINED[0], math.prod(_PATCH), math.prod(_JOINED) * fine
        encoder, decoder = settings.encoder_blocks, settings.decoder_blocks

        self.patch_in = nn.Linear(patch, fine)
        self.fine_encoder = Grid(fine_bands, fine, encoder[0], expansion, looks_ahead=False)
        self.join = nn.Linear(joined, width)
        self.level_in = nn.Linear(1, width)
        self.encoder = Grid(self.bands, width, encoder[1], expansion, looks_ahead=True)
        self.encoder_norm = nn.LayerNorm(width)
        self.posterior = nn.Linear(width, 2 * code.most)

        self.latents_in = nn.Linear(code.most + 1, width)
        self.decoder = Grid(self.bands, width, decoder[1], expansion, looks_ahead=True)
        self.split = nn.Linear(width, joined)
        self.fine_decoder = Grid(fine_bands, fine, decoder[0], expansion, looks_ahead=False)
        self.patch_out = nn.Linear(fine, patch)
        self.frequency_out = nn.Linear(fine, patch)
        self.spread_out = nn.Linear(fine, patch)
        whole = code.joint * code.size
        small = code.kept < whole
        hidden = settings.joint_width_at(representation.sample_rate, representation.n_fft, representation.hop)
        self.axes = PrincipalAxes(code.size, code.kept, code.joint) if small else None
        self.joint = JointLayers(code, self.levels, hidden) if small and hidden else None
        self.keeps_code = False  # of the model that a training begins with
        # No loss term has a gradient for the spread. `batches.calibrate` trains it.
        self.spread_out.requires_grad_(False)
        nn.init.zeros_(self.spread_out.weight)
        nn.init.zeros_(self.spread_out.bias)

    @property
    def latent_size(self) -> int:
        """The number of values in a latent frame, D."""
        return self.code.joint + self.code.kept

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.patch_in.weight.device

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the encoder, with those of a small code with hidden layers that is kept.

        Axes alone, or a code that is new, belong to the rest.
        """
        parts = (self.patch_in, self.fine_encoder, self.join, self.level_in, self.encoder)
        for part in (*parts, self.encoder_norm, self.posterior):
            yield from part.parameters()
        if self.axes is not None and self.joint is not None and self.keeps_code:
            yield from self.axes.parameters()
            yield from self.joint.parameters()

    def latent_frames(self, frames: int) -> int:
        """Return the number of latent frames for a number of spectrogram frames."""
        return -(-frames // self.stride)

    def code_frames(self, frames: int) -> int:
        """Return the number of frames of the rich code for a number of spectrogram frames."""
        return -(-frames // STRIDE)

    def forward(self, spectrogram: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode the spectrogram, sample from the posterior with `noise`, and decode."""
        mu, logvar = self.encode(spectrogram)
        latents = mu if noise is None else mu + noise * torch.exp(0.5 * logvar)
        return self.decode(latents, spectrogram.shape[-1]), mu, logvar

    def encode(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's `mu` and `logvar`, `[B, D, T']`, of a spectrogram `[B, 2, F, T]`.

        Only channel 0, the log-magnitudes, is used. Phases are reconstructed when a sound is made.
        """
        level, mu, logvar = self.encode_rich(spectrogram)
        if self.axes is not None:
            level, mu = self._joined(self.axes, level, mu)
            logvar = self.axes.logvar_of(mu)
        levels = level.shape[1]
        return torch.cat([level, mu], 1), F.pad(logvar, (0, 0, levels, 0), value=-LOGVAR_BOUND)

    def _joined(self, axes: PrincipalAxes, level: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Represent every J frames of the rich code, `[B, 1, S]` and `[B, C, S]`, by one latent frame.

        The last frame is repeated if they are not whole latent frames.

        Returns:
            The overall levels `[B, J, T']` and the other numbers `[B, D - J, T']`.
        """
        missing = -level.shape[-1] % self.code.joint
        level, rest = (F.pad(each, (0, missing), mode="replicate") for each in (level, rest))
        latents = axes.encode(rest)
        if self.joint is not None:
            latents = latents + self.joint.encode(level, rest)
        return level[:, 0].unflatten(1, (-1, self.code.joint)).mT, latents

    def expand(self, latents: Tensor) -> Tensor:
        """Return the rich code `[B, 1 + C, S]` of latents `[B, D, T']`, with S = J * T'.

        The first number of each frame is its overall level. Latents of the rich code are returned as they
        are.
        """
        if self.axes is None:
            return latents
        level, rest = latents.split([self.code.joint, self.code.kept], dim=1)
        code = self.axes.decode(rest)
        if self.joint is not None:
            code = code + self.joint.decode(level, rest)
        return torch.cat([level.mT.flatten(1)[:, None], code], dim=1)

    def reduce(self, code: Tensor) -> Tensor:
        """Return the latents `[B, D, T']` of a rich code `[B, 1 + C, S]`, with T' = ceil(S / J).

        For a smaller code, this inverse of `expand` is approximate, except for the overall levels.
        """
        if self.axes is None:
            return code
        return torch.cat(self._joined(self.axes, code[:, :1], code[:, 1:]), dim=1)

    def encode_rich(self, spectrogram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rich code: the levels `[B, 1, S]`, and `mu` and `logvar` `[B, C, S]` of the rest."""
        log_magnitude = self._whole_cells(spectrogram[:, 0], STRIDE)
        levels = self.levels.measure(log_magnitude)
        x = (log_magnitude - spread_levels(levels)) / _SCALE + 0.5
        x = self.fine_encoder(self.patch_in(join_patches(x[..., None], *_PATCH)))
        x = self.join(join_patches(x, *_JOINED)) + self.level_in(self.code.scaled(levels)[..., None])
        x = at_least_float32(self.posterior(self.encoder_norm(self.encoder(x))))
        shape, logvar = (self.code.flatten(part) for part in x.chunk(2, dim=-1))
        logvar = LOGVAR_BOUND * torch.tanh((logvar + _INITIAL_LOGVAR) / LOGVAR_BOUND)
        level, mu = self.code.join(self.levels.total(levels), levels, shape)
        return level, mu, F.pad(logvar, (0, 0, self.bands, 0), value=-LOGVAR_BOUND)

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Return the spectrogram `[B, 2, F, frames]` of latents `[B, D, T']`."""
        decoded = self.decode_whole(latents)
        both = torch.stack([decoded.log_magnitude.mT, decoded.frequency.mT], dim=1)
        return self._bins_of(both.mT)[..., :frames]

    def decode_whole(self, latents: Tensor) -> Decoded:
        """Decode latents `[B, D, T']` and return all outputs of the decoder."""
        code = self.expand(latents)
        return self.decode_bands(*self.code.part(code[:, :1], code[:, 1:]))

    def decode_bands(self, levels: Tensor, shape: Tensor) -> Decoded:
        """Decode levels `[B, Q, S]` and shape numbers `[B, C - Q, S]`."""
        features = self._features(levels, shape)
        pulled = torch.lerp(features.detach(), features, _FREQUENCY_PULL)
        frequency = wrapped(_cells(self.frequency_out, pulled))
        return Decoded(self._magnitudes(features, levels), frequency, levels, features)

    def _features(self, levels: Tensor, shape: Tensor) -> Tensor:
        """Return the input of the last layers for levels `[B, Q, S]` and shape numbers `[B, C - Q, S]`."""
        x = torch.cat([self.code.unflatten(shape), self.code.scaled(levels)[..., None]], dim=-1)
        x = self.split(self.decoder(self.latents_in(x)))
        return self.fine_decoder(split_patches(x, *_JOINED))

    def _magnitudes(self, features: Tensor, levels: Tensor) -> Tensor:
        """Return the log-magnitudes `[B, 32 * Q, 8 * S]` of features and of levels `[B, Q, S]`."""
        magnitude = _SCALE * (_cells(self.patch_out, features) - 0.5) + spread_levels(levels)
        # Log-magnitudes are never negative. A high beta lets softplus come close to 0 in silence.
        return F.softplus(magnitude, beta=4)

    def bands_of(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels `[B, Q, S]` and the shapes `[B, Q, S, K]` of a rich code `[B, 1 + C, S]`."""
        levels, shape = self.code.part(code[:, :1], code[:, 1:])
        return levels, self.code.unflatten(shape)

    def from_bands(self, levels: Tensor, shapes: Tensor) -> Tensor:
        """Return the rich code `[B, 1 + C, S]` of levels and shapes: the inverse of `bands_of`."""
        return torch.cat(self.code.join(self.levels.total(levels), levels, self.code.flatten(shapes)), 1)

    def spread_of(self, features: Tensor) -> Tensor:
        """Return the predicted absolute error of the log-magnitudes, in nepers, `[B, 32 * Q, 8 * S]`."""
        return F.softplus(_cells(self.spread_out, features)) + _LEAST_SPREAD

    def errors(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's features for spectrograms `[B, 2, F, T]`, and its error in each cell."""
        decoded = self.decode_whole(self.encode(spectrogram)[0])
        target = self.levels.amplitude(self._whole_cells(spectrogram[:, 0], self.stride))
        prediction = self.levels.amplitude(decoded.log_magnitude)
        return decoded.features, audible_error(prediction, target, self.levels.floor)

    def sound(
        self,
        latents: Tensor,
        representation: MagnitudeIF,
        samples: int,
        iterations: int | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return the waveform `[B, samples]` of latents `[B, D, T']`.

        Uncertain magnitudes fluctuate as noise does, and levels are those of the code.

        Args:
            latents: the latents.
            representation: the representation of the model.
            samples: the length of the waveform.
            iterations: the number of Griffin-Lim iterations. Default: the model's `iterations`.
            noise: the spectrogram `[B, 2, F, T]` of white noise. By default all rows are equal.
        """
        if noise is None:
            noise = white_noise(representation, len(latents), samples, latents.device)
        log_magnitude = self.log_magnitude(latents, noise)
        iterations = self.iterations if iterations is None else iterations
        return with_phases(log_magnitude, noise, representation, samples, iterations)

    def log_magnitude(self, latents: Tensor, noise: Tensor, contrast: float = 1.0) -> Tensor:
        """Return the log-magnitudes `[B, F, T]` from which `sound` synthesizes latents `[B, D, T']`.

        The decoded log-magnitudes get the fluctuations of white noise `[B, 2, F, T]` where they are
        uncertain, and are scaled to the levels of the code. `contrast` scales their differences from their
        neighbours.
        """
        code = self.expand(latents)
        levels, shape = self.code.part(code[:, :1], code[:, 1:])
        features = self._features(levels, shape)  # without the IF, which a sound does not need
        unit = math.log1p(1 / self.levels.floor)
        rough = roughened(
            sharpened(self._magnitudes(features, levels), contrast),
            self.spread_of(features),
            self._whole_cells(noise[:, 0], self.stride, unit),
            unit,
        )
        rough = self.levels.restore(rough, levels)
        if self.axes is not None:  # then band levels are approximate, but the overall level is exact
            rough = self.levels.restore_total(rough, self.code.total(code[:, 0]))
        return self._bins_of(rough)[..., : noise.shape[-1]]

    def render(
        self,
        spectrogram: Tensor,
        representation: MagnitudeIF,
        samples: int,
        iterations: int | None = None,
    ) -> Tensor:
        """Return the waveform `[B, samples]` of a spectrogram `[B, 2, F, T]`.

        Phases are reconstructed as in `sound`. The spectrogram's IF is not used.
        """
        noise = white_noise(representation, len(spectrogram), samples, spectrogram.device)
        iterations = self.iterations if iterations is None else iterations
        return with_phases(spectrogram[:, 0], noise, representation, samples, iterations)

    def _whole_cells(self, log_magnitude: Tensor, stride: int, value: float = 0.0) -> Tensor:
        """Crop or pad `[B, F, T]` to `[B, 32 * Q, n * stride]`. The default padding is silence."""
        missing = self.bands * BAND - log_magnitude.shape[1], -log_magnitude.shape[2] % stride
        return F.pad(log_magnitude, (0, missing[1], 0, missing[0]), value=value)

    def _bins_of(self, cells: Tensor) -> Tensor:
        """Crop or pad `[..., 32 * Q, 8 * S]` to `[..., F, 8 * S]`; the uppermost bin is silent."""
        return F.pad(cells, (0, 0, 0, self.bins - self.bands * BAND))


def _erb_weights(representation: MagnitudeIF, bands: int) -> Tensor:
    """Return the square root of the ERB density (Glasberg and Moore, 1990) at each bin, `[32 * Q, 1]`."""
    # Computing on the device "meta" would load torch's compiler, which takes a second.
    hertz = torch.arange(bands * BAND, device="cpu") * representation.sample_rate / representation.n_fft
    return ((1 + 0.00437 * hertz) ** -0.5)[:, None].to(torch.get_default_device())


def _cells(layer: nn.Linear, features: Tensor) -> Tensor:
    """Apply one of the last layers and arrange its patches as `[B, 32 * Q, 8 * S]`."""
    return at_least_float32(split_patches(layer(features), *_PATCH)[..., 0])
