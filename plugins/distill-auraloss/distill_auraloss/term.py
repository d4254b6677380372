"""The terms: auraloss's own modules, called with what Distill's views hold.

Shapes: `B` batch, `N` samples, `F` bins, `T` frames.
"""

import warnings
from importlib import import_module
from typing import Any

import auraloss
import numpy as np
import torch
from torch import Tensor, nn

from distill import LossInputs
from distill.errors import ConfigError, ShapeError
from distill.views import StftMagnitude, Waveform
from distill_auraloss.options import AuralossConfig


class WaveformTerm(nn.Module):
    """Compare the waveforms by a loss class of auraloss, each row as a sound of one channel."""

    def __init__(self, config: AuralossConfig) -> None:
        super().__init__()
        self.config: Any = config
        # The sample rate is known when a sound is. Not submodules: nothing in them is learnt or to be kept,
        # and auraloss itself takes its windows and filters to where its inputs are.
        self._losses: dict[tuple[int, torch.dtype], nn.Module] = {}

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss.

        Raises:
            ShapeError: the clips are too short for auraloss.
            ConfigError: a mel filter is empty at this sample rate.
        """
        prediction, target = (self._channels(side) for side in inputs.view(Waveform()))
        return self._loss_at(inputs.target.representation.sample_rate, target.dtype)(prediction, target)

    def _channels(self, waveform: Tensor) -> Tensor:
        """Turn `[B, N]` into what auraloss compares, a channel per example: `[B, 1, N]`."""
        samples, too_few = waveform.shape[-1], self._too_few_samples()
        if samples <= too_few:
            raise ShapeError(
                f"auraloss needs clips of more than {too_few} samples at these FFT sizes: got {samples}",
                culprit=f"loss.{self.config.term}",
                remedy="Take smaller FFTs, or longer clips: training.clip_seconds.",
            )
        return waveform.contiguous()[:, None]

    def _too_few_samples(self) -> int:
        # Half an FFT, by which it reflects a clip at both ends.
        return max(self._fft_sizes(), default=0) // 2

    def _fft_sizes(self) -> tuple[int, ...]:
        size = getattr(self.config, "fft_size", None)
        return getattr(self.config, "fft_sizes", ()) if size is None else (size,)

    def _loss_at(self, sample_rate: int, dtype: torch.dtype) -> nn.Module:
        if (sample_rate, dtype) not in self._losses:
            self._losses[sample_rate, dtype] = self._build(sample_rate).to(dtype)
        return self._losses[sample_rate, dtype]

    def _build(self, sample_rate: int) -> nn.Module:
        loss = self.config.loss
        arguments = self.config.arguments()
        if "sample_rate" in loss.parameters:
            arguments["sample_rate"] = sample_rate
        # Windows and filters made where nothing is learnt must do where something is.
        with torch.inference_mode(mode=False), warnings.catch_warnings():
            warnings.filterwarnings("error", "Empty filters detected", UserWarning)
            try:
                return self._class()(**arguments)
            except UserWarning as warning:  # librosa's: the logarithm of what they let through is infinite
                raise self._empty_filters(sample_rate) from warning

    def _class(self) -> Any:  # noqa: ANN401  # a class of auraloss
        return getattr(import_module(self.config.loss.module), self.config.loss.name)

    def _empty_filters(self, sample_rate: int) -> ConfigError:
        option = "n_mels" if hasattr(self.config, "n_mels") else "n_bins"
        return ConfigError(
            f"some of {getattr(self.config, option)} mel filters are empty at an FFT size of "
            f"{min(self._fft_sizes())} and {sample_rate} Hz",
            culprit=f"loss.{self.config.term}.{option}",
            remedy="Take fewer, or a larger FFT.",
        )


class ChromaTerm(WaveformTerm):
    """Compare the waveforms by auraloss's chroma loss, which as it is cannot be built."""

    def _class(self) -> Any:  # noqa: ANN401  # as above
        return _ChromaSTFTLoss


class _ChromaSTFTLoss(auraloss.freq.ChromaSTFTLoss):
    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002  # torch's signature
        # auraloss 0.4.0 registers an array of numpy's, which torch refuses.
        super().register_buffer(name, torch.as_tensor(tensor), persistent)


class StereoTerm(WaveformTerm):
    """Compare sounds of two channels, left in row 2i and right in row 2i + 1, by a loss class of auraloss."""

    def _channels(self, waveform: Tensor) -> Tensor:
        """Turn `[B, N]` into `[B / 2, 2, N]`."""
        if len(waveform) % 2:
            raise ShapeError(
                f"stereo sounds have their left channel in row 2i and their right one in row 2i + 1: "
                f"got {len(waveform)} rows",
                culprit=f"loss.{self.config.term}",
                remedy="Give both channels of each sound, or an even training.batch_size.",
            )
        return super()._channels(waveform).unflatten(0, (-1, 2)).squeeze(2)


class MagnitudeTerm(WaveformTerm):
    """Compare STFT magnitudes of the waveforms by a loss class of auraloss."""

    def __init__(self, config: AuralossConfig) -> None:
        super().__init__(config)
        options = self.config
        self._view = StftMagnitude(
            n_fft=options.fft_size, hop=options.hop_size, win_length=options.win_length
        )

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss."""
        prediction, target = inputs.view(self._view)
        return self._loss_at(inputs.target.representation.sample_rate, target.dtype)(prediction, target)


class RandomTerm(WaveformTerm):
    """Compare the waveforms at resolutions drawn anew every few calls.

    They follow from the seed and the number of calls in training, which the state dict holds, so that
    a training goes on as if it had never stopped and all its processes draw alike. In `eval()` mode
    they are always those of the first call. numpy's own generator, which auraloss draws from, is left
    as it was. Of clips that are not longer than `max_fft_size` auraloss would raise; here that is
    lowered to the greatest power of two that they are longer than.
    """

    def __init__(self, config: AuralossConfig) -> None:
        super().__init__(config)
        self._calls = 0

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss."""
        generator = np.random.get_state()  # noqa: NPY002  # the one that auraloss draws from
        try:
            prediction, target = (self._channels(side) for side in inputs.view(Waveform()))
            loss = self._drawing(inputs.target.representation.sample_rate, target)
            result = loss(prediction, target)
        finally:
            np.random.set_state(generator)  # noqa: NPY002  # as above
        self._calls += self.training
        return result

    def _too_few_samples(self) -> int:
        return 2 * self.config.min_fft_size

    def _drawing(self, sample_rate: int, target: Tensor) -> nn.Module:
        """Return the loss, about to draw resolutions for clips as long as the target."""
        loss: Any = self._loss_at(sample_rate, target.dtype)
        samples = target.shape[-1]
        loss.max_fft_size = min(self.config.max_fft_size, 2 ** ((samples - 1).bit_length() - 1))
        loss.nforwards = 0  # so that it draws at each call, the same until another draw is due
        draw = self._calls // self.config.randomize_rate if self.training else 0
        np.random.seed((self.config.seed, draw))  # noqa: NPY002  # as above
        return loss

    def get_extra_state(self) -> Tensor:
        """Give the number of calls in training."""
        return torch.tensor(self._calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from a number of calls in training."""
        self._calls = int(state)
