"""The error of decoded log-magnitudes, and the likelihood that trains the model to predict it.

Shapes: `B` batch, `F` bins, `T` frames.
"""

import torch
from torch import Tensor

_AUDIBLE = 1e-4
"""The offset of amplitudes relative to the maximum of an example: amplitudes more than 80 dB below it hardly
count."""


def audible(amplitude: Tensor, floor: float) -> Tensor:
    """Return the offset `[B, 1, 1]` for comparing amplitudes `[B, F, T]`: 1e-4 of the maximum + `floor`."""
    return _AUDIBLE * amplitude.amax((1, 2), keepdim=True) + floor


def audible_error(prediction: Tensor, target: Tensor, floor: float) -> Tensor:
    """Return the absolute difference of amplitudes `[B, F, T]` in nepers, without inaudible differences.

    `floor` and 1e-4 of the target's maximum are added to both amplitudes.
    """
    heard = audible(target, floor)
    return (torch.log(prediction + heard) - torch.log(target + heard)).abs()


def negative_log_likelihood(error: Tensor, spread: Tensor) -> Tensor:
    """Return the negative log-likelihood of errors under a Laplace distribution, up to a constant.

    `spread` is the mean absolute deviation of the distribution.
    """
    return error / spread + spread.log()
