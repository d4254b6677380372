"""Views of a frequency-weighted signal, or of the sum and difference of two channels.

Any term can use them. Shapes: `B` batch, `N` samples, `T` blocks.
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
"""The constant of BS.1770, by which a full-scale sine of 997 Hz has -3.01 LKFS."""


@frozen
class Changed(View):
    """A view of a changed waveform, such as `AWeighted(StftMagnitude(n_fft=512, hop=128))`.

    By default the view is the changed waveform itself, `[B, N]`, which all views of it share.
    """

    view: View = field(factory=Waveform)

    @abstractmethod
    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Return the changed waveform, of the same shape `[B, N]`."""

    def compute(self, signal: Signal) -> Tensor:
        """Return the view of the changed waveform."""
        if self.view == Waveform():
            return self.change(signal.view(Waveform()), signal.representation.sample_rate)
        changed = Signal.from_waveform(signal.view(type(self)()), signal.representation)
        return changed.view(self.view)


@frozen
class AWeighted(Changed):
    """A view of the A-weighted waveform (IEC 61672-1:2013), the sensitivity of hearing to quiet sounds."""

    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Return the weighted waveform, in zero phase."""
        return weighted(waveform, sample_rate, a_response)


@frozen
class KWeighted(Changed):
    """A view of the K-weighted waveform (ITU-R BS.1770-5), from which loudness is measured."""

    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Return the weighted waveform, in zero phase."""
        return weighted(waveform, sample_rate, k_response)


@frozen
class SumDifference(Changed):
    """A view of the sum of two channels, in row 2i, and of their difference, in row 2i + 1.

    Row 2i is the left channel, row 2i + 1 the right channel (Steinmetz et al., 2021).
    """

    def change(self, waveform: Tensor, sample_rate: int) -> Tensor:  # noqa: ARG002  # as all changes have it
        """Return the sums and differences of neighbouring rows.

        Raises:
            ShapeError: The number of rows is odd.
        """
        if len(waveform) % 2:
            raise ShapeError(
                "stereo sounds have their left channel in row 2i and their right one in row 2i + 1: "
                f"got {len(waveform)} rows",
                culprit="SumDifference",
                remedy="Pass both channels of each sound, or an even training.batch_size.",
            )
        left, right = waveform[0::2], waveform[1::2]
        return torch.stack([left + right, left - right], dim=1).flatten(0, 1)


@frozen(kw_only=True)
class Loudness(View):
    """The loudness of each block of a mono signal in LKFS: `[B, T]`, T = ceil((N - block) / hop) + 1.

    The loudness of ITU-R BS.1770-5 for one channel, without gating: the K-weighted power. `floor` is the
    loudness of a noise that is added to the signal. The last block is padded with silence; a clip shorter
    than a block is one block.
    """

    block_ms: float = field(default=400.0, validator=[validators.ge(1), validators.le(60_000)])
    hop_ms: float = field(default=100.0, validator=[validators.ge(1), validators.le(60_000)])
    floor: float = -70.0

    def compute(self, signal: Signal) -> Tensor:
        """Return the logarithm of the mean power of each block."""
        rate = signal.representation.sample_rate
        block, hop = (max(1, round(ms * rate / 1000)) for ms in (self.block_ms, self.hop_ms))
        power = signal.view(KWeighted()).square()
        blocks = max(0, math.ceil((power.shape[-1] - block) / hop)) + 1
        padded = F.pad(power, (0, (blocks - 1) * hop + block - power.shape[-1]))
        mean = F.avg_pool1d(padded[:, None], block, hop)[:, 0]
        return _OFFSET + 10 * (mean + 10 ** ((self.floor - _OFFSET) / 10)).log10()
