"""Reduction of the code to its principal axes over a corpus.

Shapes: `B` batch, `C` numbers in a frame of the full code, `S` frames, `J` frames that are reduced together,
`K` numbers of the reduced code for these, `T'` = S / J latent frames, `L` lags.
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
    """The mean `[C]` of codes, and the covariances `[L, C, C]` of frames 0 to L - 1 apart.

    `covariance[lag, i, j]` is that of number i of a frame and number j of the frame `lag` later. Both tensors
    are float64, on the CPU.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, codes: Tensor, heard: Tensor, lags: int = 1) -> "CodeStatistics":
        """Return the statistics of codes `[B, S, C]` in those frames that are `heard`, `[B, S]`.

        In the covariances, the other frames count as the mean. Each is the sum over pairs of frames divided
        by the number of frames that are heard. There are at most S lags.
        """
        codes, heard = codes.double().cpu(), heard.cpu()
        mean = codes[heard].mean(0)
        centred = (codes - mean) * heard[..., None]
        frames = codes.shape[1]
        pairs = ((centred[:, : frames - lag], centred[:, lag:]) for lag in range(min(lags, frames)))
        covariance = [torch.einsum("bsi,bsj->ij", *pair) for pair in pairs]
        return cls(mean=mean, covariance=torch.stack(covariance) / heard.sum())

    def joint(self, frames: int) -> Tensor:
        """Return the covariance `[J * C, J * C]` of J = `frames` frames in a row; 0 beyond the known lags."""
        size = len(self.mean)
        whole = self.covariance.new_zeros(frames, size, frames, size)
        for first in range(frames):
            for lag, covariance in enumerate(self.covariance[: frames - first]):
                whole[first, :, first + lag] = covariance
                whole[first + lag, :, first] = covariance.T
        return whole.flatten(2).flatten(0, 1)

    def mixed(self, other: "CodeStatistics") -> "CodeStatistics":
        """Return the statistics of codes half of which are of the `other` distribution.

        Lags are those that both have.
        """
        apart = (self.mean - other.mean) / 2
        lags = min(len(self.covariance), len(other.covariance))
        return CodeStatistics(
            mean=(self.mean + other.mean) / 2,
            covariance=(self.covariance[:lags] + other.covariance[:lags]) / 2 + torch.outer(apart, apart),
        )


class PrincipalAxes(nn.Module):
    """Two linear layers that reduce every J frames of a code together and restore them.

    They are initialized to the principal axes of a corpus. Sounds change slowly, so that several frames need
    fewer numbers together than one by one. Caillon and Esling (RAVE, 2021) reduce a latent space to its axes
    after training. Here both layers are trained further.
    """

    begun: Tensor

    def __init__(self, size: int, kept: int, joint: int = 1) -> None:
        super().__init__()
        self.joint = joint
        self.inwards, self.outwards = nn.Linear(joint * size, kept), nn.Linear(kept, joint * size)
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self.logvar = nn.Parameter(torch.full((kept, 1), _INITIAL_LOGVAR))
        with torch.no_grad():
            nn.init.orthogonal_(self.inwards.weight)
            self.outwards.weight.copy_(self.inwards.weight.T)
            self.inwards.bias.zero_()
            self.outwards.bias.zero_()

    def encode(self, code: Tensor) -> Tensor:
        """Return the mean of the posterior `[B, K, T']` of a code `[B, C, S]`, S being a multiple of J."""
        together = code.mT.unflatten(1, (-1, self.joint)).flatten(2)
        return at_least_float32(self.inwards(together)).mT

    def logvar_of(self, mu: Tensor) -> Tensor:
        """Return the log-variance `[B, K, T']` of the posterior with the mean `mu`."""
        return self.logvar.clamp(-8, 8).expand_as(mu)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the code `[B, C, S]` of latents `[B, K, T']`."""
        together = at_least_float32(self.outwards(latents.mT))
        return together.unflatten(2, (self.joint, -1)).flatten(1, 2).mT

    @torch.no_grad()
    def begin_with(self, statistics: CodeStatistics, importance: Tensor) -> None:
        """Set the layers to the principal axes of codes (Hotelling, 1933), scaled to unit variance.

        `importance` `[C]` weights the numbers of the code: the axes minimize the weighted mean squared error
        of the restored code.
        """
        self.begun.fill_(True)
        mean = statistics.mean.repeat(self.joint)
        weight = (importance / importance.square().mean().sqrt()).double().cpu().clamp(min=_LEAST_IMPORTANCE)
        weight = weight.repeat(self.joint)
        covariance = statistics.joint(self.joint) * torch.outer(weight, weight)
        variances, directions = torch.linalg.eigh(covariance)
        kept = self.inwards.out_features
        spread = variances.flip(0)[:kept].clamp(min=0).sqrt().clamp(min=_LEAST_SPREAD)
        directions = directions.flip(1)[:, :kept]
        inwards = (directions / spread).T * weight
        self.inwards.weight.copy_(inwards)
        self.inwards.bias.copy_(-inwards @ mean)
        self.outwards.weight.copy_(directions * spread / weight[:, None])
        self.outwards.bias.copy_(mean)
