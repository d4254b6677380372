"""`reconstruction`: the distance of both channels of the representation."""

from torch import Tensor, nn

from distill import functional
from distill.plugin.builtin_terms import ReconstructionConfig
from distill.views import InstantaneousFrequency, LogMagnitude, LossInputs, Magnitude


class ReconstructionTerm(nn.Module):
    """Compare the log-magnitudes, and the IFs weighted by the target's amplitude."""

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Return the two parts, `magnitude` and `instantaneous_frequency`."""
        magnitude = functional.magnitude_distance(*inputs.view(LogMagnitude()))
        amplitude = inputs.target.view(Magnitude())
        distance = functional.circular_frequency_distance(*inputs.view(InstantaneousFrequency()), amplitude)
        return {
            "magnitude": self.config.magnitude_weight * magnitude,
            "instantaneous_frequency": self.config.if_weight * distance,
        }
