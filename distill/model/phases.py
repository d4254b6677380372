"""Sound from magnitudes: noise that sounds like noise, and phases that fit together.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples.
"""

import math

import torch
from torch import Tensor

from distill.spectral.representation import MagnitudeIF

ITERATIONS = 16
"""Griffin-Lim iterations that a finished sound gets; `docs/sound.md` has the table."""

_MEDIAN = 0.5 * math.log(math.log(2))
"""The median of a log-Rayleigh variable: the log-magnitude of Gaussian noise of unit power."""

_DEVIATION = 0.4843
"""The mean absolute deviation of a log-Rayleigh variable from its median, in nepers."""

_CERTAIN, _UNCERTAIN = 0.3, (0.55, 0.75)
"""Errors below the first are those of tones. Errors that are greater than those of noise are of tones whose
place is not known: noise on them would be heard beside them. `docs/sound.md` has the measurements."""

_SILENCE = 1e-16
"""The energy below which there is nothing to scale: one bin of amplitude 1e-8."""


def draw_noise(representation: MagnitudeIF, rows: int, samples: int) -> Tensor:
    """Return uncorrelated Gaussian white noise `[rows, samples]` of unit power in each bin.

    Each row is a function of its place and its length alone.
    """
    drawn = [torch.randn(samples, generator=torch.Generator().manual_seed(row)) for row in range(rows)]
    # The amplitude of a bin is 4 / n_fft times that of the Fourier transform, whose power is the sum of
    # the squared Hann window, 3 / 8 n_fft.
    return math.sqrt(representation.n_fft / 6) * torch.stack(drawn)


def white_noise(representation: MagnitudeIF, rows: int, samples: int, device: torch.device) -> Tensor:
    """Return the spectrogram `[rows, 2, F, T]` of Gaussian white noise of unit power in each bin.

    It is always the same, and so are its rows: they are sounds that have nothing to do with each other.
    """
    drawn = draw_noise(representation, 1, samples).to(device)
    return representation(drawn).expand(rows, -1, -1, -1)


def roughened(log_magnitude: Tensor, spread: Tensor, noise: Tensor, unit: float) -> Tensor:
    """Return log-magnitudes `[B, F, T]` that fluctuate as noise does where their errors are those of noise.

    `spread` is the mean absolute error that the log-magnitudes have, in nepers, and `noise` the
    log-magnitude of white noise whose power has the log-magnitude `unit`. Where the error is that of the
    best guess of noise, its median, the result is the spectrum of shaped noise.
    """
    rising = ((spread - _CERTAIN) / (_DEVIATION - _CERTAIN)).clamp(0, 1)
    falling = ((spread - _UNCERTAIN[0]) / (_UNCERTAIN[1] - _UNCERTAIN[0])).clamp(0, 1)
    return (log_magnitude + rising * (1 - falling) * (noise - unit - _MEDIAN)).clamp(min=0)


def with_phases(
    log_magnitude: Tensor, noise: Tensor, representation: MagnitudeIF, samples: int, iterations: int
) -> Tensor:
    """Return the waveform `[B, samples]` with these log-magnitudes `[B, F, T]`, phases found.

    The phases begin as those of `noise`, a spectrogram `[B, 2, F, T]` of white noise: they are right
    for noise, whose level they keep, and Griffin-Lim iterations bring those of tones together. Frames
    that contradict each other cancel out in part: each waveform is scaled to the energy that the
    magnitudes have.
    """
    spectrogram = torch.stack([log_magnitude.mT, noise[:, 1].mT], dim=1).mT
    waveform = representation.inverse(spectrogram, samples, iterations)
    with torch.no_grad():
        wanted, made = (
            representation.amplitude(magnitude).square().sum((1, 2)) + _SILENCE
            for magnitude in (log_magnitude, representation(waveform)[:, 0])
        )
        gain = (wanted / made).sqrt()[:, None]
    return waveform * gain
