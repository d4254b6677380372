"""Short-time Fourier transforms with hand-written gradients.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.

autograd computes the backward of a real FFT as a full complex FFT, and that of overlapping frames as a
scatter. Both are avoided here (see `distill.spectral.frames`). Samples are processed part by part, forward
and backward, so that intermediate results stay in the cache.

Compiled and exported code, transforms of `torch.func` and second derivatives use the plain operations of
`distill.spectral.plain` instead.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.autograd import Function

from distill.spectral import plain
from distill.spectral.frames import (
    Adjoint,
    Frames,
    OverlapAdd,
    edges,
    hann_window,
    inverse_rfft,
    inverse_squares,
)
from distill.spectral.gradients import Context, apply, differentiable, keep_above
from distill.spectral.parts import backwards, in_parts
from distill.spectral.plain import ANGLE_FLOOR, MAGNITUDE_FLOOR
from distill.spectral.replays import is_replayed, replayed_with_gradient


def stft(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Return the STFT of `[B, N]` real samples, complex `[B, F, T]`.

    T is N // hop + 1, or (N - 1) // hop + 1 for an odd `n_fft`.

    The values are those of `torch.stft(waveform, n_fft, hop, win_length, hann_window, return_complex=True)`:
    frames are centred, and the samples reflected at both ends. A waveform too short to be reflected is first
    padded with zeros; torch raises an error for it.
    """
    if plain.is_needed(waveform):
        return plain.stft(waveform, n_fft, hop, win_length)
    frames = Frames(waveform, n_fft, hop, win_length, centred=True)
    return cast("Tensor", apply(_Spectrum, frames.samples, frames).mT)


