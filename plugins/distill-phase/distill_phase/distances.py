"""Distances of angles, and weights that keep their gradients finite at low amplitudes.

Without amplitude an angle is meaningless, and its gradient grows as 1 / amplitude. Therefore bins are
weighted by the target's amplitude and by `clarity`, which is low where the prediction is much quieter than
the target. Together they bound the gradient, for any amplitudes, to 1 / `AUDIBLE` times that of the error.

Shapes: `B` batch, `F` bins, `T` frames.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from distill_phase import Distance

AUDIBLE = 0.1
"""The predicted amplitude, relative to the target's, above which a bin has its full weight."""

SILENCE = 1e-6
"""The amplitude below which a bin has no phase: 120 dB below a full-scale sine."""

_TURN = 2 * math.pi


def cosine(error: Tensor) -> Tensor:
    """Return `1 - cos(error)` of an error in radians. It is smooth, with a derivative of 0 at pi."""
    return 1 - error.cos()


def anti_wrapping(error: Tensor) -> Tensor:
    """Return `abs(error - 2 pi round(error / 2 pi))` (Ai & Ling, 2023), with a slope of 1 up to pi."""
    return (error - _TURN * (error / _TURN).round()).abs()


DISTANCES: Mapping[Distance, Callable[[Tensor], Tensor]] = {
    "cosine": cosine,
    "anti_wrapping": anti_wrapping,
}


def clarity(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the weight 0..1 of predicted phases, from both amplitudes `[B, F, T]`, without gradient."""
    return (prediction.detach() / (AUDIBLE * target).clamp(min=SILENCE)).clamp(max=1)


def directions(spectrum: Tensor) -> Tensor:
    """Return complex numbers scaled to magnitude 1, or less in silence. The gradient of the angle is kept."""
    return spectrum / spectrum.detach().abs().clamp(min=SILENCE)


def angle(direction: Tensor) -> Tensor:
    """Return the angle of a complex tensor in radians; 0, without gradient, where its magnitude is near 0."""
    clear = torch.where(direction.detach().abs() > SILENCE, direction, 1.0)
    return torch.atan2(clear.imag, clear.real)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over examples of their weighted means of `[B, F, T]`; silent examples count as 0."""
    total = weights.sum((-2, -1))
    return ((weights * values).sum((-2, -1)) / torch.where(total > 0, total, 1.0)).mean()
