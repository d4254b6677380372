"""Mel filterbanks: Slaney's scale and norm (Auditory Toolbox, 1998), the defaults of librosa.

The scale is linear below 1 kHz, at 3 mel per 200 Hz, and logarithmic above, at 27 mel per factor of
6.4. Each filter is a triangle over three consecutive edges, with an area of 1 in Hz.

Shapes: `M` mel bands, `F` = n_fft // 2 + 1 bins.
"""

import math

import torch
from torch import Tensor

_BEND = 1000.0
_MEL_PER_HZ = 3 / 200
_MEL_PER_LOG = 27 / math.log(6.4)


def mel_of(hz: float) -> float:
    """Return the mel value of a frequency in Hz."""
    return _MEL_PER_HZ * min(hz, _BEND) + _MEL_PER_LOG * math.log(max(hz, _BEND) / _BEND)


def hz_of(mel: float) -> float:
    """Return the frequency in Hz of a mel value."""
    bend = _MEL_PER_HZ * _BEND
    return min(mel, bend) / _MEL_PER_HZ * math.exp(max(mel - bend, 0.0) / _MEL_PER_LOG)


def edges(n_mels: int, f_min: float, f_max: float) -> list[float]:
    """Return the `n_mels + 2` corner frequencies of the triangles in Hz, evenly spaced in mel."""
    low, high = mel_of(f_min), mel_of(f_max)
    inner = [hz_of(low + (high - low) * step / (n_mels + 1)) for step in range(1, n_mels + 1)]
    return [f_min, *inner, f_max]


def empty_filters(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> int:
    """Return the number of empty filters: no bin of the STFT lies inside them, so that they are always 0."""
    bins = [frequency * n_fft / sample_rate for frequency in edges(n_mels, f_min, f_max)]
    rounding = 1e-6
    return sum(
        math.ceil(end - rounding) - math.floor(begin + rounding) < 2
        for begin, end in zip(bins, bins[2:], strict=False)
    )


def most_filters(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> int:
    """Return the largest number of filters up to `n_mels` without an empty one; 0 if there is none."""
    counts = range(n_mels, 0, -1)
    return next((n for n in counts if not empty_filters(n, n_fft, sample_rate, f_min, f_max)), 0)


def mel_filterbank(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> Tensor:
    """Return the weight of each bin in each mel band: `[M, F]`, in 1 / Hz, float32."""
    corners = torch.tensor(edges(n_mels, f_min, f_max), dtype=torch.float64)[:, None]
    begin, peak, end = corners[:-2], corners[1:-1], corners[2:]
    frequencies = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    rising, falling = (frequencies - begin) / (peak - begin), (end - frequencies) / (end - peak)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (end - begin)).float()
