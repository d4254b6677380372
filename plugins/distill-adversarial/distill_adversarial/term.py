"""The term: adversarial and feature-matching loss, and the objective of the discriminators."""

import math

import torch
from torch import Tensor, nn

from distill import LossInputs
from distill.views import Stft
from distill_adversarial import AdversarialConfig
from distill_adversarial.discriminator import StftDiscriminator

_SILENCE = 1e-3


class AdversarialTerm(nn.Module):
    """Compare predictions and targets by discriminators that are trained to distinguish them.

    The parts are the hinge loss (Lim & Ye, 2017) and feature matching relative to the size of the target's
    features (Defossez et al., 2022), each averaged over discriminators, layers and examples.
    """

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        self.config = config
        self.views = [Stft(n_fft=n_fft, hop=n_fft // 4) for n_fft in config.fft_sizes]
        self.discriminators = nn.ModuleList(StftDiscriminator(config.channels) for _ in self.views)

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Return the parts `hinge`, the adversarial loss, and `features`, the distance of the features."""
        hinge, features = [], []
        for discriminator, (prediction, target) in self._spectra(inputs):
            verdict, of_prediction = discriminator(prediction)
            with torch.no_grad():
                _, of_target = discriminator(target)
            hinge.append((1 - verdict).relu().mean())
            features += map(_distance, of_prediction, of_target)
        return {
            "hinge": self.config.hinge_weight * torch.stack(hinge).mean(),
            "features": self.config.feature_weight * torch.stack(features).mean(),
        }

    def objective(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Return the hinge loss of the discriminators on targets and on predictions, as two parts."""
        on_target, on_prediction = [], []
        for discriminator, (prediction, target) in self._spectra(inputs):
            on_target.append((1 - discriminator(target)[0]).relu().mean())
            on_prediction.append((1 + discriminator(prediction)[0]).relu().mean())
        return {"target": torch.stack(on_target).mean(), "prediction": torch.stack(on_prediction).mean()}

    def _spectra(self, inputs: LossInputs) -> list[tuple[nn.Module, tuple[Tensor, Tensor]]]:
        inputs = inputs.first(math.ceil(self.config.share * inputs.batch_size))
        # `zip(..., strict=True)` cannot be compiled before torch 2.9.
        return [(self.discriminators[index], inputs.view(view)) for index, view in enumerate(self.views)]


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the L1 distance of features `[B, C, F, T]` by the target's mean size, averaged over examples."""
    dimensions = (1, 2, 3)
    size = target.abs().mean(dimensions).clamp(min=_SILENCE)
    return ((prediction - target).abs().mean(dimensions) / size).mean()
