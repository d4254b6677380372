"""The complex spectrogram of a signal, and that of its inverse.

Shapes: `B` batch, `N` samples, `F` bins, `T` frames.
"""

import math

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from distill import MagnitudeIF
from distill.views import InstantaneousFrequency, Magnitude, Signal, Spectrogram, View, Waveform


@frozen
class ComplexSpectrogram(View):
    """The complex spectrogram `[B, F, T]`; a full-scale sine has the amplitude 1.

    For a spectrogram, the phase is the cumulative sum of its IFs. A signal with only a waveform is
    transformed directly, without computing phases, so that all gradients are finite.
    """

    def compute(self, signal: Signal) -> Tensor:
        """Return the magnitude combined with the phase, or the transform of the waveform."""
        if signal.spectrogram is None:
            return transform(signal.view(Waveform()), signal.representation)
        magnitude, frequency = signal.view(Magnitude()), signal.view(InstantaneousFrequency())
        return torch.polar(
            magnitude, math.pi * frequency.cumsum(-1) + _advance(magnitude, signal.representation)
        )


@frozen
class Resynthesis(View):
    """The `ComplexSpectrogram` of the inverse of a spectrogram: `[B, F, T]`.

    The inverse is computed without Griffin-Lim iterations.
    """

    def compute(self, signal: Signal) -> Tensor:
        """Return the transform of the inverse."""
        if signal.spectrogram is None:
            return signal.view(ComplexSpectrogram())
        if signal.iterations or signal.waveform is not None:
            waveform = signal.representation.inverse(signal.view(Spectrogram()), signal.length)
        else:
            waveform = signal.view(Waveform())
        rest = signal.representation.samples(signal.spectrogram.shape[-1]) - signal.length
        return transform(F.pad(waveform, (0, rest)), signal.representation)


def transform(waveform: Tensor, representation: MagnitudeIF) -> Tensor:
    """Return the complex spectrogram `[B, F, T]` of a waveform `[B, N]` in a representation."""
    n_fft, hop = representation.n_fft, representation.hop
    tail = representation.samples(representation.frames(waveform.shape[-1])) - waveform.shape[-1]
    padded = F.pad(waveform, (n_fft // 2, n_fft - n_fft // 2 + tail))
    window = torch.hann_window(n_fft, device=waveform.device)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    return spectrum * (4 / n_fft)


def _advance(magnitude: Tensor, representation: MagnitudeIF) -> Tensor:
    """Return the phase of each bin's centre at each frame, in radians: `[F, T]`."""
    bins, frames = (torch.arange(size, device=magnitude.device) for size in magnitude.shape[-2:])
    # Integer arithmetic avoids rounding errors of whole turns.
    samples = bins[:, None] * (frames * representation.hop) % representation.n_fft
    return samples * (2 * math.pi / representation.n_fft)
