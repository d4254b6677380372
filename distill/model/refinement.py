"""Refinement of latents for one sound by gradient descent (analysis by synthesis).

Shapes: `C` channels, `N` samples, `D` numbers per latent frame, `T'` latent frames.
"""

import torch
from torch import Tensor

from distill.model.vae import VAE
from distill.spectral.distances import multi_resolution_stft_distance
from distill.spectral.metrics import RESOLUTIONS, log_spectral_distance
from distill.spectral.representation import MagnitudeIF

_STEP = 0.1
"""The initial learning rate, in standard deviations of the prior. It decreases linearly."""

_BETAS = 0.8, 0.99
"""Adam's betas. They are lower than in training, since there are few steps."""

_DECIBELS = 2.0
"""The log-spectral distance, in dB, that counts as much as a multi-resolution STFT distance of 1."""

_ITERATIONS = 4
"""The maximum of Griffin-Lim iterations in a step. The finished sound gets those of the model."""


def refine(
    vae: VAE,
    representation: MagnitudeIF,
    waveform: Tensor,
    latents: Tensor,
    steps: int,
    noise: Tensor | None = None,
) -> Tensor:
    """Refine `latents` `[C, D, T']` by gradient descent so that they decode closer to `waveform` `[C, N]`.

    An encoder predicts latents that are good on average; for a single sound there are better ones near by
    (Kim et al., 2018). The loss is the log-spectral plus the multi-resolution STFT distance of the decoded
    waveform, which `VAE.sound` makes with `noise`. Each channel is refined independently.
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
