"""The rich code: the layout of a frame, and the allocation of its numbers to frequency bands.

A frame holds its overall level, the level of each band relative to it, and numbers for the shape of
each band's magnitudes. Levels are measured, not learnt: gain and shape are separate as in shape-gain vector
quantization (CELT in Opus codes the energy of each band this way; Valin et al., 2013). The shape numbers
are allocated to the bands according to the frequency resolution of hearing.

A latent frame of the rich code is one frame. A smaller code represents several frames together.

Shapes: `B` batch, `Q` bands of 32 bins, `T'` frames of 8 STFT frames, `K` the largest number of shape
numbers in a band, `C` numbers of a frame without its overall level.
"""

import math
from heapq import heapify, heappop, heapreplace
from itertools import pairwise

import torch
from torch import Tensor, nn

from distill.config.settings import STRIDE, ModelSettings
from distill.errors import ConfigError
from distill.spectral.representation import MagnitudeIF

BAND = 32
"""Bins in a band."""

_QUIETEST = 1e-8
"""The amplitude below which a band counts as silent."""

_LOUDEST = 16.0
"""The upper bound of log-magnitudes, in nepers, before they are converted to amplitudes."""

_HEARING = 0.65
"""The allocation is proportional to a band's width in ERBs to this power. With an exponent of 1, a few low
bands would get nearly all numbers, and noise and attacks at high frequencies none."""

_MOST = 16
"""The maximum of shape numbers in a band."""

NUMBERS_PER_SECOND = {"rich": 1400, "compact": 128}
"""The maximum of numbers per second of audio for each size of code."""

_LEVEL_MEAN, _LEVEL_SCALE = 7.0, 3.0
_RELATIVE_MEAN = -3.0
"""Mean and scale of levels, and mean of relative band levels, in nepers. They normalize levels to
approximately zero mean and unit variance."""


def band_count(bins: int) -> int:
    """Return the number of bands that hold all bins except the last one (the Nyquist frequency)."""
    return max(1, math.ceil((bins - 1) / BAND))


def allocate(numbers: int, bands: int, hertz: float) -> tuple[int, ...]:
    """Allocate shape numbers to bands of `hertz` each, according to the frequency resolution of hearing.

    First, every band gets one number, starting with the lowest, while numbers remain. The rest is allocated
    in proportion to the band's width in equivalent rectangular bandwidths (Glasberg and Moore, 1990) to the
    power of 0.65.

    Returns:
        The count of each band, at most 16. The counts sum to `numbers` unless all bands are full.
    """
    edges = [21.4 * math.log10(1 + 0.00437 * hertz * band) for band in range(bands + 1)]
    widths = [(high - low) ** _HEARING for low, high in pairwise(edges)]
    counts = [0] * bands
    for band in range(min(numbers, bands)):
        counts[band] = 1
    # D'Hondt method: the next number goes to the band with the largest quotient, of equal ones to the lowest.
    waiting = [(-widths[band] / (counts[band] + 1), band) for band in range(bands)]
    heapify(waiting)
    for _ in range(numbers - sum(counts)):
        if not waiting:
            break
        band = waiting[0][1]
        counts[band] += 1
        if counts[band] < _MOST:
            heapreplace(waiting, (-widths[band] / (counts[band] + 1), band))
        else:
            heappop(waiting)
    return tuple(counts)


