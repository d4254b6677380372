"""Latents refined for the sound at hand: analysis by synthesis.

Shapes: `C` channels, `N` samples, `D` numbers in each of `T'` latents.
"""

import torch
from torch import Tensor

from distill.model.vae import VAE
from distill.spectral.distances import multi_resolution_stft_distance
from distill.spectral.metrics import RESOLUTIONS, log_spectral_distance
from distill.spectral.representation import MagnitudeIF

_STEP = 0.1
"""The first step's length, in deviations of the prior; the steps become shorter in a straight line."""

_BETAS = 0.8, 0.99
"""Adam's averages: steps are few, so that they look back less far than in a training."""

_DECIBELS = 2.0
"""The log-spectral distance, in dB, that weighs as much as 1 of the multi-resolution STFT distance."""

_ITERATIONS = 4
"""Griffin-Lim iterations at each step, at most; the finished sound gets those of the model."""


def refine(
    vae: VAE,
    representation: MagnitudeIF,
    waveform: Tensor,
    latents: Tensor,
    steps: int,
    noise: Tensor | None = None,
) -> Tensor:
    """Bring `latents` `[C, D, T']` closer to what decodes to `waveform` `[C, N]`, by gradient descent.

    An encoder gives in one go what is right on average; for one sound there are better latents near by
    (Kim et al., 2018). Each channel is refined for itself, towards the log-spectral and the
    multi-resolution STFT distance of the decoded waveform, which `VAE.sound` makes with `noise`.
    """
    iterations = min(_ITERATIONS, vae.iterations)
    refined = latents.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([refined], betas=_BETAS)
    for step in range(steps):
        with torch.enable_grad():
            made = vae.sound(refined, representation, waveform.shape[-1], iterations, noise)
            away = multi_resolution_stft_distance(made, waveform, RESOLUTIONS, per_example=True)
            away = away + log_spectral_distance(made, waveform).mean() / _DECIBELS
        (refined.grad,) = torch.autograd.grad(away, [refined])
        optimizer.param_groups[0]["lr"] = _STEP * (1 - step / steps)
        optimizer.step()
    return refined.detach()
