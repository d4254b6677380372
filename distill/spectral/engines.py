"""The engines of the multi-resolution STFT loss: the choice of one, and the one made of auraloss's modules.

Shapes: `B` batch, `N` samples.
"""

from typing import Literal, Protocol

import torch
from auraloss.freq import STFTLoss
from torch import Tensor, nn

from distill.errors import ConfigError
from distill.spectral import plain


class Resolutions(Protocol):
    """The options of a multi-resolution STFT loss that an engine needs."""

    @property
    def resolutions(self) -> tuple[tuple[int, int, int], ...]:
        """The `(FFT size, hop, window)` of each resolution."""

    @property
    def per_example(self) -> bool:
        """Whether the norms of the spectral convergence are taken per example."""

    @property
    def engine(self) -> Literal["auto", "fast", "auraloss"]:
        """The chosen engine."""


class AuralossDistance(nn.Module):
    """The multi-resolution STFT loss of auraloss on `[B, N]` waveforms, computed by its `STFTLoss`.

    Waveforms too short for auraloss are padded with zeros. Half precision is computed in float32.
    """

    def __init__(self, config: Resolutions) -> None:
        super().__init__()
        self.per_example = config.per_example
        self.losses = nn.ModuleList(STFTLoss(*resolution) for resolution in config.resolutions)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over the resolutions, a scalar."""
        sides = plain.at_least_float32(prediction), plain.at_least_float32(target)
        return torch.stack([self._distance(loss, *sides) for loss in self.losses]).mean()

    def _distance(self, loss: STFTLoss, prediction: Tensor, target: Tensor) -> Tensor:
        sides = (plain.padded(side, loss.fft_size // 2)[:, None] for side in (prediction, target))
        if not self.per_example:
            return loss(*sides)
        examples = zip(*(side.split(1) for side in sides), strict=True)
        return torch.stack([loss(*example) for example in examples]).mean()


def auraloss_distance(config: Resolutions) -> AuralossDistance | None:
    """Return the module of the engine `auraloss` if the config chooses it, else None."""
    return AuralossDistance(config) if config.engine == "auraloss" else None


def require_engine(config: Resolutions, *tensors: Tensor) -> None:
    """Require that the chosen engine can compute a loss of these tensors.

    Raises:
        ConfigError: The engine is `fast`, and the code is compiled, exported or transformed.
    """
    if config.engine == "fast" and plain.is_needed(*tensors):
        raise ConfigError(
            "the engine 'fast' cannot be compiled, exported or transformed by torch.func",
            culprit="engine",
            remedy="Set it to 'auto', which takes plain torch operations there, or to 'auraloss'.",
        )
