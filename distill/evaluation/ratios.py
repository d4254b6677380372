"""Ratios of energies in dB: what is left of a signal, and how loud it is.

Shapes: `N` samples, `...` any number of signals.
"""

import torch
from torch import Tensor

_BOUND = 200.0


def signal_to_noise(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Give the signal-to-noise ratio of signals `[..., N]` in dB, bounded to +-200: `[...]`.

    It has no meaning where the original is silent.
    """
    return _decibels(original, reconstruction.double() - original.double())


def si_sdr(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Give the scale-invariant signal-to-distortion ratio of signals `[..., N]` in dB: `[...]`.

    The definition of Le Roux et al. (2019), bounded to +-200 dB: the lower bound stands for a
    reconstruction with nothing of the original. Not a number where the original is 0 throughout.
    """
    reconstruction, original = reconstruction.double(), original.double()
    share = (reconstruction * original).sum(-1, keepdim=True) / original.square().sum(-1, keepdim=True)
    return _decibels(share * original, reconstruction - share * original)


def level_difference(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Give how much louder the reconstruction is, RMS in dB bounded to +-200: `[..., N]` to `[...]`."""
    return _decibels(reconstruction, original)


def _decibels(signal: Tensor, reference: Tensor) -> Tensor:
    """Give the ratio of two energies over the last axis in dB, bounded; that of no energy is the least."""
    energy, other = (x.double().square().sum(-1) for x in (signal, reference))
    decibels = (10 * (energy / other).log10()).clamp(-_BOUND, _BOUND)
    return torch.where(energy == 0, -_BOUND, decibels)
