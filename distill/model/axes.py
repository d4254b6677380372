"""Reduction of the code to its principal axes over a corpus.

Shapes: `B` batch, `C` numbers of the full code, `K` numbers of the reduced code, `T'` latent frames.
"""

import torch
from attrs import frozen
from torch import Tensor, nn

from distill.spectral.plain import at_least_float32

_INITIAL_LOGVAR = -4.0
_LEAST_SPREAD = 1e-2
_LEAST_IMPORTANCE = 1e-3


@frozen(eq=False)
class CodeStatistics:
    """The mean `[C]` and the covariance `[C, C]` of codes, in float64 on the CPU."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, codes: Tensor) -> "CodeStatistics":
        """Return the statistics of codes `[N, C]`."""
        codes = codes.double().cpu()
        mean = codes.mean(0)
        centred = codes - mean
        return cls(mean=mean, covariance=centred.T @ centred / len(codes))

    def mixed(self, other: "CodeStatistics") -> "CodeStatistics":
        """Return the statistics of codes half of which are of the `other` distribution."""
        apart = (self.mean - other.mean) / 2
        return CodeStatistics(
            mean=(self.mean + other.mean) / 2,
            covariance=(self.covariance + other.covariance) / 2 + torch.outer(apart, apart),
        )


class PrincipalAxes(nn.Module):
    """Two linear layers that reduce a code and restore it, initialized to the principal axes of a corpus.

    Caillon and Esling (RAVE, 2021) reduce a latent space this way after training. Here both layers are
    trained further.
    """

    begun: Tensor

    def __init__(self, size: int, kept: int) -> None:
        super().__init__()
        self.inwards, self.outwards = nn.Linear(size, kept), nn.Linear(kept, size)
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self.logvar = nn.Parameter(torch.full((kept, 1), _INITIAL_LOGVAR))
        with torch.no_grad():
            nn.init.orthogonal_(self.inwards.weight)
            self.outwards.weight.copy_(self.inwards.weight.T)
            self.inwards.bias.zero_()
            self.outwards.bias.zero_()

    def encode(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's `mu` and `logvar`, `[B, K, T']`, of a code `[B, C, T']`."""
        mu = at_least_float32(self.inwards(code.mT)).mT
        return mu, self.logvar.clamp(-8, 8).expand_as(mu)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the code `[B, C, T']` of latents `[B, K, T']`."""
        return at_least_float32(self.outwards(latents.mT)).mT

    @torch.no_grad()
    def begin_with(self, statistics: CodeStatistics, importance: Tensor) -> None:
        """Set the layers to the principal axes of codes (Hotelling, 1933), scaled to unit variance.

        `importance` `[C]` weights the numbers of the code: the axes minimize the weighted mean squared error
        of the restored code.
        """
        self.begun.fill_(True)
        mean = statistics.mean
        weight = (importance / importance.square().mean().sqrt()).double().cpu().clamp(min=_LEAST_IMPORTANCE)
        variances, directions = torch.linalg.eigh(statistics.covariance * torch.outer(weight, weight))
        kept = self.inwards.out_features
        spread = variances.flip(0)[:kept].clamp(min=0).sqrt().clamp(min=_LEAST_SPREAD)
        directions = directions.flip(1)[:, :kept]
        inwards = (directions / spread).T * weight
        self.inwards.weight.copy_(inwards)
        self.inwards.bias.copy_(-inwards @ mean)
        self.outwards.weight.copy_(directions * spread / weight[:, None])
        self.outwards.bias.copy_(mean)
