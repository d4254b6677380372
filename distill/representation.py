"""The representation: a waveform as log-magnitude and instantaneous frequency (IF), and back.

Shapes: `B` batch, `N` samples, `F` = n_fft // 2 + 1 bins, `T` = ceil(N / hop) + 1 frames.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import ShapeError
from distill.spectral import analyse, angle, floored_magnitude, magnitude, synthesise

_MOMENTUM = 0.99


class MagnitudeIF(nn.Module):
    """Two channels that hold a waveform whole: `[B, N]` -> `[B, 2, F, T]`, and `.inverse` back.

    Channel 0 is the log-magnitude `log(1 + amplitude / floor)`, never negative, in nepers above
    `floor`; an amplitude of 1 is that of a full-scale sine. Channel 1 is the IF in `[-1, 1)`, in units
    of pi radians per hop: the wrapped advance of the phase from frame to frame less the advance of
    the bin's centre, `2 * pi * k * hop / n_fft`. Frame 0 stores the phase itself, so that the phase is
    kept (after Engel et al., GANSynth, 2019, who lose it). Frames are centred on multiples of `hop`.
    """

    def __init__(
        self, sample_rate: int = 44_100, n_fft: int = 2048, hop: int = 512, floor: float = 1e-6
    ) -> None:
        super().__init__()
        if not 0 < 2 * hop <= n_fft:
            raise ValueError(f"hop must be within 1..n_fft / 2 = {n_fft // 2} for an exact inverse: {hop}")
        self.sample_rate, self.n_fft, self.hop, self.floor = sample_rate, n_fft, hop, floor
        self.bins = n_fft // 2 + 1
        # The sum of a Hann window is n_fft / 2, and a sine of amplitude 1 shares it between two bins.
        self._scale = 4 / n_fft

    def frames(self, samples: int) -> int:
        """Give the number of frames that hold `samples` samples."""
        return math.ceil(samples / self.hop) + 1

    def samples(self, frames: int) -> int:
        """Give the greatest number of samples that `frames` frames hold."""
        return (frames - 1) * self.hop

    def forward(self, waveform: Tensor) -> Tensor:
        """Transform a waveform `[B, N]`, 1 being full scale, to a spectrogram `[B, 2, F, T]`.

        Raises:
            ShapeError: `waveform` is not `[B, N]` with at least one sample.
        """
        if waveform.ndim != 2 or waveform.shape[-1] == 0:
            raise ShapeError(f"a waveform must have the shape [B, N], N > 0: got {list(waveform.shape)}")
        spectrum = self._analyse(waveform.float())
        phase = angle(spectrum) / math.pi
        # Rounded before the difference is taken (float32 has steps of 2**-21 around 6), so that the
        # difference is exact, and its sum, which is the phase again, does not drift.
        phase = phase - self._centres(phase).to(phase.dtype) + 6 - 6
        instantaneous_frequency = wrapped(F.pad(phase, (1, 0)).diff(dim=-1))
        amplitude = floored_magnitude(spectrum, floor=0.0)
        return torch.stack([self.log_magnitude(amplitude), instantaneous_frequency], dim=1)

    def inverse(self, spectrogram: Tensor, length: int | None = None, iterations: int = 0) -> Tensor:
        """Go back from a spectrogram `[B, 2, F, T]` to the waveform `[B, length]`, differentiably.

        `length` is at most, and by default, `samples(T)`.

        The frames of a decoder overlap but need not agree, and where they contradict each other they
        cancel out. `iterations` reconcile them: each keeps the magnitudes and takes the phases of the
        waveform that comes closest (Griffin & Lim, 1984), accelerated (Perraudin et al., 2013), the
        first ones being those of the IF. Reconciled phases are constants: only the magnitudes get a
        gradient then.

        Raises:
            ShapeError: `spectrogram` is not `[B, 2, F, T]`, or is too short for `length`.
        """
        if spectrogram.ndim != 4 or spectrogram.shape[1:3] != (2, self.bins):
            raise ShapeError(
                f"a spectrogram must have the shape [B, 2, {self.bins}, T]: got {list(spectrogram.shape)}"
            )
        held = self.samples(spectrogram.shape[-1])
        length = held if length is None else length
        if length > held:
            raise ShapeError(f"{spectrogram.shape[-1]} frames hold {held} samples: {length} were asked for")
        log_magnitude, instantaneous_frequency = spectrogram.float().unbind(1)
        amplitude = self.amplitude(log_magnitude)
        phase = self._phase(instantaneous_frequency) * math.pi
        real, imaginary = phase.cos(), phase.sin()
        if iterations:
            direction = torch.complex(real, imaginary)
            direction = self._reconciled(amplitude, direction, length, iterations)
            real, imaginary = direction.real, direction.imag
        return self._synthesise(torch.complex(amplitude * real, amplitude * imaginary), length)

    @torch.no_grad()
    def _reconciled(self, amplitude: Tensor, direction: Tensor, length: int, iterations: int) -> Tensor:
        """Give the phases `[B, F, T]`, complex of magnitude 1, at which the frames agree better."""
        previous: Tensor | None = None
        for _ in range(iterations):
            closest = self._analyse(self._synthesise(amplitude * direction, length))
            leap = closest if previous is None else closest + _MOMENTUM * (closest - previous)
            size, previous = magnitude(leap), closest
            direction = torch.where(size > 0, leap / size, 1.0)
        return direction

    def _analyse(self, waveform: Tensor) -> Tensor:
        """Transform `[B, N]` to a complex `[B, F, T]`, 1 being the amplitude of a full-scale sine."""
        half = self.n_fft // 2
        tail = self.samples(self.frames(waveform.shape[-1])) - waveform.shape[-1]
        padded = F.pad(waveform, (half, self.n_fft - half + tail))
        return analyse(padded, self.n_fft, self.hop, self.n_fft) * self._scale

    def _synthesise(self, spectrum: Tensor, length: int) -> Tensor:
        """Go back from a complex `[B, F, T]` to `[B, length]`."""
        half = self.n_fft // 2
        return synthesise(spectrum / self._scale, self.n_fft, self.hop)[:, half : half + length]

    def log_magnitude(self, amplitude: Tensor) -> Tensor:
        """Turn an amplitude into channel 0."""
        return torch.log1p(amplitude / self.floor)

    def amplitude(self, log_magnitude: Tensor) -> Tensor:
        """Turn channel 0 into the amplitude, 1 for a full-scale sine; never negative."""
        return self.floor * torch.expm1(log_magnitude.clamp(min=0))

    def _phase(self, instantaneous_frequency: Tensor) -> Tensor:
        """Sum an IF `[B, F, T]` up to the phase in units of pi, in [-1, 1)."""
        centres = self._centres(instantaneous_frequency)
        phase = instantaneous_frequency.to(centres.dtype).cumsum(-1)
        return wrapped(phase + centres).to(instantaneous_frequency.dtype)

    def _centres(self, like: Tensor) -> Tensor:
        """Give the phase of each bin's centre in units of pi, in [-1, 1), for `[..., F, T]`: `[F, T]`."""
        # float32 loses 20 dB over a minute; Apple's MPS has nothing wider.
        wide = torch.float32 if like.device.type == "mps" else torch.float64
        bins = torch.arange(self.bins, device=like.device)[:, None]
        turns = bins * torch.arange(like.shape[-1], device=like.device) * (2 * self.hop) % (2 * self.n_fft)
        return wrapped(turns.to(wide) / self.n_fft)


def wrapped(difference: Tensor) -> Tensor:
    """Bring a difference of phases or IFs, in units of pi, to [-1, 1)."""
    return difference - 2 * torch.floor((difference + 1) / 2)
