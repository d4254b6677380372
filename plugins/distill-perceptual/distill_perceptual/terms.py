"""The terms: distances of the views.

Shapes: `B` batch, `F` bins, `T` frames or blocks.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from distill import LossInputs, functional
from distill.views import StftMagnitude, View
from distill_perceptual.configs import LoudnessConfig, SumDifferenceConfig, WeightedStftConfig
from distill_perceptual.views import AWeighted, KWeighted, Loudness, SumDifference


class WeightedStftTerm(nn.Module):
    """Compare the STFT magnitudes of the weighted waveforms at several resolutions."""

    def __init__(self, config: WeightedStftConfig) -> None:
        super().__init__()
        self.config = config
        self.views = [_weighted(config.weighting, view) for view in _magnitudes(config.resolutions)]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        magnitudes = (inputs.view(view) for view in self.views)
        return functional.multi_resolution_distance(magnitudes, per_example=self.config.per_example)


class SumDifferenceTerm(nn.Module):
    """Compare the STFT magnitudes of the sum and the difference of two channels at several resolutions.

    The spectral convergence has one norm for both. If the channels are equal, their difference is silent, and
    a separate norm would make the smallest error there a distance of thousands.
    """

    def __init__(self, config: SumDifferenceConfig) -> None:
        super().__init__()
        self.config = config
        self.views = [
            _weighted(config.weighting, SumDifference(view)) for view in _magnitudes(config.resolutions)
        ]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss.

        Raises:
            ShapeError: The number of rows is odd.
        """
        sounds = (tuple(_both(side) for side in inputs.view(view)) for view in self.views)
        return functional.multi_resolution_distance(sounds, per_example=self.config.per_example)


class LoudnessTerm(nn.Module):
    """Compute the mean absolute difference of the loudness of blocks, in LU."""

    def __init__(self, config: LoudnessConfig) -> None:
        super().__init__()
        self.view = Loudness(block_ms=config.block_ms, hop_ms=config.hop_ms, floor=config.floor)

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss.

        Raises:
            ShapeError: Prediction and target differ in length.
        """
        inputs.view(KWeighted())  # raises if lengths differ, even with equal numbers of blocks
        return F.l1_loss(*inputs.view(self.view))


def _magnitudes(resolutions: tuple[tuple[int, int, int], ...]) -> list[StftMagnitude]:
    return [StftMagnitude(n_fft=n, hop=hop, win_length=window) for n, hop, window in resolutions]


def _weighted(weighting: str, view: View) -> View:
    weightings = {"A": AWeighted, "K": KWeighted}
    return weightings[weighting](view) if weighting in weightings else view


def _both(magnitudes: Tensor) -> Tensor:
    """Return the sum and difference of each signal concatenated: `[B, F, T]` to `[B / 2, 2 * F, T]`."""
    return magnitudes.unflatten(0, (-1, 2)).flatten(1, 2)
