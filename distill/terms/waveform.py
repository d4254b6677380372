"""`waveform`: the multi-resolution STFT loss between the waveforms."""

import math

from torch import Tensor, nn

from distill import functional
from distill.terms.configs import WaveformConfig
from distill.views import LossInputs, StftMagnitude


class WaveformTerm(nn.Module):
    """Compare the waveforms, a predicted one through the differentiable inverse, at several resolutions."""

    def __init__(self, config: WaveformConfig) -> None:
        super().__init__()
        self.config = config
        self.views = [StftMagnitude(n_fft=n, hop=h, win_length=w) for n, h, w in config.resolutions]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss."""
        heard = inputs.first(math.ceil(self.config.share * inputs.batch_size))
        magnitudes = (heard.view(view) for view in self.views)
        return functional.multi_resolution_distance(magnitudes, per_example=self.config.per_example)
