"""Models of listeners, which predict the mean opinion score (MOS) of a reconstruction.

Zimtohrli and ViSQOL are separate packages, in the extra `distill[hearing]`.

Shapes: `N` samples of one signal. Full scale is 1.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.audio.soundfiles import resample
from distill.spectral.metrics import is_silent

Listener = Callable[[Tensor, Tensor, int], float | None]
"""Maps a reconstruction `[N]`, its original `[N]` and the sample rate in Hz to a MOS, or to None."""

LISTENERS: Mapping[str, str] = {"zimtohrli": "Zimtohrli", "visqol": "ViSQOL"}
"""The display names of the listeners, by key."""

_RATE = 48_000
_LEAST_SAMPLES = _RATE
_VISQOL_SILENCE = _RATE // 20
_VISQOL_SECONDS = 10


class Zimtohrli:
    """Rate reconstructions with the psychoacoustic model Zimtohrli: a MOS of 1..5, higher is better.

    Both signals are resampled to 48 kHz. Signals shorter than a second are padded with silence.

    Raises:
        ImportError: the package `zimtohrli` is not installed.
    """

    def __init__(self) -> None:
        package = import_module("zimtohrli")
        self._distance, self._mos = package.Pyohrli().distance, package.mos_from_zimtohrli

    def __call__(self, reconstruction: Tensor, original: Tensor, sample_rate: int) -> float | None:
        """Rate a reconstruction."""
        signals = [_at_48_khz(signal, sample_rate) for signal in (original, reconstruction)]
        with _denormals_as_zeros():  # its recursive filters are full of them where a sound is silent
            mos = float(self._mos(float(self._distance(*signals))))
        return mos if math.isfinite(mos) else None


class Visqol:
    """Rate reconstructions with ViSQOL in audio mode: a MOS-LQO of 1..4.73, higher is better.

    Both signals are resampled to 48 kHz. Signals shorter than a second are padded with silence, and 0.05 s of
    silence is added at both ends. Only the first 10 seconds are rated, since ViSQOL takes about as long as
    the signal lasts, and its authors advise against longer signals. ViSQOL matches the levels first, so
    silence has no rating.

    Raises:
        ImportError: the package `visqol-python` is not installed.
    """

    def __init__(self) -> None:
        package = import_module("visqol")
        logging.getLogger("visqol").setLevel(logging.ERROR)
        self._api = package.VisqolApi()
        self._api.create(mode="audio")

    def __call__(self, reconstruction: Tensor, original: Tensor, sample_rate: int) -> float | None:
        """Rate a reconstruction."""
        if is_silent(reconstruction) or is_silent(original):
            return None
        longest = _VISQOL_SECONDS * sample_rate
        padded = [
            np.pad(_at_48_khz(signal[:longest], sample_rate).astype(np.float64), _VISQOL_SILENCE)
            for signal in (original, reconstruction)
        ]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                mos = float(self._api.measure_from_arrays(*padded, _RATE).moslqo)
            except ValueError:  # the signals have no part that can be compared
                return None
        return mos if math.isfinite(mos) else None


def installed_listeners() -> dict[str, Listener]:
    """Return the listeners whose packages are installed, by the keys of `LISTENERS`."""
    makers: dict[str, Callable[[], Listener]] = {"zimtohrli": Zimtohrli, "visqol": Visqol}
    listeners: dict[str, Listener] = {}
    for name, make in makers.items():
        try:
            listeners[name] = make()
        except ImportError:
            continue
    return listeners


def quick_listeners() -> dict[str, Listener]:
    """Return Zimtohrli, if it is installed. ViSQOL takes longer than a sound lasts, and long to import."""
    try:
        return {"zimtohrli": Zimtohrli()}
    except ImportError:
        return {}


@contextmanager
def _denormals_as_zeros() -> Iterator[None]:
    """Take denormal numbers for zeros in this thread: processors compute with them 30 times as slowly."""
    before = bool(np.float32(2.0**-126) / 2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _at_48_khz(signal: Tensor, sample_rate: int) -> NDArray[np.float32]:
    """Resample a signal `[N]` to 48 kHz and pad it to at least one second."""
    samples: NDArray[np.float32] = resample(signal[None], sample_rate, _RATE)[0].numpy()
    return np.pad(samples, (0, max(0, _LEAST_SAMPLES - len(samples))))
