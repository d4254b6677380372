"""How far off decoded log-magnitudes are, and how to tell: what is uncertain is to sound as noise does.

Shapes: `B` batch, `F` bins, `T` frames.
"""

import torch
from torch import Tensor

_AUDIBLE = 1e-4
"""Amplitudes more than 80 dB below the loudest of an example are hardly compared."""


def audible(amplitude: Tensor, floor: float) -> Tensor:
    """Return what amplitudes `[B, F, T]` are heard beside: `floor`, and 1e-4 of an example's greatest."""
    return _AUDIBLE * amplitude.amax((1, 2), keepdim=True) + floor


def audible_error(prediction: Tensor, target: Tensor, floor: float) -> Tensor:
    """Return the absolute difference of amplitudes `[B, F, T]` in nepers, that of what is inaudible left out.

    Both have `floor` added, and 1e-4 of the target's greatest amplitude.
    """
    heard = audible(target, floor)
    return (torch.log(prediction + heard) - torch.log(target + heard)).abs()


def negative_log_likelihood(error: Tensor, spread: Tensor) -> Tensor:
    """Return that of errors under a Laplace distribution whose mean absolute deviation is `spread`."""
    return error / spread + spread.log()
