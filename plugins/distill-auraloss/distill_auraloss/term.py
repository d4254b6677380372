"""The terms: auraloss's modules, called with the views of Distill.

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
    """Compare the waveforms by a loss class of auraloss, with each row as a mono signal."""

    def __init__(self, config: AuralossConfig) -> None:
        super().__init__()
        self.config: Any = config
        # Built when the sample rate is known. They are not submodules: they have no state, and auraloss moves
        # their windows and filters to the device of the inputs.
        self._losses: dict[tuple[int, torch.dtype], nn.Module] = {}

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss.

        Raises:
            ShapeError: The clips are too short for auraloss.
            ConfigError: A mel filter is empty at this sample rate.
        """
        prediction, target = (self._channels(side) for side in inputs.view(Waveform()))
        return self._loss_at(inputs.target.representation.sample_rate, target.dtype)(prediction, target)

    def _channels(self, waveform: Tensor) -> Tensor:
        """Return `[B, N]` as mono examples for auraloss: `[B, 1, N]`."""
        samples, too_few = waveform.shape[-1], self._too_few_samples()
        if samples <= too_few:
            raise ShapeError(
                f"auraloss needs clips of more than {too_few} samples at these FFT sizes: got {samples}",
                culprit=f"loss.{self.config.term}",
                remedy="Take smaller FFTs, or longer clips: training.clip_seconds.",
            )
        return waveform.contiguous()[:, None]

    def _too_few_samples(self) -> int:
        # auraloss reflects a clip at both ends by half an FFT.
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
        # Windows and filters built in inference mode could not be used for training.
        with torch.inference_mode(mode=False), warnings.catch_warnings():
            warnings.filterwarnings("error", "Empty filters detected", UserWarning)
            try:
                return self._class()(**arguments)
            except UserWarning as warning:  # by librosa: the log of an empty filter's output is infinite
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
    """Compare the waveforms by auraloss's chroma loss, with a correction so that it can be built."""

    def _class(self) -> Any:  # noqa: ANN401  # as above
        return _ChromaSTFTLoss


class _ChromaSTFTLoss(auraloss.freq.ChromaSTFTLoss):
    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002  # torch's signature
        # auraloss 0.4.0 registers a numpy array, which torch rejects.
        super().register_buffer(name, torch.as_tensor(tensor), persistent)


class StereoTerm(WaveformTerm):
    """Compare stereo signals, left in row 2i and right in row 2i + 1, by a loss class of auraloss."""

    def _channels(self, waveform: Tensor) -> Tensor:
        """Return `[B, N]` as stereo examples `[B / 2, 2, N]`."""
        if len(waveform) % 2:
            raise ShapeError(
                f"stereo sounds have their left channel in row 2i and their right one in row 2i + 1: "
                f"got {len(waveform)} rows",
                culprit=f"loss.{self.config.term}",
                remedy="Pass both channels of each sound, or an even training.batch_size.",
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
        """Return the scalar loss."""
        prediction, target = inputs.view(self._view)
        return self._loss_at(inputs.target.representation.sample_rate, target.dtype)(prediction, target)


class RandomTerm(WaveformTerm):
    """Compare the waveforms at random resolutions, which are drawn again every few calls.

    The resolutions depend on the seed and on the number of calls in training mode. This number is in the
    state dict, so that a resumed training run equals an uninterrupted one. All processes draw the same
    resolutions. In `eval()` mode the resolutions are those of the first call. auraloss draws from numpy's
    global generator, whose state is restored. For clips not longer than `max_fft_size`, where auraloss would
    raise an error, that is lowered to the largest power of two below the length of the clips.
    """

    def __init__(self, config: AuralossConfig) -> None:
        super().__init__(config)
        self._calls = 0

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
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
        """Return the loss, set up to draw resolutions for clips of the length of the target."""
        loss: Any = self._loss_at(sample_rate, target.dtype)
        samples = target.shape[-1]
        loss.max_fft_size = min(self.config.max_fft_size, 2 ** ((samples - 1).bit_length() - 1))
        loss.nforwards = 0  # auraloss draws at each call; the seed makes draws equal until the next is due
        draw = self._calls // self.config.randomize_rate if self.training else 0
        np.random.seed((self.config.seed, draw))  # noqa: NPY002  # as above
        return loss

    def get_extra_state(self) -> Tensor:
        """Return the number of calls in training."""
        return torch.tensor(self._calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Set the number of calls in training."""
        self._calls = int(state)
