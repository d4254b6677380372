"""The spectrogram as complex numbers, and as those of the sound that it is turned into.

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
    """The spectrogram as complex numbers: `[B, F, T]`, 1 being the amplitude of a full-scale sine.

    The phase is the sum of the IFs of a spectrogram. A signal that is given as a waveform only is
    transformed without a detour through phases, so that gradients are finite everywhere.
    """

    def compute(self, signal: Signal) -> Tensor:
        """Put magnitude and phase together, or transform the waveform."""
        if signal.spectrogram is None:
            return transform(signal.view(Waveform()), signal.representation)
        magnitude, frequency = signal.view(Magnitude()), signal.view(InstantaneousFrequency())
        return torch.polar(
            magnitude, math.pi * frequency.cumsum(-1) + _advance(magnitude, signal.representation)
        )


@frozen
class Resynthesis(View):
    """`ComplexSpectrogram` of the waveform that a spectrogram is turned into: `[B, F, T]`.

    The waveform is the one of the frames as they are, without reconciling them.
    """

    def compute(self, signal: Signal) -> Tensor:
        """Go back to the waveform, and transform it."""
        if signal.spectrogram is None:
            return signal.view(ComplexSpectrogram())
        if signal.iterations or signal.waveform is not None:
            waveform = signal.representation.inverse(signal.view(Spectrogram()), signal.length)
        else:
            waveform = signal.view(Waveform())
        rest = signal.representation.samples(signal.spectrogram.shape[-1]) - signal.length
        return transform(F.pad(waveform, (0, rest)), signal.representation)


def transform(waveform: Tensor, representation: MagnitudeIF) -> Tensor:
    """Transform a waveform `[B, N]` as the representation does, and leave it complex: `[B, F, T]`."""
    n_fft, hop = representation.n_fft, representation.hop
    tail = representation.samples(representation.frames(waveform.shape[-1])) - waveform.shape[-1]
    padded = F.pad(waveform, (n_fft // 2, n_fft - n_fft // 2 + tail))
    window = torch.hann_window(n_fft, device=waveform.device)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    return spectrum * (4 / n_fft)


def _advance(magnitude: Tensor, representation: MagnitudeIF) -> Tensor:
    """Give the phase of each bin's centre at each frame, in radians: `[F, T]`."""
    bins, frames = (torch.arange(size, device=magnitude.device) for size in magnitude.shape[-2:])
    # In whole numbers, so that no turns are lost to rounding.
    samples = bins[:, None] * (frames * representation.hop) % representation.n_fft
    return samples * (2 * math.pi / representation.n_fft)
