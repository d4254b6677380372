"""Views of a sound as the ear weights it, or of two channels as their sum and difference.

Any term may look at them. Shapes: `B` batch, `N` samples, `T` blocks.
"""

import math
from abc import abstractmethod

import torch
from attrs import field, frozen, validators
from torch import Tensor
from torch.nn import functional as F

from distill import Signal
from distill.errors import ShapeError
from distill.views import View, Waveform
from distill_perceptual.weighting import a_response, k_response, weighted

_OFFSET = -0.691
"""What BS.1770 adds, so that a full-scale sine of 997 Hz has -3.01 LKFS."""


@frozen
class Changed(View):
    """A view of the sound that another waveform is: `AWeighted(StftMagnitude(n_fft=512, hop=128))`.

    By default it is that waveform, `[B, N]`, which all views of it share.
    """

    view: View = field(factory=Waveform)

    @abstractmethod
    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Make the other waveform, of the same shape `[B, N]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Change the waveform, and look at what that is."""
        if self.view == Waveform():
            return self.change(signal.view(Waveform()), signal.representation.sample_rate)
        changed = Signal.from_waveform(signal.view(type(self)()), signal.representation)
        return changed.view(self.view)


@frozen
class AWeighted(Changed):
    """A view of the A-weighted sound (IEC 61672-1:2013): as the ear hears quiet sounds."""

    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Weight the waveform, in zero phase."""
        return weighted(waveform, sample_rate, a_response)


@frozen
class KWeighted(Changed):
    """A view of the K-weighted sound (ITU-R BS.1770-5): what loudness is measured of."""

    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Weight the waveform, in zero phase."""
        return weighted(waveform, sample_rate, k_response)


@frozen
class SumDifference(Changed):
    """A view of the sum of two channels, in row 2i, and of their difference, in row 2i + 1.

    The left channel is that of row 2i, the right one that of row 2i + 1 (Steinmetz et al., 2021).
    """

    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:  # noqa: ARG002  # as all changes have it
        """Add and subtract neighbouring rows.

        Raises:
            ShapeError: there is a row without a neighbour.
        """
        if len(waveform) % 2:
            raise ShapeError(
                "stereo sounds have their left channel in row 2i and their right one in row 2i + 1: "
                f"got {len(waveform)} rows",
                culprit="SumDifference",
                remedy="Give both channels of each sound, or an even training.batch_size.",
            )
        left, right = waveform[0::2], waveform[1::2]
        return torch.stack([left + right, left - right], dim=1).flatten(0, 1)


@frozen(kw_only=True)
class Loudness(View):
    """The loudness of each block of a mono sound, in LKFS: `[B, T]`, T = ceil((N - block) / hop) + 1.

    That of ITU-R BS.1770-5 for one channel, less its gates: the K-weighted power. `floor` is the
    loudness of the noise that is laid under the sound. The last block ends in silence if there are too
    few samples; a shorter clip is one block.
    """

    block_ms: float = field(default=400.0, validator=validators.gt(0))
    hop_ms: float = field(default=100.0, validator=validators.gt(0))
    floor: float = -70.0

    def compute(self, signal: Signal) -> Tensor:
        """Average the power of each block, and take its logarithm."""
        rate = signal.representation.sample_rate
        block, hop = (max(1, round(ms * rate / 1000)) for ms in (self.block_ms, self.hop_ms))
        power = signal.view(KWeighted()).square()
        blocks = max(0, math.ceil((power.shape[-1] - block) / hop)) + 1
        padded = F.pad(power, (0, (blocks - 1) * hop + block - power.shape[-1]))
        mean = F.avg_pool1d(padded[:, None], block, hop)[:, 0]
        return _OFFSET + 10 * (mean + 10 ** ((self.floor - _OFFSET) / 10)).log10()
