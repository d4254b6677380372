"""The formulas of the terms, as pure functions of the posterior.

Shapes: `B` batch, `D` latent size, `N` latent vectors: those of all examples and, with a time axis, of all
latent frames. `mu` and `logvar` are `[B, D]` or `[B, D, T']`.
"""

import torch
from torch import Tensor

from distill.functional import kl_divergence, kl_per_dimension


def vectors(posterior: Tensor) -> Tensor:
    """Return the latent vectors of all examples and latent frames: `[N, D]`."""
    return posterior.movedim(1, -1).flatten(0, -2)


def kl_beyond(mu: Tensor, logvar: Tensor, capacity: float) -> Tensor:
    """Return the absolute difference of the KL divergence and a capacity in nats (Burgess et al., 2018).

    The divergence is averaged over latent vectors. Below the capacity the gradient increases it, above the
    capacity it decreases it.
    """
    return (kl_divergence(mu, logvar) - capacity).abs()


def kl_with_batch_free_bits(mu: Tensor, logvar: Tensor, free_bits: float) -> Tensor:
    """Return the KL divergence summed over D, where each dimension's mean counts at least `free_bits` nats.

    The means are taken over all latent vectors, as in Kingma et al. (2016): a dimension may be inactive in
    one example and active in another. The free bits of `distill.functional` apply to each element.
    """
    return vectors(kl_per_dimension(mu, logvar)).mean(0).clamp(min=free_bits).sum()


def squared_mmd(mu: Tensor, logvar: Tensor, bandwidth: float) -> Tensor:
    """Return the squared maximum mean discrepancy between the mixture of all posteriors and `N(0, I)`: 0..2.

    The kernel is `exp(-|x - y|^2 / (2 s^2))` with `s = bandwidth * sqrt(D)`. Its mean over two Gaussians is a
    Gaussian integral, so that the value is exact, without sampling. Zhao et al. (InfoVAE, 2019) and Gretton
    et al. (2012) estimate it from samples. It takes memory for N * N * D numbers.
    """
    means, variances = vectors(mu), vectors(logvar).exp()
    width = bandwidth**2 * means.shape[-1]
    within = _mean_kernel(means[:, None] - means, variances[:, None] + variances, width)
    across = _mean_kernel(means, variances + 1, width)
    prior = _mean_kernel(torch.zeros_like(means[:1]), torch.full_like(means[:1], 2.0), width)
    return within.mean() - 2 * across.mean() + prior.mean()


def _mean_kernel(difference: Tensor, variance: Tensor, width: float) -> Tensor:
    """Return the mean of the kernel over two independent normal vectors.

    `difference` `[..., D]` is that of their means, `variance` the sum of their variances, and `width` the
    `s^2` of the kernel.
    """
    # The product over D is computed in logarithms, since it may underflow.
    exponent = difference.square() / (width + variance) + (variance / width).log1p()
    return (-0.5 * exponent.sum(-1)).exp()


def active_units(mu: Tensor, threshold: float) -> Tensor:
    """Return the number of dimensions whose mean has a variance above `threshold` (Burda et al., 2016)."""
    active = vectors(mu).var(0, correction=0) > threshold
    return active.to(mu.dtype).sum()
