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
    """Compare how far phases advance from frame to frame, which is what IFs are.

    An advance weighs as much as the softer of its two frames in the target. The first frame, whose
    IFs are the phases themselves, weighs as much as it is loud.
    """

    def __init__(self, config: PhaseConfig) -> None:
        super().__init__()
        self.distance = DISTANCES[config.distance]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss."""
        prediction, target = inputs.view(InstantaneousFrequency())
        predicted_amplitude, amplitude = inputs.view(Magnitude())
        clear = _with_first(torch.mul, clarity(predicted_amplitude, amplitude))
        distances = clear * self.distance(math.pi * (prediction - target))
        return weighted_mean(distances, _with_first(torch.minimum, amplitude))


def _with_first(combine: Callable[[Tensor, Tensor], Tensor], frames: Tensor) -> Tensor:
    """Combine each frame with the one before it, and keep the first: `[B, F, T]`."""
    return torch.cat([frames[..., :1], combine(frames[..., 1:], frames[..., :-1])], dim=-1)


class GroupDelayTerm(nn.Module):
    """Compare how far phases turn from bin to bin, which tells when in a frame a sound happens.

    The group delay is this slope of the phase over frequency, in radians per bin, negative (Ai & Ling,
    2023). A predicted frame goes on from the phases of the target's frame before, or of its own. A turn
    weighs as much as the softest of the bins that it is made of, in the target.
    """

    def __init__(self, config: GroupDelayConfig) -> None:
        super().__init__()
        self.accumulate, self.distance = config.accumulate, DISTANCES[config.distance]

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss."""
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
    """Give the turn from each bin to the next as a complex number: `[B, F - 1, T]`."""
    direction = directions(spectrum)
    return direction[:, 1:] * direction[:, :-1].conj()


class ConsistencyTerm(nn.Module):
    """Compare the predicted spectrogram with that of the sound it is turned into, as complex numbers.

    What overlapping frames say of the same samples may differ; then their spectrogram is that of no
    sound (Le Roux et al., 2010; APNet2, Du et al., 2023). The loss is the energy of the difference by that
    of the spectrogram: from 0, consistent, to 1, with nothing left of it. The target has no part in it.
    Only phases are to agree: magnitudes would learn to hide what does not behind a loud tone, which does.
    """

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInputs) -> Tensor:
        """Give the scalar loss."""
        prediction = _of_constant_magnitudes(inputs.prediction)
        spectrogram = prediction.view(ComplexSpectrogram())
        difference = spectrogram - prediction.view(Resynthesis())
        floor = SILENCE**2 * spectrogram[0].numel()
        return (_energy(difference) / (_energy(spectrogram) + floor)).mean()


def _of_constant_magnitudes(signal: Signal) -> Signal:
    """Give a signal whose gradient is that of its phases alone; a waveform's is that of all of it."""
    if signal.spectrogram is None:
        return signal
    magnitude, frequency = signal.spectrogram.unbind(1)
    spectrogram = torch.stack([magnitude.detach(), frequency], dim=1)
    return Signal.from_spectrogram(spectrogram, signal.representation, length=signal.length)


def _energy(spectrogram: Tensor) -> Tensor:
    return torch.view_as_real(spectrogram).square().sum((1, 2, 3))
