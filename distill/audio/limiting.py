"""Bringing a sound within full scale: turning it down as a whole, and limiting peaks.

Shapes: `C` channels, `N` samples. Full scale is 1.
"""

import math

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

_REACH_SECONDS = 0.005
"""How long before and after a peak the limiter turns down. It is for sounds with most of their energy in a
click, all of which a longer reach would turn down."""

_BLOCK = 16
"""The samples that have one gain, before gains are interpolated."""

_MOST_LIMITED = 12.0
"""The most dB by which peaks are limited. More would be heard as another attack."""

_HALVINGS = 10
"""The level is found within 12 dB / 1024."""


@frozen(kw_only=True, eq=False)
class Limited:
    """A sound within full scale.

    Attributes:
        samples: the waveform `[C, N]`.
        attenuation: by how many dB all of it was turned down.
        reduction: by how many dB more its largest peak was.
    """

    samples: Tensor
    attenuation: float = 0.0
    reduction: float = 0.0


def within_full_scale(waveform: Tensor, sample_rate: int, quietest: float = -math.inf) -> Limited:
    """Bring a waveform `[C, N]` to a peak of at most 1.

    It is turned down as a whole, which changes nothing but its level. Where this would bring the level below
    `quietest`, the RMS in dB relative to full scale, it is turned down less, and a limiter reduces the peaks
    that are left, by 12 dB at most.
    """
    peak = float(waveform.abs().amax()) if waveform.numel() else 0.0
    if peak <= 1:
        return Limited(samples=waveform)
    whole = 20 * math.log10(peak)
    if _level(waveform) - whole >= quietest:
        return Limited(samples=waveform / peak, attenuation=whole)

    def turned_down(attenuation: float) -> Tensor:
        return limited(waveform * 10 ** (-attenuation / 20), sample_rate)

    least, most = max(0.0, whole - _MOST_LIMITED), whole
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        least, most = (middle, most) if _level(turned_down(middle)) >= quietest else (least, middle)
    return Limited(samples=turned_down(least), attenuation=least, reduction=whole - least)


def limited(waveform: Tensor, sample_rate: int) -> Tensor:
    """Reduce the peaks of a waveform `[C, N]` to 1, with a smooth gain that all channels share.

    The limiter looks ahead: gains are the least that is needed within 5 ms on both sides, averaged over
    as long, so that no sample exceeds 1 (Hämäläinen, "Smoothing of the control signal without clipped output
    in digital peak limiters", 2002). Samples farther from any peak stay as they are.
    """
    samples = waveform.shape[-1]
    reach = max(2, math.ceil(_REACH_SECONDS * sample_rate / _BLOCK))
    highest = F.pad(waveform.abs().amax(dim=0).double(), (0, -samples % _BLOCK))
    peaks = highest.view(1, -1, _BLOCK).amax(dim=-1)
    reduction = 1 - 1 / F.max_pool1d(peaks, 2 * reach + 1, stride=1, padding=reach).clamp(min=1)
    # A block less on each side: the interpolation between the middles of blocks reaches into the next ones.
    window = torch.hann_window(2 * reach + 1, periodic=False, dtype=torch.float64)[1:-1]
    padded = F.pad(reduction[None], (reach - 1, reach - 1), mode="replicate")
    smooth = F.conv1d(padded, (window / window.sum())[None, None])
    gain = 1 - F.interpolate(smooth, scale_factor=_BLOCK, mode="linear")[0, 0, :samples]
    return (waveform * gain).clamp(-1, 1).to(waveform.dtype)  # which only rounding exceeds


def _level(waveform: Tensor) -> float:
    return 10 * math.log10(max(float(waveform.double().square().mean()), 1e-30))
