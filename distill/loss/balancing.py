"""`gradient`: weights are shares of the gradient at the decoder's output (Defossez et al., 2022)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.plugin.builtin_balancers import GradientBalancerConfig

_EPSILON = 1e-12


class GradientBalancer(nn.Module):
    """Balance the terms so that each contributes a share of the gradient proportional to its weight.

    EnCodec's balancer. A term's factor is its share, `weight / sum(weights)`, times the total norm, divided
    by the moving average of its own gradient norm. That norm is taken with respect to the outputs, per
    example, and averaged over examples. A term whose gradient does not reach the outputs, such as `kl`,
    keeps its weight. By default the total norm is that of fixed weights, so that this weight keeps its
    meaning.

    Processes of a group average their norms, so that all have the factors of a single process.
    """

    def __init__(self, config: GradientBalancerConfig, terms: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.places = {name: place for place, name in enumerate(terms)}
        self.register_buffer("sums", torch.zeros(len(terms)))
        self.register_buffer("counts", torch.zeros(len(terms)))
        self.sums: Tensor
        self.counts: Tensor

    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], outputs: tuple[Tensor, ...]
    ) -> dict[str, Tensor]:
        """Return the factor of each loss whose gradient reaches the outputs."""
        norms = {}
        for name, loss in losses.items():
            norm = _norm(loss, outputs)
            if norm is not None:
                norms[name] = norm
        if not norms:
            return {}
        averages = self._average(norms)
        # Weights stay Python numbers: copying a tensor of them to a device would synchronize.
        total: float | Tensor | None = self.config.total_norm
        if total is None:
            total = torch.stack([weights[name] * average for name, average in averages.items()]).sum()
        whole = sum(weights[name] for name in averages)
        return {
            name: weights[name] / whole * total / (average + _EPSILON) for name, average in averages.items()
        }

    def _average(self, norms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Update and return the moving averages of these terms, each corrected for its number of steps."""
        now = _mean_over_processes(torch.stack([*norms.values()]))
        averages = {}
        for name, norm in zip(norms, now.unbind(), strict=True):
            place = self.places[name]
            self.sums[place].mul_(self.config.decay).add_(norm)
            self.counts[place].mul_(self.config.decay).add_(1)
            averages[name] = self.sums[place] / self.counts[place]
        return averages


def _norm(loss: Tensor, outputs: tuple[Tensor, ...]) -> Tensor | None:
    """Return the norm of the loss's gradient, averaged over examples; None if there is no gradient."""
    if not loss.requires_grad:
        return None
    gradients = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    squares = [gradient.flatten(1).square().sum(1) for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum(0).sqrt().mean() if squares else None


def _mean_over_processes(norms: Tensor) -> Tensor:
    """Return the norms that a single process would compute from the examples of all processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(norms)
        # One factor for the mean. One since a mean over fewer examples has larger gradients per example.
        norms /= torch.distributed.get_world_size() ** 2
    return norms
