"""Griffin-Lim iterations, which find phases for magnitudes, in memory that all iterations share.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from distill.spectral import plain
from distill.spectral.frames import OverlapAdd, hann_window, inverse_rfft, inverse_squares
from distill.spectral.parts import Scratch, in_parts

_MOMENTUM = 0.99

Project: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Maps a complex spectrum `[B, T, F]` to the closest one that a waveform has. May write it to the second."""


@torch.no_grad()
def griffin_lim(amplitude: Tensor, direction: Tensor, iterations: int, project: Project) -> Tensor:
    """Return the phases `[B, T, F]` after iterations, complex of magnitude 1. `direction` may be written to.

    Each iteration keeps the amplitudes `[B, T, F]` and takes the phases of the closest spectrum that a
    waveform has (Griffin & Lim, 1984), accelerated (Perraudin et al., 2013).
    """
    spectrum, closest = torch.empty_like(direction), torch.empty_like(direction)
    shared = not plain.is_needed(amplitude)  # torch.vmap has no operations that write to a given tensor
    previous: Tensor | None = None
    for _ in range(iterations):
        closest = project(torch.mul(direction, amplitude, out=spectrum if shared else None), closest)
        if previous is None:
            leap, following = closest, torch.empty_like(closest)
        else:
            torch.view_as_real(previous).lerp_(torch.view_as_real(closest), 1 + _MOMENTUM)
            leap = following = previous
        direction = direction_of(leap, out=direction if shared else None)
        previous, closest = closest, following
    return direction


def direction_of(spectrum: Tensor, out: Tensor | None = None) -> Tensor:
    """Return a complex spectrum divided by its magnitude, 1 where it is 0; written to `out`, if given."""
    direction = torch.sgn(spectrum, out=out)
    # On a CPU, filling takes longer than counting, and there is seldom anything to fill.
    countable = spectrum.device.type == "cpu" and not plain.is_needed(spectrum)
    if countable and torch.count_nonzero(spectrum) == spectrum.numel():
        return direction
    return direction.masked_fill_(spectrum == 0, 1)


class Projection:
    """The closest spectrum that a waveform `[B, N]` has, for spectra of one shape `[B, T, F]`.

    It is that of the least-squares inverse of Griffin and Lim (1984): overlap-add with a Hann window of
    `n_fft` samples, divided by the summed squares of the window. N is `length`, and T its number of frames.
    """

    def __init__(self, direction: Tensor, n_fft: int, hop: int, length: int) -> None:
        real = direction.real.dtype
        self._window = hann_window(n_fft, n_fft, direction.device).to(real)
        self._n_fft, half = n_fft, n_fft // 2
        self._sum = OverlapAdd(self._window, hop, direction.shape[:2])
        self._heard = self._sum.samples[:, half : half + length]
        self._silent = self._sum.samples[:, :half], self._sum.samples[:, half + length :]
        self._gain = inverse_squares(self._window, hop, direction.shape[1])[half : half + length]
        self._frames = self._sum.samples.unfold(-1, n_fft, hop)
        self._scratch = Scratch(self._window)

    def __call__(self, spectrum: Tensor, out: Tensor) -> Tensor:
        """Return the closest spectrum, written to `out`."""
        self._sum.clear()
        for part, *blocks in in_parts(spectrum, *self._sum.blocks):
            self._sum.add(blocks, inverse_rfft(part, self._n_fft))
        self._heard.mul_(self._gain)
        for each in self._silent:
            each.zero_()
        for unwindowed, place in in_parts(self._frames, out):
            windowed = torch.mul(unwindowed, self._window, out=self._scratch.like(unwindowed))
            torch.fft.rfft(windowed, out=place)
        return out
