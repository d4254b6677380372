"""The term: what the discriminators think of the prediction, and how they are trained to think it."""

import math

import torch
from torch import Tensor, nn

from distill import LossInputs
from distill.views import Stft
from distill_adversarial import AdversarialConfig
from distill_adversarial.discriminator import StftDiscriminator

_SILENCE = 1e-3


class AdversarialTerm(nn.Module):
    """Discriminators tell predictions from targets; predictions are to pass, with features that match.

    Hinge loss (Lim & Ye, 2017), and feature matching relative to the size of the target's features
    (Defossez et al., 2022). Either is the mean over discriminators, layers and examples.
    """

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        self.config = config
        self.views = [Stft(n_fft=n_fft, hop=n_fft // 4) for n_fft in config.fft_sizes]
        self.discriminators = nn.ModuleList(StftDiscriminator(config.channels) for _ in self.views)

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Give the parts `hinge`, low where the prediction passes, and `features`, low where it is alike."""
        hinge, features = [], []
        for discriminator, (prediction, target) in self._heard(inputs):
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
        """Give what they lower, parts `target` and `prediction`: either is high where it is mistaken."""
        on_target, on_prediction = [], []
        for discriminator, (prediction, target) in self._heard(inputs):
            on_target.append((1 - discriminator(target)[0]).relu().mean())
            on_prediction.append((1 + discriminator(prediction)[0]).relu().mean())
        return {"target": torch.stack(on_target).mean(), "prediction": torch.stack(on_prediction).mean()}

    def _heard(self, inputs: LossInputs) -> list[tuple[nn.Module, tuple[Tensor, Tensor]]]:
        heard = inputs.first(math.ceil(self.config.share * inputs.batch_size))
        return [(each, heard.view(view)) for each, view in zip(self.discriminators, self.views, strict=True)]


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Give the L1 distance of features `[B, C, F, T]`, as a share of the target's, the mean over examples."""
    dimensions = (1, 2, 3)
    size = target.abs().mean(dimensions).clamp(min=_SILENCE)
    return ((prediction - target).abs().mean(dimensions) / size).mean()
