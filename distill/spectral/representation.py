"""The representation: a waveform as log-magnitude and instantaneous frequency (IF), and back.

Shapes: `B` batch, `N` samples, `F` = n_fft // 2 + 1 bins, `T` = ceil(N / hop) + 1 frames.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.arguments import finite_number, whole_number
from distill.config.settings import MOST_FFT, MOST_PHASES
from distill.errors import InvalidValueError, ShapeError
from distill.spectral import plain
from distill.spectral.griffin_lim import Projection, direction_of, griffin_lim
from distill.spectral.plain import at_least_float32
from distill.spectral.replays import replayed_with_gradient
from distill.spectral.transforms import analyse, angle, floored_magnitude, synthesize

_CACHED = 2**17
"""Bins per part on a CPU. Several tensors of this size must fit in its cache."""


class MagnitudeIF(nn.Module):
    """An invertible spectrogram of log-magnitude and IF: `[B, N]` to `[B, 2, F, T]`, and `.inverse` back.

    Channel 0 is the log-magnitude `log(1 + amplitude / floor)`, which is not negative and in nepers above
    `floor`. A full-scale sine has the amplitude 1. Channel 1 is the IF in `[-1, 1)`, in units of pi radians
    per hop: the wrapped phase difference between frames minus the advance of the bin's centre,
    `2 * pi * k * hop / n_fft`. Frame 0 stores the phase itself, so that the phase can be restored (unlike
    in Engel et al., GANSynth, 2019). Frames are centred on multiples of `hop`.

    float64 inputs have float64 outputs; all others have float32.

    Args:
        sample_rate: The sample rate in Hz.
        n_fft: The samples in a frame.
        hop: The samples between frames, at most n_fft / 2.
        floor: The amplitude below which the log-magnitude becomes linear.

    Raises:
        InvalidValueError: An argument is out of bounds.
    """

    _turns: Tensor

    def __init__(
        self, sample_rate: int = 44_100, n_fft: int = 2048, hop: int = 512, floor: float = 1e-6
    ) -> None:
        super().__init__()
        _require_valid(sample_rate, n_fft, hop, floor)
        self.sample_rate, self.n_fft, self.hop, self.floor = sample_rate, n_fft, hop, floor
        self.bins = n_fft // 2 + 1
        # The sum of a Hann window is n_fft / 2; a sine of amplitude 1 splits it between bins k and -k.
        self._scale = 4 / n_fft
        self.register_buffer("_turns", self._one_period(None), persistent=False)

    def frames(self, samples: int) -> int:
        """Return the number of frames for a waveform of `samples` samples.

        Raises:
            InputError: `samples` is not a whole number from 0 on.
        """
        return math.ceil(count_like(samples, culprit="samples", least=0) / self.hop) + 1

    def samples(self, frames: int) -> int:
        """Return the maximum number of samples for `frames` frames.

        Raises:
            InputError: `frames` is not a whole number from 1 on.
        """
        return (count_like(frames, culprit="frames", least=1) - 1) * self.hop

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the spectrogram `[B, 2, F, T]` of a waveform `[B, N]` with full scale 1.

        Raises:
            ShapeError: `waveform` is not `[B, N]`, or is empty.
        """
        if waveform.ndim != 2 or 0 in waveform.shape:
            raise ShapeError(
                f"a waveform must have the shape [B, N], B > 0 and N > 0: got {list(waveform.shape)}"
            )

        def compute(waveform: Tensor, turns: Tensor) -> Tensor:
            centres = self._centres(self.frames(waveform.shape[-1]), turns).to(waveform.dtype)
            return self._in_parts(
                lambda part: self._transformed(part, centres), waveform, size=centres.numel()
            ).mT

        kind = "spectrogram", self.n_fft, self.hop, self.floor
        return replayed_with_gradient(compute, kind, at_least_float32(waveform), self._turns_on(waveform))

    def _transformed(self, waveform: Tensor, centres: Tensor) -> Tensor:
        """Return `[B, 2, T, F]`, the memory layout of the transforms."""
        spectrum = self._analyse(waveform)
        phase = angle(spectrum).div_(math.pi)
        # Rounded before differencing (float32 has steps of 2**-21 around 6), so that the differences are
        # exact, and their cumulative sum, which is the phase, does not drift.
        phase = phase.sub_(centres).add_(6).sub_(6)
        advance = torch.cat([phase[:, :1], phase[:, 1:] - phase[:, :-1]], dim=1)
        log_magnitude = self.log_magnitude(floored_magnitude(spectrum, floor=0.0))
        return torch.stack([log_magnitude, wrapped(advance)], dim=1)

    def inverse(self, spectrogram: Tensor, length: int | None = None, iterations: int = 0) -> Tensor:
        """Return the waveform `[B, length]` of a spectrogram `[B, 2, F, T]`. It is differentiable.

        The overlapping frames of a predicted spectrogram may be inconsistent, and then partly cancel out.
        Griffin-Lim iterations reduce this: each keeps the magnitudes and takes the phases of the closest
        waveform (Griffin & Lim, 1984), accelerated (Perraudin et al., 2013). They start from the phases of
        the IF. Phases after iterations are constants: only the magnitudes get a gradient.

        Args:
            spectrogram: The spectrogram.
            length: The number of samples, at most and by default `samples(T)`.
            iterations: The number of Griffin-Lim iterations.

        Raises:
            ShapeError: `spectrogram` is not `[B, 2, F, T]`, is empty, or is too short for `length`.
            InputError: `length` or `iterations` is not a whole number, or `iterations` is negative.
        """
        if spectrogram.ndim != 4 or spectrogram.shape[1:3] != (2, self.bins) or 0 in spectrogram.shape:
            raise ShapeError(
                f"a spectrogram must have the shape [B, 2, {self.bins}, T], B > 0 and T > 0: "
                f"got {list(spectrogram.shape)}"
            )
        held = self.samples(spectrogram.shape[-1])
        length = held if length is None else count_like(length, culprit="length")
        iterations = count_like(iterations, culprit="iterations", least=0)
        if not 0 <= length <= held:
            raise ShapeError(f"{spectrogram.shape[-1]} frames hold {held} samples: {length} were asked for")

        def compute(spectrogram: Tensor, turns: Tensor) -> Tensor:
            centres = self._centres(spectrogram.shape[-1], turns)
            return self._in_parts(
                lambda part: self._inverted(part, centres, length, iterations),
                spectrogram.mT.contiguous(),
                size=centres.numel(),
            )

        inputs = at_least_float32(spectrogram), self._turns_on(spectrogram)
        if iterations:  # a replayed backward pass would repeat them
            return compute(*inputs)
        kind = "inverse", self.n_fft, self.hop, self.floor, length
        return replayed_with_gradient(compute, kind, *inputs)

    def continued(self, amplitude: Tensor, waveform: Tensor, length: int, iterations: int) -> Tensor:
        """Return the waveform `[B, length]` of amplitudes `[B, F, T]`, with the phases of another one.

        As in `inverse`, but the phases and the Griffin-Lim iterations start from the waveform `[B, N]`, which
        must have T frames.
        """

        def part_of(frames: Tensor, start: Tensor) -> Tensor:
            direction = direction_of(self._analyse(start))
            return self._with_phases(frames, direction, length, iterations)

        return self._in_parts(part_of, amplitude.mT.contiguous(), waveform, size=amplitude[0].numel())

    def energy(self, waveform: Tensor) -> Tensor:
        """Return the sums `[B]` of the squared amplitudes of waveforms `[B, N]`."""

        def part_of(part: Tensor) -> Tensor:
            return torch.view_as_real(self._analyse(part)).square().sum((1, 2, 3))

        return self._in_parts(part_of, waveform, size=self.frames(waveform.shape[-1]) * self.bins)

    def _inverted(self, frames: Tensor, centres: Tensor, length: int, iterations: int) -> Tensor:
        """Return the waveform `[B, length]` of `[B, 2, T, F]`."""
        log_magnitude, instantaneous_frequency = frames.unbind(1)
        amplitude = self.amplitude(log_magnitude)
        with torch.no_grad() if iterations else nullcontext():
            phase = instantaneous_frequency.to(centres.dtype).cumsum(1).add_(centres)
            phase = wrapped(phase).to(frames.dtype).mul_(math.pi)
            direction = torch.complex(phase.cos(), phase.sin())
        return self._with_phases(amplitude, direction, length, iterations)

    def _with_phases(self, amplitude: Tensor, direction: Tensor, length: int, iterations: int) -> Tensor:
        """Return the waveform `[B, length]` of amplitudes and phases `[B, T, F]`, after iterations."""
        if iterations:
            frames_held = amplitude.shape[-2]
            # Iterations use all frames, also those beyond `length`; the waveform is cut afterwards.
            samples = length if self.frames(length) == frames_held else self.samples(frames_held)
            direction = self._griffin_lim(amplitude, direction, samples, iterations)
        return self._synthesize(torch.complex(amplitude * direction.real, amplitude * direction.imag), length)

    def _griffin_lim(self, amplitude: Tensor, direction: Tensor, length: int, iterations: int) -> Tensor:
        """Return the phases `[B, T, F]` after Griffin-Lim iterations, complex of magnitude 1."""
        if plain.is_needed(amplitude):
            return griffin_lim(
                amplitude,
                direction,
                iterations,
                lambda each, _: self._analyse(self._synthesize(each, length)),
            )
        projection = Projection(direction, self.n_fft, self.hop, length)
        return griffin_lim(amplitude, direction, iterations, projection)

    @staticmethod
    def _in_parts(function: Callable[..., Tensor], *batches: Tensor, size: int) -> Tensor:
        """Apply a function to a few examples at a time, so that their `size` bins stay in a CPU's cache."""
        count = max(1, _CACHED // size) if batches[0].device.type == "cpu" else len(batches[0])
        parts = zip(*(each.split(count) for each in batches), strict=True)
        return torch.cat([function(*part) for part in parts])

    def _analyse(self, waveform: Tensor) -> Tensor:
        """Return the complex spectrum `[B, T, F]` of `[B, N]`; a full-scale sine has the amplitude 1."""
        half = self.n_fft // 2
        tail = self.samples(self.frames(waveform.shape[-1])) - waveform.shape[-1]
        padded = F.pad(waveform * self._scale, (half, self.n_fft - half + tail))
        return analyse(padded, self.n_fft, self.hop, self.n_fft).mT

    def _synthesize(self, spectrum: Tensor, length: int) -> Tensor:
        """Return the waveform `[B, length]` of a complex `[B, T, F]`."""
        half = self.n_fft // 2
        return synthesize(spectrum.mT, self.n_fft, self.hop)[:, half : half + length] / self._scale

    def log_magnitude(self, amplitude: Tensor) -> Tensor:
        """Return channel 0 of an amplitude."""
        return torch.log1p(amplitude / self.floor)

    def amplitude(self, log_magnitude: Tensor) -> Tensor:
        """Return the amplitude of channel 0, 1 for a full-scale sine; not negative."""
        return self.floor * torch.expm1(log_magnitude.clamp(min=0))

    def _one_period(self, device: torch.device | None) -> Tensor:
        """Return the phase of each bin's centre in units of pi / n_fft, in [-n_fft, n_fft): `[t, F]`.

        The phases repeat after t = n_fft / gcd(n_fft, hop) frames. Integers are exact, and are not converted
        when a module that contains this one is cast.
        """
        period = self.n_fft // math.gcd(self.n_fft, self.hop)
        empty = torch.empty(period, self.bins, dtype=torch.int32, device=device)
        if empty.is_meta:  # has no values, and computing with it would load torch's compiler for a second
            return empty
        frames = torch.arange(period, device=device)
        advances = (frames * self.hop) % self.n_fft
        turns = advances[:, None] * torch.arange(self.bins, device=device)
        # In place, since the integers of 64 bits are most of the memory.
        return turns.mul_(2).add_(self.n_fft).remainder_(2 * self.n_fft).sub_(self.n_fft).int()

    def _turns_on(self, tensor: Tensor) -> Tensor:
        """Return one period of the phases on the device of a tensor."""
        if self._turns.device != tensor.device:  # a module that was not moved follows its inputs
            self._turns = self._one_period(tensor.device)
        return self._turns

    def _centres(self, frames: int, turns: Tensor) -> Tensor:
        """Return the phase of each bin's centre at each frame, in units of pi, in [-1, 1): `[T, F]`."""
        # float32 loses 20 dB over a minute; Apple's MPS has no float64.
        wide = torch.float32 if turns.device.type == "mps" else torch.float64
        period = turns.to(wide) / self.n_fft
        return period.repeat(-(-frames // len(period)), 1)[:frames]


def _require_valid(sample_rate: int, n_fft: int, hop: int, floor: float) -> None:
    """Require the parameters of a representation that has an inverse and fits into memory.

    Raises:
        InputError: A parameter is not a number of its kind.
        InvalidValueError: A parameter is out of bounds.
    """
    whole_number(sample_rate, culprit="sample_rate", least=1)
    whole_number(n_fft, culprit="n_fft", least=2, below=MOST_FFT + 1)
    whole_number(hop, culprit="hop")
    if not 0 < 2 * hop <= n_fft:
        raise InvalidValueError(f"hop must be within 1..n_fft / 2 = {n_fft // 2} for an exact inverse: {hop}")
    if n_fft // math.gcd(n_fft, hop) * (n_fft // 2 + 1) > MOST_PHASES:
        raise InvalidValueError(
            "n_fft above 8192 must share a larger factor with the hop, such as a power of 2: "
            f"{n_fft} and {hop}"
        )
    if finite_number(floor, culprit="floor") <= 0:
        raise InvalidValueError(f"floor must be above 0: {floor}")


def count_like(value: object, *, culprit: str, least: int | None = None) -> int:
    """Return a whole number as an `int`, or as it is where torch traces it, so that it stays symbolic.

    Raises:
        InputError: it is not a whole number, or is less than `least`.
    """
    if isinstance(value, torch.SymInt):
        return cast("int", value)
    if type(value) is int and (least is None or value >= least):
        return value
    return whole_number(value, culprit=culprit, least=least)


def wrapped(difference: Tensor) -> Tensor:
    """Return a difference of phases or IFs, in units of pi, wrapped to [-1, 1)."""
    return difference - difference.detach().add(1).mul_(0.5).floor_().mul_(2)
