"""Plain waveforms as inputs of a loss: checks, channels as examples, and a representation.

Shapes: `B` batch, `C` channels, `N` samples.
"""

import math

import torch
from torch import Tensor

from distill.arguments import shown
from distill.config.settings import HIGHEST_RATE
from distill.errors import InputError, ShapeError
from distill.spectral.representation import MagnitudeIF

SAMPLE_RATE = 44_100
"""The default sample rate in Hz."""

_N_FFT = 2048
"""Samples in a frame at that rate: 46 ms."""

_SLOWEST = 1000


def folded(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return two waveforms `[B, N]` or `[B, C, N]` as `[B * C, N]`, and the number of channels.

    Raises:
        InputError: One of them is not a floating-point tensor.
        ShapeError: They do not share one of the shapes, or have no samples, or fewer than channels.
    """
    for side in (prediction, target):
        if not (isinstance(side, Tensor) and side.is_floating_point()):
            got = f"{side.dtype}" if isinstance(side, Tensor) else type(side).__name__
            raise InputError(
                f"prediction and target must be floating-point tensors, 1 being full scale: got {got}",
                remedy="Divide 16-bit samples by 32768.",
            )
    if prediction.shape != target.shape or prediction.ndim not in (2, 3) or 0 in prediction.shape:
        raise ShapeError(
            "prediction and target must share the shape [B, N] or [B, C, N], and not be empty: "
            f"got {list(prediction.shape)} and {list(target.shape)}"
        )
    channels = prediction.shape[1] if prediction.ndim == 3 else 1
    if channels > prediction.shape[-1]:
        raise ShapeError(
            f"prediction and target must have the shape [B, C, N]: got {list(prediction.shape)}, "
            "with more channels than samples",
            remedy="Transpose them: waveform.transpose(1, 2). soundfile.read, for one, gives [N, C].",
        )
    return prediction.reshape(-1, prediction.shape[-1]), target.reshape(-1, target.shape[-1]), channels


def representation_at(sample_rate: int, device: torch.device) -> MagnitudeIF:
    """Return the default representation of waveforms of a sample rate in Hz.

    Its frames last about 46 ms: 2,048 samples at 44.1 kHz, and the nearest power of two (on a logarithmic
    scale) at other rates. The hop is a quarter of a frame.

    Raises:
        InputError: The rate is not a whole number of Hz, 1000 to 768000.
    """
    if not isinstance(sample_rate, int) or not _SLOWEST <= sample_rate <= HIGHEST_RATE:
        got = shown(sample_rate)
        raise InputError(f"sample_rate must be a whole number of Hz, {_SLOWEST} to {HIGHEST_RATE}: got {got}")
    n_fft = 2 ** round(math.log2(_N_FFT * sample_rate / SAMPLE_RATE))
    return MagnitudeIF(sample_rate, n_fft, n_fft // 4).to(device)
