"""Short-time Fourier transforms whose gradients are written by hand.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.

autograd's own backward of a real FFT is a full complex FFT, and its backward of overlapping frames a
scatter. Here a frame's adjoint is the overlap-add and a real FFT's adjoint the inverse real FFT, so
that going back costs about what going forth does.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MAGNITUDE_FLOOR = 1e-4
"""Below this auraloss's STFT magnitudes do not fall: the square root of its `eps` of 1e-8."""

_CACHED = 2**18
"""Numbers of a batch that are taken at a time on a CPU: some megabytes with what is computed of them."""

_Context: TypeAlias = Any  # torch's own, on which a function keeps what it likes


@lru_cache(maxsize=64)
def hann_window(win_length: int, n_fft: int, device: torch.device) -> Tensor:
    """Give the periodic Hann window of `win_length` samples, centred in `n_fft` zeros: `[n_fft]`."""
    left = (n_fft - win_length) // 2
    with torch.inference_mode(mode=False):
        window = torch.hann_window(win_length, device=device)
        return F.pad(window, (left, n_fft - win_length - left))


def stft(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Transform `[B, N]` real samples to a complex `[B, F, T]`.

    T is N // hop + 1, for an odd `n_fft` (N - 1) // hop + 1.

    The values of `torch.stft(waveform, n_fft, hop, win_length, hann_window, return_complex=True)`:
    centred frames, reflected at both ends. A waveform too short to be reflected is padded with zeros
    first, where torch raises.
    """
    half = n_fft // 2
    if waveform.shape[-1] <= half:
        waveform = F.pad(waveform, (0, half + 1 - waveform.shape[-1]))
    padded = F.pad(waveform.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
    return analyse(padded, n_fft, hop, win_length)


def analyse(padded: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Transform `[B, N]` samples that are padded already to a complex `[B, F, T]`."""
    window = hann_window(win_length, n_fft, padded.device)
    samples = padded.to(torch.promote_types(padded.dtype, window.dtype)).contiguous()
    return apply(_Analysis, samples, window, hop).transpose(-1, -2)


def synthesise(spectrum: Tensor, n_fft: int, hop: int) -> Tensor:
    """Invert `analyse` with a Hann window of `n_fft` samples: complex `[B, F, T]` to `[B, N]`.

    The least-squares inverse of Griffin and Lim (1984): windowed overlap-add over the summed squares
    of the window. N = (T - 1) * hop + n_fft; the outermost samples, where the squares vanish, are 0.
    """
    window = hann_window(n_fft, n_fft, spectrum.device)
    frames = torch.fft.irfft(spectrum.transpose(-1, -2), n=n_fft) * window
    squares = (window * window).expand(1, spectrum.shape[-1], n_fft)
    envelope = _overlap_add(squares, hop)
    return apply(_OverlapAdd, frames, hop) * torch.where(envelope > 1e-8, 1 / envelope, 0.0)


def magnitude(spectrum: Tensor) -> Tensor:
    """Give the magnitude of a complex tensor: `abs` less its guard against overflow, three times faster."""
    return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag).sqrt_()


def floored_magnitude(spectrum: Tensor, floor: float = MAGNITUDE_FLOOR) -> Tensor:
    """Give the magnitude of a complex tensor, at least `floor`; no gradient flows below the floor."""
    return apply(_FlooredMagnitude, spectrum, floor)


def angle(spectrum: Tensor) -> Tensor:
    """Give the angle of a complex tensor, in radians.

    Its gradient grows as 1 / magnitude; none flows where the magnitude is below 1e-6.
    """
    return apply(_Angle, spectrum)


def apply(function: type[Function], *arguments: object) -> Tensor:
    """Apply a function that has its own gradient."""
    return cast("Tensor", function.apply(*arguments))


def parts(batch: Tensor) -> Iterator[slice]:
    """Cut a batch `[B, ...]` into slices to take one after the other.

    On a CPU what is computed of one slice stays in the cache from step to step, which is most of what
    there is to gain; elsewhere the whole batch is one slice.
    """
    count = len(batch)
    if batch.device.type == "cpu":
        count = max(1, _CACHED * count // max(1, batch.numel()))
    return (slice(start, start + count) for start in range(0, len(batch), max(1, count)))


class _Analysis(Function):
    """Real FFTs of overlapping windowed frames: `[B, N]` to complex `[B, T, F]`."""

    @staticmethod
    def forward(ctx: _Context, waveform: Tensor, window: Tensor, hop: int) -> Tensor:
        n_fft = len(window)
        frames = waveform.unfold(-1, n_fft, hop)
        ctx.window, ctx.hop, ctx.samples = window, hop, waveform.shape[-1]
        shape = (*frames.shape[:2], n_fft // 2 + 1)
        spectrum = waveform.new_empty(shape, dtype=waveform.dtype.to_complex())
        for part in parts(frames):
            torch.fft.rfft(frames[part] * window, out=spectrum[part])
        return spectrum

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        n_fft = len(ctx.window)
        waveform = gradient.real.new_zeros(len(gradient), ctx.samples)
        for part in parts(gradient):
            # irfft counts each bin but the first and, for an even size, the last one twice.
            halved = gradient[part] * 0.5
            halved[..., 0] *= 2
            if n_fft % 2 == 0:
                halved[..., -1] *= 2
            frames = torch.fft.irfft(halved, n=n_fft, norm="forward").mul_(ctx.window)
            summed = _overlap_add(frames, ctx.hop)
            waveform[part, : summed.shape[-1]] = summed
        return waveform, None, None


class _OverlapAdd(Function):
    """Add overlapping frames `[B, T, size]` up to `[B, (T - 1) * hop + size]`."""

    @staticmethod
    def forward(ctx: _Context, frames: Tensor, hop: int) -> Tensor:
        ctx.hop, ctx.size = hop, frames.shape[-1]
        return _overlap_add(frames, hop)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.contiguous().unfold(-1, ctx.size, ctx.hop), None


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    batch, count, size = frames.shape
    blocks = -(-size // hop)
    frames = F.pad(frames, (0, blocks * hop - size))
    summed = frames.new_zeros(batch, count + blocks - 1, hop)
    for block in range(blocks):
        summed[:, block : block + count] += frames[..., block * hop : (block + 1) * hop]
    return summed.flatten(1)[:, : (count - 1) * hop + size]


class _FlooredMagnitude(Function):
    @staticmethod
    def forward(ctx: _Context, spectrum: Tensor, floor: float) -> Tensor:
        value = torch.empty_like(spectrum.real)
        for part in parts(spectrum):
            torch.clamp(magnitude(spectrum[part]), min=floor, out=value[part])
        ctx.save_for_backward(spectrum, value)
        ctx.floor = floor
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None]:
        spectrum, value = ctx.saved_tensors
        result = torch.empty_like(spectrum)
        for part in parts(spectrum):
            scale = (gradient[part] / value[part]).masked_fill_(value[part] <= ctx.floor, 0.0)
            torch.mul(spectrum[part], scale, out=result[part])
        return result, None


class _Angle(Function):
    @staticmethod
    def forward(ctx: _Context, spectrum: Tensor) -> Tensor:
        ctx.save_for_backward(spectrum)
        return spectrum.angle()

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> Tensor:
        (spectrum,) = ctx.saved_tensors
        power = spectrum.real.square() + spectrum.imag.square()
        scale = (gradient / power).masked_fill_(power <= 1e-12, 0.0)
        return torch.complex(-spectrum.imag * scale, spectrum.real * scale)
