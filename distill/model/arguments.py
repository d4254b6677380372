"""Checks of what the methods of a trained model are called with: devices, waveforms, latents and numbers.

Shapes: `C` channels, `N` samples, `D` numbers per latent frame, `T'` latent frames.
"""

import torch
from torch import Tensor

from distill.arguments import finite_number
from distill.audio.corpus.arrays import as_samples
from distill.audio.corpus.levels import LOUDEST
from distill.config.settings import MOST_TEMPERATURE
from distill.errors import InputError, ShapeError
from distill.model.sounds import Encoded

_SHORTEST, _LONGEST = 0.05, 600
"""Bounds of the length of a generated sound, in seconds."""

_GIVE_LATENTS = "Pass what `encode` of this model returns, or an entry of its `latents`."


def device_like(device: object) -> torch.device:
    """Return a device that this machine has.

    Raises:
        InputError: it has none of this name.
    """
    try:
        place = torch.device(device)  # type: ignore[call-overload]  # what it cannot take, it refuses
        torch.empty(0, device=place)
    except (AssertionError, ImportError, RuntimeError, TypeError) as error:
        raise InputError(
            f"cannot be used on this machine: {device!r}",
            culprit="device",
            remedy="Pass a device that torch has here: 'cpu', or 'cuda' or 'mps' where there is one.",
        ) from error
    return place


def waveform_like(waveform: object) -> Tensor:
    """Return a waveform `[N]` or `[C, N]` as a float32 tensor `[C, N]` on the CPU.

    Raises:
        InputError: it does not consist of finite floats of about full scale 1.
    """
    checked = torch.from_numpy(as_samples(waveform, culprit="waveform")).T.contiguous()
    if not checked.isfinite().all():
        raise InputError(
            "contains NaN or infinite samples",
            culprit="waveform",
            remedy="Replace them, such as by torch.nan_to_num, or leave the waveform out.",
        )
    if checked.abs().max() > LOUDEST:
        raise InputError(
            f"has samples of up to {checked.abs().max():,.6g}, and 1 is full scale",
            culprit="waveform",
            remedy="Divide it by its full scale, 32768 for the range of 16-bit integers.",
        )
    return checked


def latents_like(latents: object, size: int) -> tuple[Tensor, Tensor | None]:
    """Return latents `[C, size, T']`, and the coherence of their channels where it is known.

    Raises:
        ShapeError: they have another shape.
        InputError: they are not finite floats.
    """
    entry: object = latents
    coherence: Tensor | None = None
    if isinstance(latents, Encoded):
        entry, coherence = latents.latents, latents.coherence
    if not isinstance(entry, Tensor) or entry.ndim != 3 or entry.shape[1] != size or not entry.numel():
        got = list(entry.shape) if isinstance(entry, Tensor) else f"a {type(entry).__name__}"
        raise ShapeError(f"latents must have the shape [C, {size}, T']: got {got}", remedy=_GIVE_LATENTS)
    if not entry.is_floating_point() or not entry.isfinite().all():
        kind = "NaN or infinite ones" if entry.is_floating_point() else entry.dtype
        raise InputError(f"latents must be finite floats: got {kind}", remedy=_GIVE_LATENTS)
    return entry, coherence


def temperature_like(temperature: object) -> float:
    """Return the temperature of generated sounds.

    Raises:
        InputError: it is not a number within bounds.
    """
    remedy = "0 only mixes the recordings, and 1 is the default."
    return finite_number(temperature, culprit="temperature", within=(0, MOST_TEMPERATURE), remedy=remedy)


def seconds_like(seconds: object) -> float:
    """Return the length of generated sounds in seconds.

    Raises:
        InputError: it is not a number within bounds.
    """
    remedy = "Leave it out for the mean length of two recordings."
    return finite_number(seconds, culprit="seconds", within=(_SHORTEST, _LONGEST), remedy=remedy)
