"""Changing the attack time of a waveform.

Shapes: `C` channels, `N` samples.
"""

import math

import torch
from torch import Tensor

from distill.controls.descriptors import attack_of, envelope, loudness, rise

_STEP = 0.5
"""The energy of a waveform is searched in steps of so many milliseconds."""

_WINDOW = 25
"""The length of the Hann window of the envelope, in milliseconds, as in `descriptors.envelope`."""

_HALF = 12
"""A fade begins where the attack begins, or half a window before or after that."""

_LONGEST = 4.0
"""The longest fade-in, relative to the attack that it shall make."""

_SHORT = (1.0, 3.0, 8.0)
"""The lengths of fade-ins that shorten an attack, in milliseconds."""

_TRIED = 60
"""As many beginnings or lengths are tried."""


def with_attack(waveform: Tensor, sample_rate: int, wanted: float) -> Tensor:
    """Change the attack time of a waveform `[C, N]` by a factor of 2 to the power of `wanted`.

    The waveform is multiplied by a linear fade-in. For a longer attack, it begins where the attack begins;
    for a shorter one, it is at most 8 ms long and begins within the attack. Of some fade-ins, the one is
    taken whose attack is nearest: where another peak becomes the highest, the attack jumps, so that it cannot
    be solved for. The loudness is kept. A sound that no fade-in brings nearer is returned as it is.
    """
    curve = envelope(waveform, sample_rate)
    if not curve.amax() > 0:
        return waveform
    begin, end = rise(curve)
    target = attack_of(curve) + wanted
    if wanted > 0:
        lengths = torch.logspace(0, math.log2(_LONGEST * 2**target), _TRIED, base=2.0).tolist()
        fades = [(start, length) for start in (begin, begin - _HALF, begin + _HALF) for length in lengths]
    else:
        starts = torch.linspace(begin - _WINDOW / 2, end + _WINDOW, _TRIED).tolist()
        fades = [(start, length) for start in starts for length in _SHORT]
    energy = _energy(waveform, sample_rate)
    apart = [abs(_attack(energy * _fade(len(energy), _STEP, *each).square()) - target) for each in fades]
    nearest = min(range(len(fades)), key=apart.__getitem__)
    if not apart[nearest] < abs(wanted):
        return waveform
    faded = waveform * _fade(waveform.shape[-1], 1000 / sample_rate, *fades[nearest]).to(waveform)
    gain = 10 ** ((loudness(waveform, sample_rate) - loudness(faded, sample_rate)) / 20)
    return faded * gain if math.isfinite(gain) else waveform


def _fade(count: int, step: float, start: float, length: float) -> Tensor:
    """Return a linear fade-in `[count]` in steps of `step`, all in milliseconds."""
    return ((torch.arange(count, dtype=torch.float64) * step - start) / length).clamp(0, 1)


def _energy(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the mean square of a waveform `[C, N]`, summed over channels, around each step of `_STEP`."""
    power = waveform.detach().double().cpu().square().sum(0)
    count = max(1, int(len(power) * 1000 / sample_rate / _STEP))
    return torch.nn.functional.interpolate(power[None, None], size=count, mode="area")[0, 0]


def _attack(energy: Tensor) -> float:
    """Return the log-attack time of an energy in steps of `_STEP`, as `attack` does of a waveform."""
    size = 2 * round(_WINDOW / 2 / _STEP) + 1
    window = torch.hann_window(size, periodic=False, dtype=torch.float64)
    smooth = torch.nn.functional.conv1d(
        energy[None, None], window[None, None], stride=round(1 / _STEP), padding=size // 2
    )
    return attack_of(smooth[0, 0].clamp(min=0).sqrt())
