"""The mel spectrogram as a view that any term can use.

Shapes: `B` batch, `M` mel bands, `T` frames, `F` bins.
"""

from functools import lru_cache

import torch
from attrs import field, frozen, validators
from torch import Tensor
from torch.nn import functional as F

from distill.errors import TermError
from distill.views import Signal, StftMagnitude, View
from distill_mel import filterbank


@frozen(kw_only=True)
class MelSpectrogram(View):
    """The STFT magnitudes of the waveform in mel bands: `[B, M, N // hop + 1]`, positive.

    It is computed from the view `StftMagnitude`, which is shared with other terms. The bands reach from
    `f_min` to `f_max` Hz, by default to half the sample rate.
    """

    n_mels: int = field(validator=validators.ge(1), metadata={"help": "mel bands"})
    n_fft: int = field(validator=validators.ge(2), metadata={"help": "samples in a Fourier transform"})
    hop: int = field(validator=validators.ge(1), metadata={"help": "samples between frames"})
    f_min: float = field(
        default=0.0, validator=validators.ge(0), metadata={"help": "Hz where the lowest band begins"}
    )
    f_max: float | None = field(
        default=None, metadata={"help": "Hz where the highest band ends; unset: half the sample rate"}
    )

    def compute(self, signal: Signal) -> Tensor:
        """Return the weighted sums of the bins.

        Raises:
            TermError: A filter is empty at the signal's sample rate, or `f_max` lies above half of it.
        """
        magnitude = signal.view(StftMagnitude(n_fft=self.n_fft, hop=self.hop))
        weights = _filterbank(self, signal.representation.sample_rate, magnitude.device)
        return F.linear(magnitude.mT, weights.to(magnitude.dtype)).mT

    def empty_filters(self, sample_rate: int) -> int:
        """Return the number of bands without a bin.

        Raises:
            TermError: `f_max` lies above half the sample rate.
        """
        return filterbank.empty_filters(*self._arguments(sample_rate))

    def most_filters(self, sample_rate: int) -> int:
        """Return the largest number of bands up to `n_mels` without an empty one; 0 if there is none."""
        return filterbank.most_filters(*self._arguments(sample_rate))

    def filterbank(self, sample_rate: int) -> Tensor:
        """Return the weights of the bins in the bands: `[M, F]`, in 1 / Hz.

        Raises:
            TermError: A filter is empty, or `f_max` lies above half the sample rate.
        """
        empty = self.empty_filters(sample_rate)
        if empty:
            raise TermError(
                f"{empty} of {self.n_mels} mel filters would be empty at {sample_rate} Hz: "
                f"an STFT of {self.n_fft} samples has no bin in them",
                culprit=repr(self),
                remedy=f"Take at most {self.most_filters(sample_rate)} of them, or a longer window.",
            )
        return filterbank.mel_filterbank(*self._arguments(sample_rate))

    def _arguments(self, sample_rate: int) -> tuple[int, int, int, float, float]:
        f_max = sample_rate / 2 if self.f_max is None else self.f_max
        if f_max > sample_rate / 2:
            raise TermError(
                f"f_max is {f_max:g} Hz, above half the sample rate of {sample_rate} Hz",
                culprit=repr(self),
                remedy="Lower it, or leave it out.",
            )
        return self.n_mels, self.n_fft, sample_rate, self.f_min, f_max


@lru_cache(maxsize=64)
def _filterbank(view: MelSpectrogram, sample_rate: int, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return view.filterbank(sample_rate).to(device)
