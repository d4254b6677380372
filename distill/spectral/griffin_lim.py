"""Griffin-Lim iterations, which find phases for magnitudes, with waveforms as all that they keep.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from distill.spectral.frames import OverlapAdd, hann_window, inverse_rfft, inverse_squares
from distill.spectral.parts import Scratch, in_parts

_MOMENTUM = 0.99

_LEAST = 2.0**-50
"""Added to each bin, so that a bin of 0 gets the phase 0. It changes no other that can be heard."""

Rephase: TypeAlias = Callable[[Tensor], Tensor]
"""Maps waveforms `[B, N]` to those of given amplitudes with the phases of the waveforms."""


@torch.no_grad()
def griffin_lim(waveform: Tensor, iterations: int, rephase: Rephase) -> Tensor:
    """Return a waveform `[B, N]` that has the phases after iterations, of which there is at least one.

    `waveform` has the amplitudes of `rephase` and initial phases. Each iteration keeps the amplitudes and
    takes the phases of the closest waveform (Griffin & Lim, 1984), accelerated (Perraudin et al., 2013).
    Spectra are linear in waveforms, so waveforms are accelerated in place of spectra, which are much larger.
    """
    leap = latest = waveform
    for _ in range(iterations - 1):
        previous, latest = latest, rephase(leap)
        leap = torch.lerp(previous, latest, 1 + _MOMENTUM)
    return leap


def direction_of(spectrum: Tensor) -> Tensor:
    """Return a complex spectrum divided by its magnitude, 1 where it is 0."""
    return torch.sgn(spectrum).masked_fill_(spectrum == 0, 1)


class Rephasing:
    """Waveforms `[B, length]` of amplitudes `[B, T, F]`, with the phases of other waveforms of T frames.

    They are the least-squares inverse of Griffin and Lim (1984): overlap-add with a Hann window of `n_fft`
    samples, divided by the summed squares of the window and by `scale`. They have no gradient.
    """

    def __init__(self, amplitude: Tensor, n_fft: int, hop: int, length: int, scale: float) -> None:
        self._amplitude, self._n_fft = amplitude, n_fft
        self._window = hann_window(n_fft, n_fft, amplitude.device).to(amplitude.dtype)
        self._sum = OverlapAdd(self._window, hop, amplitude.shape[:2])
        self._padded = torch.zeros_like(self._sum.samples)
        self._frames = self._padded.unfold(-1, n_fft, hop)
        self._length, half = length, n_fft // 2
        self._gain = inverse_squares(self._window, hop, amplitude.shape[1])[half : half + length] / scale
        self._scratch = Scratch(self._window)

    def __call__(self, waveform: Tensor) -> Tensor:
        """Return the waveform `[B, length]` with the phases of another one, `[B, N]`."""
        half = self._n_fft // 2
        self._padded[:, half : half + waveform.shape[-1]] = waveform
        self._padded[:, half + waveform.shape[-1] :] = 0
        self._sum.clear()
        for amplitude, frames, *blocks in in_parts(self._amplitude, self._frames, *self._sum.blocks):
            windowed = torch.mul(frames, self._window, out=self._scratch.like(frames))
            spectrum = self._scaled_to(amplitude, torch.fft.rfft(windowed))
            self._sum.add(blocks, inverse_rfft(spectrum, self._n_fft))
        return self._sum.samples[:, half : half + self._length] * self._gain

    def _scaled_to(self, amplitude: Tensor, spectrum: Tensor) -> Tensor:
        """Scale a complex spectrum in place to amplitudes of its shape, and return it."""
        parts = torch.view_as_real(spectrum.add_(_LEAST))
        # Twice as fast as `torch.sgn`, which computes a root of the sum of squares that cannot overflow.
        real, imaginary = torch.mul(parts, parts, out=self._scratch.like(parts)).unbind(-1)
        return spectrum.mul_((real + imaginary).rsqrt_().mul_(amplitude))
