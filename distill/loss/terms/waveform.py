"""`waveform`: the multi-resolution STFT loss between the waveforms."""

import math

import torch
from torch import Tensor

from distill.loss.last_terms import LastTerm, is_unshared
from distill.plugin.builtin_terms import WaveformConfig
from distill.spectral.distances import spectral_distance, stft_distance
from distill.spectral.engines import auraloss_distance, require_engine
from distill.views import LossInputs, StftMagnitude, Waveform


class WaveformTerm(LastTerm):
    """Compare the waveforms at several STFT resolutions.

    The waveform of a predicted spectrogram is computed by the differentiable inverse. Magnitudes that no
    other term uses are not kept, which is faster and takes less memory.
    """

    def __init__(self, config: WaveformConfig) -> None:
        super().__init__()
        self.config = config
        self.auraloss = auraloss_distance(config)
        self.views = [StftMagnitude(n_fft=n, hop=h, win_length=w) for n, h, w in config.resolutions]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        compared = inputs.first(math.ceil(self.config.share * inputs.batch_size))
        waveforms = compared.view(Waveform())
        if self.auraloss is not None:
            return self.auraloss(*waveforms)
        require_engine(self.config, *waveforms)
        return torch.stack([self._distance(compared, waveforms, view) for view in self.views]).mean()

    def _distance(self, inputs: LossInputs, waveforms: tuple[Tensor, Tensor], view: StftMagnitude) -> Tensor:
        per_example = self.config.per_example
        if is_unshared(inputs, view, view.stft):
            return stft_distance(*waveforms, view.resolution, per_example=per_example)
        return spectral_distance(*inputs.view(view), per_example=per_example)
