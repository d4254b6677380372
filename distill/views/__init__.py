"""Views: the tensors that terms compare, each computed at most once per step and only if a term uses it.

A view is a frozen attrs value that can compute itself from a `Signal`. Terms that use equal views share the
tensor. To add a view, write such a class.
"""

from distill.views.inputs import LossInputs
from distill.views.magnitudes import (
    FlatMagnitude,
    FlatMagnitudeStft,
    InstantaneousFrequency,
    LogMagnitude,
    Magnitude,
    Stft,
    StftMagnitude,
)
from distill.views.posterior import Posterior
from distill.views.signal import Signal, Spectrogram, View, Waveform

__all__ = [
    "FlatMagnitude",
    "FlatMagnitudeStft",
    "InstantaneousFrequency",
    "LogMagnitude",
    "LossInputs",
    "Magnitude",
    "Posterior",
    "Signal",
    "Spectrogram",
    "Stft",
    "StftMagnitude",
    "View",
    "Waveform",
]
