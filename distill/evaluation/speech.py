"""Measures of speech: PESQ and STOI, from the packages of the extra `distill[speech]`.

Shapes: `N` samples of one signal. Full scale is 1.
"""

import math
import warnings
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from distill.audio.soundfiles import resample
from distill.errors import InputError
from distill.evaluation.listeners import Listener
from distill.spectral.metrics import is_silent

SPEECH = {"pesq": "PESQ", "stoi": "STOI"}
"""The display names of the measures of speech, by key."""

_PESQ_RATE, _STOI_RATE = 16_000, 10_000
_PESQ_SECONDS = 10
"""The length of a piece: PESQ is meant for about ten seconds, and its code for at most 50 utterances."""

_ARGUMENTS = (TypeError, ValueError)


class Pesq:
    """Rate reconstructions of speech with wideband PESQ (ITU-T P.862.2): a MOS-LQO of 1..4.64.

    Both signals are resampled to 16 kHz and rated in pieces of 10 seconds. The result is the mean over the
    pieces in which PESQ finds speech, or None if there is none, or if a signal is silent.

    Raises:
        ImportError: the package `pesq` is not installed.
    """

    def __init__(self) -> None:
        package = import_module("pesq")
        self._rate, self._error = package.pesq, package.PesqError

    def __call__(self, reconstruction: Tensor, original: Tensor, sample_rate: int) -> float | None:
        """Rate a reconstruction."""
        pieces = zip(
            *(signal.split(_PESQ_SECONDS * sample_rate) for signal in (reconstruction, original)), strict=True
        )
        ratings = [self._piece(made, true, sample_rate) for made, true in pieces]
        known = [rating for rating in ratings if rating is not None]
        return sum(known) / len(known) if known else None

    def _piece(self, reconstruction: Tensor, original: Tensor, sample_rate: int) -> float | None:
        if is_silent(reconstruction) or is_silent(original):
            return None
        signals = (_at(_PESQ_RATE, signal, sample_rate) for signal in (original, reconstruction))
        try:
            rating = float(self._rate(_PESQ_RATE, *signals, "wb"))
        except (self._error, *_ARGUMENTS):  # too short, without an utterance, or one is next to nothing
            return None
        return rating if math.isfinite(rating) else None


class Stoi:
    """Predict the intelligibility of reconstructions of speech with STOI (Taal et al., 2011), up to 1.

    Both signals are resampled to 10 kHz, the rate for which STOI is defined. The result is None if less than
    0.4 seconds of the original are within 40 dB of its loudest frame.

    Raises:
        ImportError: the package `pystoi` is not installed.
    """

    def __init__(self) -> None:
        self._stoi = import_module("pystoi").stoi

    def __call__(self, reconstruction: Tensor, original: Tensor, sample_rate: int) -> float | None:
        """Predict the intelligibility of a reconstruction."""
        if is_silent(original):
            return None
        signals = [_at(_STOI_RATE, signal, sample_rate) for signal in (original, reconstruction)]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", RuntimeWarning)
            try:
                value = float(self._stoi(*signals, _STOI_RATE))
            except (RuntimeWarning, IndexError, *_ARGUMENTS):  # too few frames of 25.6 ms that are not silent
                return None
        return value if math.isfinite(value) else None


def speech_listeners() -> dict[str, Listener]:
    """Return the measures of speech by the keys of `SPEECH`.

    Raises:
        InputError: a package of the extra `distill[speech]` cannot be imported.
    """
    try:
        return {"pesq": Pesq(), "stoi": Stoi()}
    except ImportError as error:
        raise InputError(
            f"PESQ and STOI need the packages pesq and pystoi, which cannot be imported: {error}",
            culprit="speech",
            remedy='Install them: pip install "distill[speech]"',
        ) from error


def _at(rate: int, signal: Tensor, sample_rate: int) -> NDArray[np.float64]:
    """Resample a signal `[N]` to another rate."""
    samples: NDArray[np.float32] = resample(signal[None], sample_rate, rate)[0].numpy()
    return samples.astype(np.float64)