def stft_magnitude(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Return `floored_magnitude(stft(...))`, `[B, F, T]`, in less time."""
    if plain.is_needed(waveform):
        return plain.stft_magnitude(waveform, n_fft, hop, win_length)

    def compute(waveform: Tensor) -> Tensor:
        frames = Frames(waveform, n_fft, hop, win_length, centred=True)
        return cast("Tensor", apply(_Magnitude, frames.samples, frames, False).mT)

    return replayed_with_gradient(compute, (_Magnitude, n_fft, hop, win_length), waveform)


def stft_magnitude_first(
    waveform: Tensor, n_fft: int, hop: int, win_length: int
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return `stft_magnitude(...)`, and a function that returns `stft(...)` from the same transforms."""
    if plain.is_needed(waveform):
        spectrum = plain.stft(waveform, n_fft, hop, win_length)
        return plain.floored_magnitude(spectrum, MAGNITUDE_FLOOR), lambda: spectrum
    if is_replayed(waveform):  # the transforms of a replayed function cannot be shared
        resolution = n_fft, hop, win_length
        return stft_magnitude(waveform, *resolution), lambda: stft(waveform, *resolution)
    frames = Frames(waveform, n_fft, hop, win_length, centred=True)
    magnitude = apply(_Magnitude, frames.samples, frames, True)
    return magnitude.mT, lambda: cast("Tensor", apply(_Spectrum, frames.samples, frames).mT)


def analyse(padded: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Return the STFT of `[B, N]` samples without centring or padding, complex `[B, F, T]`."""
    if plain.is_needed(padded):
        return plain.analyse(padded, n_fft, hop, win_length)
    frames = Frames(padded, n_fft, hop, win_length, centred=False)
    return cast("Tensor", apply(_Spectrum, frames.samples, frames).mT)


def synthesize(spectrum: Tensor, n_fft: int, hop: int) -> Tensor:
    """Invert `analyse` with a Hann window of `n_fft` samples: complex `[B, F, T]` to `[B, N]`.

    This is the least-squares inverse of Griffin and Lim (1984): windowed overlap-add divided by the summed
    squares of the window. N = (T - 1) * hop + n_fft. The outermost samples, where the squares vanish, are 0.
    """
    if plain.is_needed(spectrum):
        return plain.synthesize(spectrum, n_fft, hop)
    window = hann_window(n_fft, n_fft, spectrum.device).to(spectrum.real.dtype)
    gain = inverse_squares(window, hop, spectrum.shape[-1])
    return cast("Tensor", apply(_Synthesis, spectrum.mT, window, hop) * gain)


def power(spectrum: Tensor) -> Tensor:
    """Return the squared magnitude of a complex tensor."""
    # Squaring the interleaved parts together is faster than one after the other.
    real, imaginary = torch.view_as_real(spectrum.resolve_conj()).square().unbind(-1)
    return real + imaginary


def floored_magnitude(spectrum: Tensor, floor: float = MAGNITUDE_FLOOR) -> Tensor:
    """Return the magnitude of a complex tensor, at least `floor`; no gradient flows below the floor."""
    if plain.is_needed(spectrum):
        return plain.floored_magnitude(spectrum, floor)
    return apply(_FlooredMagnitude, spectrum, floor)


def angle(spectrum: Tensor) -> Tensor:
    """Return the angle of a complex tensor, in radians.

    The gradient grows as 1 / magnitude. It is 0 where the magnitude is below 1e-6.
    """
    if plain.is_needed(spectrum):
        return plain.angle(spectrum)
    return apply(_Angle, spectrum)


def _spectrum_again(ctx: Context) -> tuple[tuple[Tensor], Tensor]:
    samples = ctx.frames.samples
    return (samples,), ctx.frames.recomputed(samples)


class _Spectrum(Function):
    """Spectra of frames, complex `[B, T, F]`."""

    @staticmethod
    def forward(ctx: Context, samples: Tensor, frames: Frames) -> Tensor:  # noqa: ARG004  # those of the frames
        ctx.frames = frames
        result = frames.window.new_empty(frames.shape, dtype=frames.window.dtype.to_complex())
        for (_, place), spectrum in zip(in_parts(frames.unwindowed, result), frames.spectra(), strict=True):
            place.copy_(spectrum)
        frames.release()
        return result

    @staticmethod
    @differentiable(_spectrum_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None]:
        adjoint = Adjoint(ctx.frames)
        for part, *blocks in in_parts(gradient, *adjoint.blocks):
            adjoint.add_spectrum(blocks, part)
        return adjoint.gradient(), None


def _magnitude_again(ctx: Context) -> tuple[tuple[Tensor], Tensor]:
    samples, _ = ctx.saved_tensors
    return (samples,), plain.floored_magnitude(ctx.frames.recomputed(samples), MAGNITUDE_FLOOR)


class _Magnitude(Function):
    """Magnitudes of frames, `[B, T, F]`. The frames keep the spectra if `wanted` or differentiated."""

    @staticmethod
    def forward(ctx: Context, samples: Tensor, frames: Frames, wanted: bool) -> Tensor:  # noqa: FBT001
        ctx.frames = frames
        result = frames.window.new_empty(frames.shape)
        for unwindowed, size in in_parts(frames.unwindowed, result):
            spectrum = frames.transform(unwindowed)
            if wanted or ctx.needs_input_grad[0]:
                frames.kept.append(spectrum)
            torch.sqrt(frames.power(spectrum), out=size).clamp_(min=MAGNITUDE_FLOOR)
        frames.release()
        ctx.save_for_backward(samples, result)
        return result

    @staticmethod
    @differentiable(_magnitude_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        _, magnitude = ctx.saved_tensors
        adjoint = Adjoint(ctx.frames)
        parts = in_parts(ctx.frames.unwindowed, gradient, magnitude, *adjoint.blocks)
        for spectrum, (_, pull, size, *blocks) in backwards(ctx.frames.kept, parts):
            adjoint.add_scaled(blocks, spectrum, keep_above(MAGNITUDE_FLOOR, size, pull / size))
        return adjoint.gradient(), None, None


def _synthesis_again(ctx: Context) -> tuple[tuple[Tensor], Tensor]:
    # Synthesis is linear: its gradient does not depend on the spectrum, which need not be kept.
    spectrum = torch.zeros(ctx.shape, dtype=ctx.dtype, device=ctx.window.device, requires_grad=True)
    return (spectrum,), plain.overlap_add(spectrum, ctx.window, ctx.hop)


class _Synthesis(Function):
    """Overlapping windowed inverse real FFTs: complex `[B, T, F]` to `[B, (T - 1) * hop + n_fft]`."""

    @staticmethod
    def forward(ctx: Context, spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
        ctx.window, ctx.hop, ctx.shape, ctx.dtype = window, hop, spectrum.shape, spectrum.dtype
        summed = OverlapAdd(window, hop, spectrum.shape[:2])
        for part, *blocks in in_parts(spectrum, *summed.blocks):
            summed.add(blocks, inverse_rfft(part, len(window)))
        return summed.samples

    @staticmethod
    @differentiable(_synthesis_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        n_fft = len(ctx.window)
        frames = gradient.contiguous().unfold(-1, n_fft, ctx.hop)
        result = gradient.new_empty(ctx.shape, dtype=ctx.dtype)
        # Each bin counts twice in the inverse, except those at the edges.
        window = ctx.window * (2 / n_fft)
        for part, place in in_parts(frames, result):
            place.copy_(torch.fft.rfft(part * window))
            place[..., edges(n_fft)] *= 0.5
        return result, None, None


def _floored_magnitude_again(ctx: Context) -> tuple[tuple[Tensor], Tensor]:
    spectrum, _ = ctx.saved_tensors
    return (spectrum,), plain.floored_magnitude(spectrum, ctx.floor)


class _FlooredMagnitude(Function):
    @staticmethod
    def forward(ctx: Context, spectrum: Tensor, floor: float) -> Tensor:
        value = torch.empty_like(spectrum.real)
        for part, result in in_parts(spectrum, value):
            torch.sqrt(power(part), out=result).clamp_(min=floor)
        ctx.save_for_backward(spectrum, value)
        ctx.floor = floor
        return value

    @staticmethod
    @differentiable(_floored_magnitude_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None]:
        spectrum, value = ctx.saved_tensors
        result = torch.empty_like(spectrum)
        for part, size, pull, place in in_parts(spectrum, value, gradient, result):
            torch.mul(part, keep_above(ctx.floor, size, pull / size), out=place)
        return result, None


def _angle_again(ctx: Context) -> tuple[tuple[Tensor], Tensor]:
    (spectrum,) = ctx.saved_tensors
    return (spectrum,), plain.angle(spectrum)


class _Angle(Function):
    @staticmethod
    def forward(ctx: Context, spectrum: Tensor) -> Tensor:
        ctx.save_for_backward(spectrum)
        # `torch.angle` takes twice as long: it does not vectorize over interleaved parts.
        return torch.atan2(spectrum.imag.contiguous(), spectrum.real.contiguous())

    @staticmethod
    @differentiable(_angle_again)
    def backward(ctx: Context, gradient: Tensor) -> Tensor:
        (spectrum,) = ctx.saved_tensors
        size = power(spectrum)
        scale = keep_above(ANGLE_FLOOR**2, size, gradient / size)
        return torch.complex(-spectrum.imag * scale, spectrum.real * scale)