class Levels:
    """Levels of bands in latent frames: `log(1 + amplitude / floor)` of the RMS amplitude."""

    def __init__(self, floor: float) -> None:
        self.floor = floor

    def measure(self, log_magnitude: Tensor) -> Tensor:
        """Return the levels `[B, Q, T']` of log-magnitudes `[B, 32 * Q, 8 * T']`."""
        return torch.log1p(self._rms(log_magnitude) / self.floor)

    def restore(self, log_magnitude: Tensor, levels: Tensor) -> Tensor:
        """Scale log-magnitudes `[B, 32 * Q, 8 * T']` so that the bands have the levels `[B, Q, T']`.

        A silent band stays silent.
        """
        ratio = (self.amplitude(levels) + _QUIETEST) / (self._rms(log_magnitude) + _QUIETEST)
        return self._scaled(log_magnitude, ratio)

    def restore_total(self, log_magnitude: Tensor, total: Tensor) -> Tensor:
        """Scale log-magnitudes `[B, 32 * Q, 8 * T']` so that their overall level is `total` `[B, T']`."""
        levels = self.measure(log_magnitude)
        there = self.amplitude(self.total(levels))
        ratio = (self.amplitude(total) + _QUIETEST) / (there + _QUIETEST)
        return self._scaled(log_magnitude, ratio[:, None].expand_as(levels))

    def total(self, levels: Tensor) -> Tensor:
        """Return the overall level `[B, T']` of bands with levels `[B, Q, T']`."""
        return torch.log1p(self.amplitude(levels).square().mean(1).sqrt() / self.floor)

    def amplitude(self, log_magnitude: Tensor) -> Tensor:
        """Return the amplitudes of log-magnitudes."""
        return self.floor * torch.expm1(log_magnitude.clamp(0, _LOUDEST))

    def _scaled(self, log_magnitude: Tensor, ratio: Tensor) -> Tensor:
        return torch.log1p(self.amplitude(log_magnitude) * spread_levels(ratio) / self.floor)

    def _rms(self, log_magnitude: Tensor) -> Tensor:
        cells = self.amplitude(log_magnitude).unflatten(1, (-1, BAND)).unflatten(3, (-1, STRIDE))
        # The offset keeps the gradient of the square root finite at 0.
        return (cells.square().mean((2, 4)) + _QUIETEST**2).sqrt() - _QUIETEST


def spread_levels(levels: Tensor) -> Tensor:
    """Repeat the value of each band in `[B, Q, T']` over its bins and frames, `[B, 32 * Q, 8 * T']`."""
    return levels.repeat_interleave(BAND, 1).repeat_interleave(STRIDE, 2)


class BandCode(nn.Module):
    """The layout of a latent frame: conversion between band levels and shapes, and a vector.

    Attributes:
        counts: the number of shape numbers in each band.
        most: the largest of `counts`.
        size: the numbers of a frame without its overall level.
        joint: the frames that a latent frame represents together; 1 for the rich code.
        kept: how many numbers besides overall levels a latent frame has room for.
    """

    places: Tensor

    def __init__(self, counts: tuple[int, ...], kept: int, joint: int = 1) -> None:
        super().__init__()
        self.counts, self.most = counts, max(1, *counts)
        self.size = len(counts) + sum(counts)
        self.joint, self.kept = joint, min(kept, joint * self.size)
        places = [band * self.most + number for band, count in enumerate(counts) for number in range(count)]
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)

    @classmethod
    def sized(cls, settings: ModelSettings, representation: MagnitudeIF) -> "BandCode":
        """Return the code with the numbers per second that the settings ask for.

        A code smaller than the rich code consists of the principal axes of several frames of the rich code.

        Raises:
            ConfigError: there is no room for the overall levels and one more number.
        """
        frames_per_second = representation.sample_rate / representation.hop / STRIDE
        rich = int(NUMBERS_PER_SECOND["rich"] / frames_per_second)
        asked = settings.latents_per_second or NUMBERS_PER_SECOND[settings.code]
        room = int(asked / frames_per_second)
        bands = band_count(representation.bins)
        hertz = BAND * representation.sample_rate / representation.n_fft
        counts = allocate(max(0, max(rich, room) - 1 - bands), bands, hertz)
        if room > bands + sum(counts):
            return cls(counts, room - 1)
        joint = settings.joint_frames_at(representation.sample_rate, representation.hop)
        room = int(asked * joint / frames_per_second)
        if room <= joint:
            least = math.ceil((joint + 1) * frames_per_second / joint)
            raise ConfigError(
                f"model.latents_per_second: must be at least {least} with this representation, got {asked}"
            )
        return cls(counts, room - joint, joint)

    def scaled(self, levels: Tensor) -> Tensor:
        """Return levels `[...]` normalized to approximately zero mean and unit variance."""
        return (levels - _LEVEL_MEAN) / _LEVEL_SCALE

    def total(self, level: Tensor) -> Tensor:
        """Return the overall level in nepers of a normalized level `[...]`: the inverse of `scaled`."""
        return level * _LEVEL_SCALE + _LEVEL_MEAN

    def join(self, total: Tensor, levels: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Return the overall level `[B, 1, T']` and the rest `[B, size, T']` of the code."""
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
        """Invert `flatten`. Places that a band does not use are 0."""
        batch, _, frames = shape.shape
        flat = shape.new_zeros(batch, len(self.counts) * self.most, frames)
        flat = flat.index_copy(1, self.places, shape)
        return flat.unflatten(1, (len(self.counts), self.most)).permute(0, 1, 3, 2)
