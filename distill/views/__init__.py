"""Views: what terms look at, each computed at most once per step and only if a term asks for it.

A view is a frozen attrs value that knows how to compute itself from a `Signal`; two terms that name
an equal view share its tensor. Writing such a class is all it takes to add one.
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
