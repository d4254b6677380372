"""The transforms and distances of the spectral engine in plain torch operations.

Shapes: `B` batch, `N` samples, `T` frames, `F` = n_fft // 2 + 1 bins.

They return the values and gradients of the functions of the same names in `transforms` and `distances`, and
are several times slower. torch can differentiate them any number of times, compile and export them, and
transform them with `torch.func`.
"""

from typing import Any, TypeAlias

import torch
from auraloss.freq import SpectralConvergenceLoss, STFTMagnitudeLoss
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.nn import functional as F

MAGNITUDE_FLOOR = 1e-4
"""The smallest STFT magnitude in auraloss: the square root of its `eps` of 1e-8."""

ANGLE_FLOOR = 1e-6
"""The magnitude below which an angle has no gradient."""

_Context: TypeAlias = Any  # torch's context, on which a function may set any attribute


def is_needed(*tensors: Tensor) -> bool:
    """Return whether plain operations are required: in compiled, exported or transformed code.

    Transforms are those of `torch.func`, and forward-mode differentiation of one of the tensors.
    """
    return (
        torch.compiler.is_compiling()
        or is_transformed()
        or any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)
    )


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` is active.

    torch has no public function for this. It documents that autograd functions without `setup_context` raise
    an error under a transform; this function tries one.
    """
    try:
        _Untransformed.apply(None)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return True
    return False


class _Untransformed(Function):
    @staticmethod
    def forward(ctx: _Context, nothing: None) -> None:
        """Do nothing."""


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a real tensor in float32, or unchanged if it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def hann_window(win_length: int, n_fft: int, device: torch.device) -> Tensor:
    """Return the periodic Hann window of `win_length` samples, centred in `n_fft` zeros: `[n_fft]`."""
    left = (n_fft - win_length) // 2
    window = torch.hann_window(win_length, device=device)
    return F.pad(window, (left, n_fft - win_length - left))


def padded(samples: Tensor, reach: int) -> Tensor:
    """Return `[B, N]` samples, padded with zeros at the end if too few to be reflected by `reach`."""
    return F.pad(samples, (0, max(0, reach + 1 - samples.shape[-1])))


def reflected(samples: Tensor, reach: int) -> Tensor:
    """Return `[B, N]` samples reflected at both ends by `reach` < N, 20 times faster than `F.pad`."""
    end = samples.shape[-1] - 1
    left, right = samples[:, 1 : reach + 1].flip(-1), samples[:, end - reach : end].flip(-1)
    return torch.cat([left, samples, right], -1)


def spectra(samples: Tensor, window: Tensor, hop: int, reach: int) -> Tensor:
    """Return the spectra `[B, T, F]` of `[B, N]` samples reflected by `reach`, with a window `[n_fft]`."""
    # `Tensor.unfold` is faster, but has no backward under `torch.vmap`.
    frames = F.unfold(reflected(samples, reach)[:, None, None], (1, len(window)), stride=(1, hop)).mT
    return torch.fft.rfft(frames * window)


def stft(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Return the STFT `[B, F, T]` of `[B, N]` real samples, as `transforms.stft` does."""
    return _transformed(padded(waveform, n_fft // 2), n_fft, hop, win_length, n_fft // 2)


def stft_magnitude(waveform: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Return the magnitude of `stft`, at least `MAGNITUDE_FLOOR`: `[B, F, T]`."""
    return floored_magnitude(stft(waveform, n_fft, hop, win_length), MAGNITUDE_FLOOR)


def analyse(padded: Tensor, n_fft: int, hop: int, win_length: int) -> Tensor:
    """Return the STFT `[B, F, T]` of `[B, N]` samples without centring or padding."""
    return _transformed(padded, n_fft, hop, win_length, 0)


def _transformed(samples: Tensor, n_fft: int, hop: int, win_length: int, reach: int) -> Tensor:
    window = hann_window(win_length, n_fft, samples.device)
    dtype = torch.promote_types(samples.dtype, window.dtype)
    return spectra(samples.to(dtype), window.to(dtype), hop, reach).mT


def overlap_add(spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
    """Return the sum of windowed inverse FFTs: complex `[B, T, F]` to `[B, (T - 1) * hop + n_fft]`."""
    return _added(torch.fft.irfft(spectrum, n=len(window)) * window, hop)


def _added(frames: Tensor, hop: int) -> Tensor:
    length = (frames.shape[1] - 1) * hop + frames.shape[2]
    return F.fold(frames.mT, (1, length), (1, frames.shape[2]), stride=(1, hop))[:, 0, 0]


def synthesize(spectrum: Tensor, n_fft: int, hop: int) -> Tensor:
    """Invert `analyse` with a Hann window of `n_fft` samples, as `transforms.synthesize` does."""
    window = hann_window(n_fft, n_fft, spectrum.device).to(spectrum.real.dtype)
    ones = window.new_ones(1, spectrum.shape[-1], n_fft)
    return overlap_add(spectrum.mT, window, hop) * inverted(_added(ones * window.square(), hop))


def inverted(envelope: Tensor) -> Tensor:
    """Return the reciprocal of an envelope, 0 where the envelope vanishes."""
    return torch.where(envelope > 1e-8, 1 / envelope, 0.0)


def floored_magnitude(spectrum: Tensor, floor: float) -> Tensor:
    """Return the magnitude of a complex tensor, at least `floor`; no gradient flows below the floor."""
    power = spectrum.real.square() + spectrum.imag.square()
    above = power > floor**2
    # The root of 0 has no finite derivative, so that 1 replaces values that are not used.
    return torch.where(above, torch.where(above, power, 1.0).sqrt(), floor)


def angle(spectrum: Tensor) -> Tensor:
    """Return the angle of a complex tensor; no gradient flows where the magnitude is below `ANGLE_FLOOR`."""
    real, imaginary = spectrum.real, spectrum.imag
    above = real.square() + imaginary.square() > ANGLE_FLOOR**2
    value = torch.atan2(torch.where(above, imaginary, 0.0), torch.where(above, real, 1.0))
    return torch.where(above, value, torch.atan2(imaginary.detach(), real.detach()))


def spectral_distance(prediction: Tensor, target: Tensor, *, per_example: bool) -> Tensor:
    """Return the spectral distance of positive magnitudes `[B, F, T]` by auraloss's modules, a scalar.

    auraloss takes the norms of the spectral convergence over the batch. With `per_example` they are taken per
    example, and the convergences averaged.
    """
    if per_example:
        error, size = (x.flatten(1).norm(dim=1) for x in (target - prediction, target))
        convergence = (error / size).mean()
    else:
        convergence = _SPECTRAL_CONVERGENCE(prediction, target)
    return convergence + _LOG_MAGNITUDE(prediction, target)


_SPECTRAL_CONVERGENCE = SpectralConvergenceLoss()
_LOG_MAGNITUDE = STFTMagnitudeLoss()


def stft_distance(
    prediction: Tensor, target: Tensor, resolution: tuple[int, int, int], *, per_example: bool
) -> Tensor:
    """Return the spectral distance of the STFT magnitudes of `[B, N]` waveforms, as in `distances`."""
    sides = (stft_magnitude(side, *resolution) for side in (prediction, target))
    return spectral_distance(*sides, per_example=per_example)


def turning_distance(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of `weight * abs(wrapped(prediction - target))`, all `[B, F, T]`.

    Wrapping subtracts whole turns of 2. Only the prediction gets a gradient.
    """
    error = prediction - target.detach()
    turns = error.detach().add(1).mul(0.5).floor()
    return (weight.detach() * (error - 2 * turns).abs()).mean()
