"""Distances of angles, and weights that keep their gradients finite where there is no amplitude.

An angle means nothing where there is no amplitude, and its gradient grows as 1 / amplitude. So a bin
weighs as much as the target is loud, and less where the prediction is not nearly as loud: its
`clarity`. Together they bound the gradient, whatever the amplitudes, to 1 / `AUDIBLE` times that of
the error.

Shapes: `B` batch, `F` bins, `T` frames.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from distill_phase import Distance

AUDIBLE = 0.1
"""The share of the target's amplitude from which on a predicted bin counts in full."""

SILENCE = 1e-6
"""The amplitude, 1 being that of a full-scale sine, below which nothing has a phase: -120 dB."""

_TURN = 2 * math.pi


def cosine(error: Tensor) -> Tensor:
    """Give `1 - cos(error)` of an error in radians: smooth, but without a slope at an error of pi."""
    return 1 - error.cos()


def anti_wrapping(error: Tensor) -> Tensor:
    """Give `abs(error - 2 pi round(error / 2 pi))` (Ai & Ling, 2023): a slope of 1 up to an error of pi."""
    return (error - _TURN * (error / _TURN).round()).abs()


DISTANCES: Mapping[Distance, Callable[[Tensor], Tensor]] = {
    "cosine": cosine,
    "anti_wrapping": anti_wrapping,
}


def clarity(prediction: Tensor, target: Tensor) -> Tensor:
    """Say of amplitudes `[B, F, T]` how far the predicted ones have a phase: 0..1, without gradient."""
    return (prediction.detach() / (AUDIBLE * target).clamp(min=SILENCE)).clamp(max=1)


def directions(spectrum: Tensor) -> Tensor:
    """Bring complex numbers to a magnitude of 1, or of less in silence; the gradient of the angle stays."""
    return spectrum / spectrum.detach().abs().clamp(min=SILENCE)


def angle(direction: Tensor) -> Tensor:
    """Give the angle of a complex tensor in radians; 0, without gradient, where it is all but 0."""
    clear = torch.where(direction.detach().abs() > SILENCE, direction, 1.0)
    return torch.atan2(clear.imag, clear.real)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Average `[B, F, T]` by weights within each example, and then over examples; silent ones count 0."""
    total = weights.sum((-2, -1))
    return ((weights * values).sum((-2, -1)) / torch.where(total > 0, total, 1.0)).mean()
