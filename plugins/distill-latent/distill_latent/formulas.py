"""The formulas of the terms, as pure functions of the posterior.

Shapes: `B` batch, `D` latent size, `N` latent vectors: those of all examples and, where there is time, of
all latent frames. `mu` and `logvar` are `[B, D]` or `[B, D, T']`.
"""

import torch
from torch import Tensor

from distill.functional import kl_divergence, kl_per_dimension


def vectors(posterior: Tensor) -> Tensor:
    """Put the latent vectors of all examples and frames below each other: `[N, D]`."""
    return posterior.movedim(1, -1).flatten(0, -2)


def kl_beyond(mu: Tensor, logvar: Tensor, capacity: float) -> Tensor:
    """Give how many nats the KL divergence is from a capacity (Burgess et al., 2018).

    The divergence is that of a latent vector, averaged over all of them. Below the capacity the
    gradient makes latents tell more, above it less.
    """
    return (kl_divergence(mu, logvar) - capacity).abs()


def kl_with_batch_free_bits(mu: Tensor, logvar: Tensor, free_bits: float) -> Tensor:
    """Sum the KL divergence over D, the mean of each dimension counting at least `free_bits` nats.

    As Kingma et al. (2016) have it: a dimension may be silent in one example without being
    charged for another, where free bits per element, those of `distill.functional`, pull at each by itself.
    """
    return vectors(kl_per_dimension(mu, logvar)).mean(0).clamp(min=free_bits).sum()


def squared_mmd(mu: Tensor, logvar: Tensor, bandwidth: float) -> Tensor:
    """Give the squared maximum mean discrepancy between the mixture of all posteriors and `N(0, I)`: 0..2.

    The kernel is `exp(-|x - y|^2 / (2 s^2))` with `s = bandwidth * sqrt(D)`. Its mean over two Gaussians
    is a Gaussian integral, so that nothing is drawn: of the mixture and the prior the value is exact,
    where Zhao et al. (InfoVAE, 2019) and Gretton et al. (2012) estimate it of samples. Takes memory
    for N * N * D numbers.
    """
    means, variances = vectors(mu), vectors(logvar).exp()
    width = bandwidth**2 * means.shape[-1]
    within = _mean_kernel(means[:, None] - means, variances[:, None] + variances, width)
    across = _mean_kernel(means, variances + 1, width)
    prior = _mean_kernel(torch.zeros_like(means[:1]), torch.full_like(means[:1], 2.0), width)
    return within.mean() - 2 * across.mean() + prior.mean()


def _mean_kernel(difference: Tensor, variance: Tensor, width: float) -> Tensor:
    """Give the mean of the kernel of two independent normal vectors, by their means' difference `[..., D]`.

    `variance` is the sum of theirs, `width` the kernel's `s^2`.
    """
    # A product over D in logarithms: with many dimensions it would be lost below the smallest number.
    exponent = difference.square() / (width + variance) + (variance / width).log1p()
    return (-0.5 * exponent.sum(-1)).exp()


def active_units(mu: Tensor, threshold: float) -> Tensor:
    """Count the dimensions whose mean has a variance above `threshold` (Burda et al., 2016)."""
    active = vectors(mu).var(0, correction=0) > threshold
    return active.to(mu.dtype).sum()
