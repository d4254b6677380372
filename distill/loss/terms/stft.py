"""`stft`: the multi-resolution STFT loss on the flattened magnitude channel."""

from torch import Tensor, nn

from distill import functional
from distill.plugin.builtin_terms import StftConfig
from distill.spectral.engines import auraloss_distance, require_engine
from distill.views import FlatMagnitude, FlatMagnitudeStft, LossInputs


class StftTerm(nn.Module):
    """Compare the flattened log-magnitudes at several STFT resolutions.

    Each log-magnitude is flattened bin by bin to a signal. The IF is not compared, since it is a derivative.
    """

    def __init__(self, config: StftConfig) -> None:
        super().__init__()
        self.config = config
        self.auraloss = auraloss_distance(config)
        self.views = [FlatMagnitudeStft(n_fft=n, hop=h, win_length=w) for n, h, w in config.resolutions]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        if self.auraloss is not None:
            return self.auraloss(*inputs.view(FlatMagnitude()))
        require_engine(self.config, *inputs.prediction.sources, *inputs.target.sources)
        magnitudes = (inputs.view(view) for view in self.views)
        return functional.multi_resolution_distance(magnitudes, per_example=self.config.per_example)
