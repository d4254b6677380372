"""What the tests of views share: a small representation, every view, noise and loss inputs."""

import torch

from distill.spectral.representation import MagnitudeIF
from distill.views import (
    FlatMagnitude,
    FlatMagnitudeStft,
    InstantaneousFrequency,
    LogMagnitude,
    LossInputs,
    Magnitude,
    Signal,
    Spectrogram,
    Stft,
    StftMagnitude,
    Waveform,
)

REPRESENTATION = MagnitudeIF(8000, 64, 16)
LONG_STFT = Stft(n_fft=64, hop=8)
EVERY_VIEW = [
    Spectrogram(),
    LogMagnitude(),
    Magnitude(),
    InstantaneousFrequency(),
    Waveform(),
    FlatMagnitude(),
    Stft(n_fft=32, hop=8),
    StftMagnitude(n_fft=32, hop=8, win_length=20),
    FlatMagnitudeStft(n_fft=32, hop=8),
]


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs_of(prediction, target, **others):
    """Make loss inputs of a predicted spectrogram and a target waveform."""
    return LossInputs(
        prediction=Signal.from_spectrogram(prediction, REPRESENTATION),
        target=Signal.from_waveform(target, REPRESENTATION),
        **others,
    )
