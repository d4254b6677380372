"""`gradient`: weights are shares of the gradient at the decoder's output (Defossez et al., 2022)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.plugin.builtin_balancers import GradientBalancerConfig

_EPSILON = 1e-12


class GradientBalancer(nn.Module):
    """Give each term the share of the gradient that its weight is of all weights.

    EnCodec's balancer: a term's factor is its share, times the norm that is shared out, divided by the
    moving average of the norm of its own gradient with respect to the outputs, the mean over examples.
    A term that does not reach the outputs, as `kl`, keeps its weight; so that this goes on meaning
    what it means beside fixed weights, the norm shared out is by default the one that they would give.

    Processes of a group average their norms, and so have one process's factors.
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
        """Give the factor of each loss that reaches the outputs."""
        norms = {}
        for name, loss in losses.items():
            norm = _norm(loss, outputs)
            if norm is not None:
                norms[name] = norm
        if not norms:
            return {}
        averages = self._average(norms)
        # Weights stay numbers of the host: to copy a tensor of them to a device, the host waits for it.
        total: float | Tensor | None = self.config.total_norm
        if total is None:
            total = torch.stack([weights[name] * average for name, average in averages.items()]).sum()
        whole = sum(weights[name] for name in averages)
        return {
            name: weights[name] / whole * total / (average + _EPSILON) for name, average in averages.items()
        }

    def _average(self, norms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Update the moving averages of these terms, and give them, each by the steps it has seen."""
        now = _mean_over_processes(torch.stack([*norms.values()]))
        averages = {}
        for name, norm in zip(norms, now.unbind(), strict=True):
            place = self.places[name]
            self.sums[place].mul_(self.config.decay).add_(norm)
            self.counts[place].mul_(self.config.decay).add_(1)
            averages[name] = self.sums[place] / self.counts[place]
        return averages


def _norm(loss: Tensor, outputs: tuple[Tensor, ...]) -> Tensor | None:
    """Give the mean over examples of the norm of the loss's gradient; None where it has none."""
    if not loss.requires_grad:
        return None
    gradients = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    squares = [gradient.flatten(1).square().sum(1) for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum(0).sqrt().mean() if squares else None


def _mean_over_processes(norms: Tensor) -> Tensor:
    """Give the norms that one process would have with the examples of all."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(norms)
        # Once for the mean, once since a loss over fewer examples has as much larger a gradient at each.
        norms /= torch.distributed.get_world_size() ** 2
    return norms
