"""Energy ratios in dB: signal-to-noise ratio, SI-SDR and level difference.

Shapes: `N` samples, `...` any number of signals.
"""

import torch
from torch import Tensor

_BOUND = 200.0


def signal_to_noise(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return the signal-to-noise ratio `[...]` of signals `[..., N]` in dB, bounded to +-200.

    The result is meaningless if the original is silent.
    """
    return _decibels(original, reconstruction.double() - original.double())


def si_sdr(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio `[...]` of signals `[..., N]` in dB.

    The definition is that of Le Roux et al. (2019), bounded to +-200 dB. A reconstruction orthogonal to the
    original gets the lower bound. The result is nan if the original is 0 throughout.
    """
    reconstruction, original = reconstruction.double(), original.double()
    gain = (reconstruction * original).sum(-1, keepdim=True) / original.square().sum(-1, keepdim=True)
    return _decibels(gain * original, reconstruction - gain * original)


def level_difference(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return the level `[...]` of reconstructions `[..., N]` relative to originals, in dB within +-200."""
    return _decibels(reconstruction, original)


def _decibels(signal: Tensor, reference: Tensor) -> Tensor:
    """Return the bounded ratio of two energies over the last axis in dB. No energy gives the lower bound."""
    energy, other = (x.double().square().sum(-1) for x in (signal, reference))
    decibels = (10 * (energy / other).log10()).clamp(-_BOUND, _BOUND)
    return torch.where(energy == 0, -_BOUND, decibels)
