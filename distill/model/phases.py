"""Waveforms from magnitudes: noise-like fluctuation of magnitudes, and phase reconstruction.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.spectral.representation import MagnitudeIF

ITERATIONS = 16
"""The default number of Griffin-Lim iterations for a finished sound; `docs/sound.md` has the measurements."""

_MEDIAN = 0.5 * math.log(math.log(2))
"""The median of a log-Rayleigh variable, which is the log-magnitude of Gaussian noise of unit power."""

_DEVIATION = 0.4843
"""The mean absolute deviation of a log-Rayleigh variable from its median, in nepers."""

_CERTAIN, _UNCERTAIN = 0.3, (0.55, 0.75)
"""Thresholds of the expected error, in nepers. Below the first, the signal is tonal. Above the others, it is
a tone of uncertain position, beside which added noise would be audible. `docs/sound.md` has the measurements.
"""

_NEIGHBOURS = 16
"""The contrast of a bin is its difference from the mean of as many bins on each side."""

_MOST_ROWS = 2**16
"""Seeds of the noise are so far apart that no two rows are drawn with the same."""

_SILENCE = 1e-16
"""The energy below which a sound counts as silent: one bin of amplitude 1e-8."""


def draw_noise(representation: MagnitudeIF, rows: int, samples: int, seed: int = 0) -> Tensor:
    """Return uncorrelated Gaussian white noise `[rows, samples]` of unit power in each bin.

    Each row depends only on its index, its length and `seed`.
    """
    seeds = [(seed * _MOST_ROWS + row) % 2**63 for row in range(rows)]
    drawn = [torch.randn(samples, generator=torch.Generator().manual_seed(each)) for each in seeds]
    # The amplitude of a bin is 4 / n_fft times that of the Fourier transform. The power of the latter is
    # the sum of the squared Hann window, 3 / 8 n_fft.
    return math.sqrt(representation.n_fft / 6) * torch.stack(drawn)


def white_noise(representation: MagnitudeIF, rows: int, samples: int, device: torch.device) -> Tensor:
    """Return the spectrogram `[rows, 2, F, T]` of Gaussian white noise of unit power in each bin.

    The noise is deterministic, and all rows are equal, since they are used for unrelated sounds.
    """
    drawn = draw_noise(representation, 1, samples).to(device)
    return representation(drawn).expand(rows, -1, -1, -1)


def sharpened(log_magnitude: Tensor, contrast: float) -> Tensor:
    """Return log-magnitudes `[B, F, T]` with `contrast` times their difference from the mean of 33 bins."""
    if contrast == 1:
        return log_magnitude
    spectra = F.pad(log_magnitude.mT, (_NEIGHBOURS, _NEIGHBOURS), mode="replicate")
    mean = F.avg_pool1d(spectra, 2 * _NEIGHBOURS + 1, stride=1).mT
    return torch.lerp(mean, log_magnitude, contrast).clamp(min=0)


def roughened(log_magnitude: Tensor, spread: Tensor, noise: Tensor, unit: float) -> Tensor:
    """Add the fluctuation of noise to log-magnitudes `[B, F, T]` where their expected error is that of noise.

    Noise is best predicted by its median. Where the expected error equals that of this prediction, the
    result is the spectrum of shaped noise.

    Args:
        log_magnitude: the decoded log-magnitudes.
        spread: their expected absolute error, in nepers.
        noise: the log-magnitudes of white noise.
        unit: the log-magnitude of an amplitude equal to the RMS amplitude of `noise`.
    """
    rising = ((spread - _CERTAIN) / (_DEVIATION - _CERTAIN)).clamp(0, 1)
    falling = ((spread - _UNCERTAIN[0]) / (_UNCERTAIN[1] - _UNCERTAIN[0])).clamp(0, 1)
    return (log_magnitude + rising * (1 - falling) * (noise - unit - _MEDIAN)).clamp(min=0)


def with_phases(
    log_magnitude: Tensor, noise: Tensor, representation: MagnitudeIF, samples: int, iterations: int
) -> Tensor:
    """Return the waveform `[B, samples]` of log-magnitudes `[B, F, T]`, with reconstructed phases.

    The phases are initialized with those of `noise`, a spectrogram `[B, 2, F, T]` of white noise, which keep
    the level of noise. Griffin-Lim iterations then align the phases of tones. Inconsistent frames partly
    cancel out, so each waveform is scaled to the energy of its magnitudes.
    """
    spectrogram = torch.stack([log_magnitude.mT, noise[:, 1].mT], dim=1).mT
    waveform = representation.inverse(spectrogram, samples, iterations)
    with torch.no_grad():
        amplitude = representation.amplitude(log_magnitude)
    return _with_energy(waveform, amplitude, representation)


def with_phases_of(
    amplitude: Tensor, begin: Tensor, representation: MagnitudeIF, samples: int, iterations: int
) -> Tensor:
    """Return the waveform `[B, samples]` of amplitudes `[B, F, T]`, as `with_phases` does.

    The phases are initialized with those of waveforms `begin` `[B, N]`.
    """
    waveform = representation.continued(amplitude, begin, samples, iterations)
    return _with_energy(waveform, amplitude, representation)


def _with_energy(waveform: Tensor, amplitude: Tensor, representation: MagnitudeIF) -> Tensor:
    """Return waveforms `[B, N]`, each scaled to the energy of its amplitudes `[B, F, T]`."""
    with torch.no_grad():
        wanted = amplitude.square().sum((1, 2)) + _SILENCE
        made = representation.energy(waveform) + _SILENCE
        gain = (wanted / made).sqrt()[:, None]
    return waveform * gain
