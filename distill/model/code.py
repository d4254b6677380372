"""The code: what a latent frame is made of, and how many numbers each band of frequency gets.

A latent frame holds one number for its level, one for the level of each band beside it, and the shape
of each band's magnitudes. Levels are measured, not learnt (gain apart from shape, as in Shape-Gain
vector quantisation; Valin et al., 2013, code the energy of each band of Opus' CELT so). The shape
numbers are spread over the bands as hearing resolves frequency.

Shapes: `B` batch, `Q` bands of 32 bins, `T'` latent frames of 8 frames, `K` the most shape numbers of a
band, `C` numbers of a latent frame without its level.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from distill.errors import ConfigError
from distill.settings import ModelSettings
from distill.spectral.representation import MagnitudeIF

BAND = 32
"""Bins in a band."""

STRIDE = 8
"""Spectrogram frames in a latent frame."""

_QUIETEST = 1e-8
"""The amplitude below which the level of a band is taken for silence."""

_LOUDEST = 16.0
"""Log-magnitudes, in nepers, are bounded there before they are turned to amplitudes."""

_HEARING = 0.65
"""The exponent of a band's width in ERBs that its share of the numbers follows: with 1 a few low bands
would get nearly all of them, and noise and attacks above none."""

_LEAST = 2
"""Numbers of a latent frame at least: its level, and one more."""

_MOST = 16
"""Shape numbers of a band at most."""

NUMBERS_PER_SECOND = {"rich": 1400, "compact": 128}
"""The numbers per second of audio that each size of code holds at most."""

_LEVEL_MEAN, _LEVEL_SCALE = 7.0, 3.0
_RELATIVE_MEAN = -3.0
"""Levels of recordings and of their bands, in nepers: what makes them near a standard normal."""


def band_count(bins: int) -> int:
    """Return the number of bands that hold all bins but the last one, which is half the sample rate."""
    return max(1, math.ceil((bins - 1) / BAND))


def allocate(numbers: int, bands: int, hertz: float) -> tuple[int, ...]:
    """Spread shape numbers over bands that are `hertz` wide each, as hearing resolves frequency.

    A band's share follows its width in equivalent rectangular bandwidths (Glasberg and Moore, 1990) to
    the power of 0.65. Every band gets one number first, from the lowest on, as far as they suffice.

    Returns:
        The number of each band, at most 16; they sum to `numbers` unless all bands are full.
    """
    edges = [21.4 * math.log10(1 + 0.00437 * hertz * band) for band in range(bands + 1)]
    widths = [(high - low) ** _HEARING for low, high in pairwise(edges)]
    counts = [0] * bands
    for band in range(min(numbers, bands)):
        counts[band] = 1
    for _ in range(numbers - sum(counts)):
        open_bands = [band for band in range(bands) if counts[band] < _MOST]
        if not open_bands:
            break
        # The band whose numbers are spread most thinly gets the next one (D'Hondt).
        counts[max(open_bands, key=lambda band: widths[band] / (counts[band] + 1))] += 1
    return tuple(counts)


class Levels:
    """Levels of bands in latent frames, as log-magnitudes `log(1 + amplitude / floor)` of RMS amplitudes."""

    def __init__(self, floor: float) -> None:
        self.floor = floor

    def measure(self, log_magnitude: Tensor) -> Tensor:
        """Return the levels `[B, Q, T']` of log-magnitudes `[B, 32 * Q, 8 * T']`."""
        return torch.log1p(self._rms(log_magnitude) / self.floor)

    def restore(self, log_magnitude: Tensor, levels: Tensor) -> Tensor:
        """Return log-magnitudes `[B, 32 * Q, 8 * T']` scaled so that bands have these levels `[B, Q, T']`.

        A band that is silent stays silent.
        """
        ratio = (self.amplitude(levels) + _QUIETEST) / (self._rms(log_magnitude) + _QUIETEST)
        return self._scaled(log_magnitude, ratio)

    def restore_total(self, log_magnitude: Tensor, total: Tensor) -> Tensor:
        """Return log-magnitudes `[B, 32 * Q, 8 * T']` with this level `[B, T']` of all bands."""
        levels = self.measure(log_magnitude)
        there = self.amplitude(self.total(levels))
        ratio = (self.amplitude(total) + _QUIETEST) / (there + _QUIETEST)
        return self._scaled(log_magnitude, ratio[:, None].expand_as(levels))

    def total(self, levels: Tensor) -> Tensor:
        """Return the level of all bands together, `[B, T']` of `[B, Q, T']`."""
        return torch.log1p(self.amplitude(levels).square().mean(1).sqrt() / self.floor)

    def amplitude(self, log_magnitude: Tensor) -> Tensor:
        """Return the amplitudes of log-magnitudes."""
        return self.floor * torch.expm1(log_magnitude.clamp(0, _LOUDEST))

    def _scaled(self, log_magnitude: Tensor, ratio: Tensor) -> Tensor:
        return torch.log1p(self.amplitude(log_magnitude) * spread_levels(ratio) / self.floor)

    def _rms(self, log_magnitude: Tensor) -> Tensor:
        cells = self.amplitude(log_magnitude).unflatten(1, (-1, BAND)).unflatten(3, (-1, STRIDE))
        # The gradient of a square root at 0 is infinite.
        return (cells.square().mean((2, 4)) + _QUIETEST**2).sqrt() - _QUIETEST


def spread_levels(levels: Tensor) -> Tensor:
    """Return `[B, 32 * Q, 8 * T']` in which each cell has the value that its band has in `[B, Q, T']`."""
    return levels.repeat_interleave(BAND, 1).repeat_interleave(STRIDE, 2)


class BandCode(nn.Module):
    """The layout of a latent frame: levels and shapes of bands as one vector, and back.

    `counts` are the shape numbers of each band, `most` the greatest of them, `size` the numbers of a
    latent frame without its level, and `kept` how many of these the latents have room for.
    """

    places: Tensor

    def __init__(self, counts: tuple[int, ...], kept: int) -> None:
        super().__init__()
        self.counts, self.most = counts, max(1, *counts)
        self.size = len(counts) + sum(counts)
        self.kept = min(kept, self.size)
        places = [band * self.most + number for band, count in enumerate(counts) for number in range(count)]
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)

    @classmethod
    def sized(cls, settings: ModelSettings, representation: MagnitudeIF) -> "BandCode":
        """Return the code for the numbers per second that the settings ask for.

        Less than what the rich code holds are principal axes of that code.

        Raises:
            ConfigError: they leave less than two numbers for a latent frame.
        """
        latent_frames = representation.sample_rate / representation.hop / STRIDE
        rich = int(NUMBERS_PER_SECOND["rich"] / latent_frames)
        asked = settings.latents_per_second or NUMBERS_PER_SECOND[settings.code]
        room = int(asked / latent_frames)
        if room < _LEAST:
            raise ConfigError(
                f"model.latents_per_second: must be at least {math.ceil(_LEAST * latent_frames)} "
                f"with this representation, got {asked}"
            )
        bands = band_count(representation.bins)
        hertz = BAND * representation.sample_rate / representation.n_fft
        return cls(allocate(max(0, max(rich, room) - 1 - bands), bands, hertz), room - 1)

    def scaled(self, levels: Tensor) -> Tensor:
        """Return levels `[...]` as numbers that are near a standard normal."""
        return (levels - _LEVEL_MEAN) / _LEVEL_SCALE

    def total(self, level: Tensor) -> Tensor:
        """Return the level of all bands together, in nepers, that a code's level `[...]` stands for."""
        return level * _LEVEL_SCALE + _LEVEL_MEAN

    def join(self, total: Tensor, levels: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Return the level `[B, 1, T']` and the rest `[B, size, T']` of a code."""
        relative = (levels - total[:, None] - _RELATIVE_MEAN) / _LEVEL_SCALE
        return self.scaled(total)[:, None], torch.cat([relative, shape], dim=1)

    def part(self, level: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Invert `join`: return the levels `[B, Q, T']` and shapes `[B, size - Q, T']`."""
        relative, shape = rest.split([len(self.counts), rest.shape[1] - len(self.counts)], dim=1)
        levels = relative * _LEVEL_SCALE + _RELATIVE_MEAN + self.total(level)
        return levels.clamp(0, _LOUDEST), shape

    def flatten(self, grid: Tensor) -> Tensor:
        """Return the shape numbers `[B, size - Q, T']` of a grid `[B, Q, T', most]`."""
        return grid.permute(0, 1, 3, 2).flatten(1, 2)[:, self.places]

    def unflatten(self, shape: Tensor) -> Tensor:
        """Invert `flatten`; numbers that a band does not have are 0."""
        batch, _, frames = shape.shape
        flat = shape.new_zeros(batch, len(self.counts) * self.most, frames)
        flat = flat.index_copy(1, self.places, shape)
        return flat.unflatten(1, (len(self.counts), self.most)).permute(0, 1, 3, 2)
