"""The terms `phase`, `group_delay` and `consistency`.

Shapes: `B` batch, `F` bins, `T` frames.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill import LossInputs, Signal
from distill.views import InstantaneousFrequency, Magnitude
from distill_phase import ConsistencyConfig, GroupDelayConfig, PhaseConfig
from distill_phase.distances import DISTANCES, SILENCE, angle, clarity, directions, weighted_mean
from distill_phase.views import ComplexSpectrogram, Resynthesis


class PhaseTerm(nn.Module):
    """Compare the IFs: the phase differences between frames.

    A difference is weighted by the smaller target amplitude of its two frames. The first frame, whose IFs are
    the phases themselves, is weighted by its amplitude.
    """

    def __init__(self, config: PhaseConfig) -> None:
        super().__init__()
        self.distance = DISTANCES[config.distance]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        prediction, target = inputs.view(InstantaneousFrequency())
        predicted_amplitude, amplitude = inputs.view(Magnitude())
        clear = _with_first(torch.mul, clarity(predicted_amplitude, amplitude))
        distances = clear * self.distance(math.pi * (prediction - target))
        return weighted_mean(distances, _with_first(torch.minimum, amplitude))


def _with_first(combine: Callable[[Tensor, Tensor], Tensor], frames: Tensor) -> Tensor:
    """Return each frame combined with the previous one, and the first frame unchanged: `[B, F, T]`."""
    return torch.cat([frames[..., :1], combine(frames[..., 1:], frames[..., :-1])], dim=-1)


class GroupDelayTerm(nn.Module):
    """Compare the phase differences between bins, which locate sounds in time within a frame.

    The group delay is the negative slope of the phase over frequency, in radians per bin (Ai & Ling, 2023).
    A predicted frame is compared relative to the target's previous frame or, with `accumulate`, by its own
    accumulated phases. A difference is weighted by the smallest target amplitude of its bins.
    """

    def __init__(self, config: GroupDelayConfig) -> None:
        super().__init__()
        self.accumulate, self.distance = config.accumulate, DISTANCES[config.distance]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        prediction, target = inputs.view(ComplexSpectrogram())
        amplitude = target.abs()
        clear = clarity(prediction.abs(), amplitude)
        clear, weights = clear[:, 1:] * clear[:, :-1], torch.minimum(amplitude[:, 1:], amplitude[:, :-1])
        error = _turns(prediction) * _turns(target).conj()
        if not self.accumulate:
            error = _with_first(lambda now, before: now * before.conj(), error)
            clear, weights = _with_first(torch.mul, clear), _with_first(torch.minimum, weights)
        return weighted_mean(clear * self.distance(angle(error)), weights)


def _turns(spectrum: Tensor) -> Tensor:
    """Return the phase difference from each bin to the next as a complex number: `[B, F - 1, T]`."""
    direction = directions(spectrum)
    return direction[:, 1:] * direction[:, :-1].conj()


class ConsistencyTerm(nn.Module):
    """Compare the predicted complex spectrogram with the spectrogram of its inverse.

    Overlapping frames may contradict each other; then no waveform has this spectrogram (Le Roux et al., 2010;
    APNet2, Du et al., 2023). The loss is the energy of the difference divided by that of the spectrogram,
    from 0 (consistent) to 1 (the inverse is silent). The target is not used. Only the phases get a gradient:
    magnitudes could lower the loss by adding a loud, consistent tone.
    """

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the scalar loss."""
        prediction = _of_constant_magnitudes(inputs.prediction)
        spectrogram = prediction.view(ComplexSpectrogram())
        difference = spectrogram - prediction.view(Resynthesis())
        floor = SILENCE**2 * spectrogram[0].numel()
        return (_energy(difference) / (_energy(spectrogram) + floor)).mean()


def _of_constant_magnitudes(signal: Signal) -> Signal:
    """Return a signal whose magnitudes are constants. A signal without spectrogram is returned unchanged."""
    if signal.spectrogram is None:
        return signal
    magnitude, frequency = signal.spectrogram.unbind(1)
    spectrogram = torch.stack([magnitude.detach(), frequency], dim=1)
    return Signal.from_spectrogram(spectrogram, signal.representation, length=signal.length)


def _energy(spectrogram: Tensor) -> Tensor:
    return torch.view_as_real(spectrogram).square().sum((1, 2, 3))
