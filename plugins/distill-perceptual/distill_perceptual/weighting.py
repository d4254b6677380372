"""A- and K-weighting: two standard frequency weightings of hearing.

The responses are those of the standards at any sample rate. They are zero-phase: nothing is delayed.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

_LOW, _MIDDLE_LOW, _MIDDLE_HIGH, _HIGH = 20.598997, 107.65265, 737.86223, 12194.217
"""The corner frequencies of A-weighting in Hz (IEC 61672-1:2013, annex E)."""

_K_RATE = 48_000
_K_BIQUADS = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
"""The filters of K-weighting at 48 kHz as `(b, a)`: shelf and high-pass (ITU-R BS.1770-5, annex 1)."""

_RINGING_SECONDS = 1 / 8
"""The time after which the slowest response, a double corner at 20.6 Hz, has decayed by 120 dB."""


def a_response(frequency: Tensor) -> Tensor:
    """Return the gain of A-weighting at frequencies in Hz, 1 at 1 kHz (IEC 61672-1:2013, annex E)."""
    return _a_shape(frequency) / _a_shape(torch.tensor(1000.0, dtype=frequency.dtype))


def _a_shape(frequency: Tensor) -> Tensor:
    square = frequency.square()
    middle = (square + _MIDDLE_LOW**2) * (square + _MIDDLE_HIGH**2)
    return square.square() / ((square + _LOW**2) * middle.sqrt() * (square + _HIGH**2))


def k_response(frequency: Tensor) -> Tensor:
    """Return the gain of K-weighting at frequencies in Hz (ITU-R BS.1770-5, annex 1).

    The standard gives filters at 48 kHz and requires the same response at other sample rates. Above 24 kHz
    the response is that at 24 kHz.
    """
    angle = frequency.clamp(max=_K_RATE / 2) * (2 * math.pi / _K_RATE)
    delay = torch.polar(torch.ones_like(angle), -angle)
    gain = torch.ones_like(angle)
    for numerator, denominator in _K_BIQUADS:
        above, below = (a + b * delay + c * delay.square() for a, b, c in (numerator, denominator))
        gain = gain * above.abs() / below.abs()
    return gain


def weighted(waveform: Tensor, sample_rate: int, response: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a waveform `[B, N]` filtered by a response, with silence before and after it: `[B, N]`."""
    samples = waveform.shape[-1]
    # Zeros for the decay of the filter, and a length for which the FFT is fast.
    length = -(-(samples + math.ceil(_RINGING_SECONDS * sample_rate)) // 1024) * 1024
    gain = _gain(response, length, sample_rate, waveform.device)
    return torch.fft.irfft(torch.fft.rfft(waveform, length) * gain, length)[..., :samples]


@lru_cache(maxsize=64)
def _gain(
    response: Callable[[Tensor], Tensor], length: int, sample_rate: int, device: torch.device
) -> Tensor:
    with torch.inference_mode(mode=False):
        frequency = torch.arange(length // 2 + 1, dtype=torch.float64) * (sample_rate / length)
        return response(frequency).float().to(device)
