"""Distances between the spectra of two signals, with equal weight for all bins.

Shapes: `B` signals, `N` samples, `...` any number of signals. Waveforms have 1 as full scale.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.errors import ShapeError
from distill.spectral import transforms
from distill.spectral.distances import multi_resolution_stft_distance

RESOLUTIONS = (512, 128, 512), (1024, 256, 1024), (2048, 512, 2048)
"""The `(n_fft, hop, win_length)` of the multi-resolution STFT distance, the defaults of `waveform`."""

_N_FFT, _HOP = 2048, 512
_DYNAMIC_RANGE = 80.0
_LEAST_STEP = 2.0**-23
_FULL_SCALE = _N_FFT / 4
"""The spectral peak of a sine of amplitude 1: half the sum of the Hann window."""


def is_silent(original: Tensor) -> Tensor:
    """Return whether signals `[..., N]` stay below one quantization step of 24-bit audio: `[...]`."""
    return original.abs().amax(-1) < _LEAST_STEP


def log_spectral_distance(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return the log-spectral distance of signals `[..., N]` in dB: `[...]`, lower is better.

    The distance is the RMS over bins of the difference in dB, averaged over frames (n_fft 2048, hop 512,
    Hann; frames centred, ends reflected). Both spectra are floored 80 dB below the peak of the original's
    spectrum or, if the original is silent, 80 dB below the peak of a full-scale sine.

    Raises:
        ShapeError: The two differ in shape.
    """
    signals = _pair(reconstruction, original)
    magnitudes = [transforms.stft(signal, _N_FFT, _HOP, _N_FFT).abs() for signal in signals]
    peak = torch.where(is_silent(signals[1]), _FULL_SCALE, magnitudes[1].amax((-2, -1)))
    floor = peak[:, None, None] * 10 ** (-_DYNAMIC_RANGE / 20)
    first, second = (20 * torch.maximum(magnitude, floor).log10() for magnitude in magnitudes)
    # The norm of 0 has the gradient 0; a square root of 0 has none.
    rms = torch.linalg.vector_norm(first - second, dim=-2) / first.shape[-2] ** 0.5
    distance = rms.mean(-1)
    return distance.view(original.shape[:-1])


def multi_resolution_stft(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return auraloss's multi-resolution STFT loss of each signal `[..., N]`: `[...]`.

    The loss is spectral convergence + log-magnitude distance, averaged over FFTs of 512, 1024 and 2048
    samples with hops of a quarter. It means little if the original is silent.

    Raises:
        ShapeError: The two differ in shape.
    """
    pairs = zip(*_pair(reconstruction, original), strict=True)
    each = [
        multi_resolution_stft_distance(made[None], true[None], RESOLUTIONS, per_example=False)
        for made, true in pairs
    ]
    return torch.stack(each).view(original.shape[:-1])


def _pair(reconstruction: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
    """Return two batches of signals `[..., N]` as `[B, N]` in float32, padded to at least one window."""
    if reconstruction.shape != original.shape:
        raise ShapeError(
            "reconstruction and original must share the shape [..., N]: "
            f"got {list(reconstruction.shape)} and {list(original.shape)}"
        )
    short = max(0, _N_FFT - original.shape[-1])
    flat = (x.float().reshape(-1, x.shape[-1]) for x in (reconstruction, original))
    first, second = (F.pad(signals, (0, short)) for signals in flat)
    return first, second
