"""`mel`: the multi-scale log-mel distance."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill import LossInputs
from distill.errors import TermError
from distill_mel import MelConfig
from distill_mel.views import MelSpectrogram


class MelTerm(nn.Module):
    """Compute the mean absolute differences of log10 mel spectrograms, summed over scales.

    The value is that of descript-audiotools' `MelSpectrogramLoss` with the settings of DAC (Kumar et al.,
    2023: `pow` 1, `mag_weight` 0), which BigVGAN v2 uses, too.
    """

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.views = tuple(
            MelSpectrogram(
                n_mels=n_mels, n_fft=window, hop=window // 4, f_min=config.f_min, f_max=config.f_max
            )
            for n_mels, window in zip(config.n_mels, config.windows, strict=True)
        )
        self.checked_rate: int | None = None

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss.

        Raises:
            TermError: The filterbanks cannot be built for the sample rate of the representation.
        """
        self._check(inputs.target.representation.sample_rate)
        inputs = inputs.first(math.ceil(self.config.share * inputs.batch_size))
        return torch.stack([self._distance(inputs, view) for view in self.views]).sum()

    def _distance(self, inputs: LossInputs, view: MelSpectrogram) -> Tensor:
        prediction, target = (mel.clamp(min=self.config.floor).log10() for mel in inputs.view(view))
        return F.l1_loss(prediction, target)

    def _check(self, sample_rate: int) -> None:
        """Require that no filter of any scale is empty. The sample rate is known only with the inputs.

        Raises:
            TermError: A filter is empty, or `f_max` lies above half the sample rate.
        """
        if sample_rate == self.checked_rate:
            return
        empty = {view: count for view in self.views if (count := view.empty_filters(sample_rate))}
        if empty:
            found = ", ".join(f"{n} of {view.n_mels} with window {view.n_fft}" for view, n in empty.items())
            most = [view.most_filters(sample_rate) for view in self.views]
            raise TermError(
                f"mel filters would be empty at {sample_rate} Hz, without a bin of the STFT: {found}",
                culprit="loss.mel",
                remedy=f"Set loss.mel.n_mels={most}, the largest without empty filters"
                + (", and leave out 0 with its window." if 0 in most else "."),
            )
        self.checked_rate = sample_rate
