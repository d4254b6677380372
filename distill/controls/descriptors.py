"""Descriptors of a sound: brightness, loudness, noisiness and attack, each with its unit and source.

Shapes: `C` channels, `N` samples, `F` bins, `T` frames. Full scale is 1. A descriptor of several channels is
that of their summed power.
"""

import math
from collections.abc import Mapping

import torch
from attrs import frozen
from torch import Tensor

_REFERENCE = 1000.0
"""The frequency that is 0 octaves."""

_LOWEST, _BELOW = 62.5, 31.25
"""Bins below the first count as one at the second frequency, as in MPEG-7."""

_FRAME_SECONDS = 0.046
"""The length of a frame: 2048 samples at 44.1 kHz, as the model's."""

_OCTAVES_FROM = 125.0
"""The lower edge of the lowest octave in which flatness is measured, which has 6 bins of 21.5 Hz."""

_FEWEST_BINS = 4

_RANGE = 1e-10
"""Power this far below the largest (100 dB) counts as none."""

_SILENCE = 1e-12
"""The mean square of silence, -120 dB."""

_ENVELOPE_SECONDS, _ENVELOPE_HOP = 0.025, 0.001
_RISE = 0.2, 0.9
"""The attack is the rise of the envelope between these shares of its maximum (Peeters, 2004)."""

_SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
_HIGHPASS = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
_STANDARD_RATE = 48_000
"""The filters of the K-weighting, numerators and denominators at 48 kHz (ITU-R BS.1770-4, tables 1 and 2)."""

_OFFSET = -0.691
"""The constant of the loudness formula: a sine of 997 Hz at full scale has -3.01."""


@frozen(kw_only=True)
class Descriptor:
    """A descriptor: its name, its unit, and the smallest difference that an axis must make to be named by it.

    `source` says what it follows.
    """

    name: str
    unit: str
    noticeable: float
    source: str


DESCRIPTORS: Mapping[str, Descriptor] = {
    each.name: each
    for each in (
        Descriptor(
            name="brightness",
            unit="octaves",
            noticeable=0.1,
            source="spectral centroid in octaves re 1 kHz (MPEG-7, ISO/IEC 15938-4: AudioSpectrumCentroid)",
        ),
        Descriptor(
            name="loudness",
            unit="dB",
            noticeable=1.0,
            source="K-weighted level of the whole sound, ungated (ITU-R BS.1770-4)",
        ),
        Descriptor(
            name="noisiness",
            unit="dB",
            noticeable=1.0,
            source="spectral flatness in octaves, weighted by energy (MPEG-7: AudioSpectrumFlatness)",
        ),
        Descriptor(
            name="attack",
            unit="doublings",
            noticeable=0.25,
            source="log-attack time (Peeters, 2004), in doublings of 1 ms",
        ),
    )
}
"""The descriptors by name."""


def describe(waveform: Tensor, sample_rate: int) -> dict[str, float]:
    """Return all descriptors of a waveform `[C, N]` by name."""
    power = power_of(waveform, sample_rate)
    return {
        "brightness": brightness(power, sample_rate),
        "loudness": loudness(waveform, sample_rate),
        "noisiness": noisiness(power, sample_rate),
        "attack": attack(waveform, sample_rate),
    }


def power_of(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the power spectrogram `[F, T]` of a waveform `[C, N]`, summed over channels, in float64."""
    n_fft = 2 ** max(5, round(math.log2(_FRAME_SECONDS * sample_rate)))
    spectrum = torch.stft(
        waveform.detach().double().cpu(),
        n_fft,
        n_fft // 4,
        window=torch.hann_window(n_fft, dtype=torch.float64),
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs().square().sum(0)


def octaves_of(bins: int, sample_rate: int) -> Tensor:
    """Return the frequencies `[F]` of bins up to half the sample rate, in octaves re 1 kHz."""
    return octaves_of_hertz(torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64))


def octaves_of_hertz(hertz: Tensor) -> Tensor:
    """Return frequencies in Hz as octaves re 1 kHz; those below 62.5 Hz as that of 31.25 Hz."""
    return torch.where(hertz < _LOWEST, _BELOW, hertz).div(_REFERENCE).log2()


def brightness(power: Tensor, sample_rate: int) -> float:
    """Return the spectral centroid of a power spectrogram `[F, T]` in octaves re 1 kHz.

    The centroid of each frame is weighted by its energy, so the result is that of the summed spectrum.
    Silence has 0.
    """
    spectrum = power.double().sum(-1)
    whole = spectrum.sum()
    return float((octaves_of(len(spectrum), sample_rate) * spectrum).sum() / whole) if whole > 0 else 0.0


def noisiness(power: Tensor, sample_rate: int) -> float:
    """Return the spectral flatness of a power spectrogram `[F, T]` in dB.

    The flatness is the ratio of the geometric to the arithmetic mean of power. It is measured in each octave
    of each frame and weighted by energy, so that the slope of a spectrum hardly counts. White noise has
    -2.5 dB (10 log10 of e to minus Euler's constant), a tone -30 dB and less. Silence has 0.
    """
    power = power.double()
    largest = power.amax()
    if not largest > 0:
        return 0.0
    power = power.clamp(min=float(largest) * _RANGE)
    width = sample_rate / 2 / (len(power) - 1)
    total, weighted, low = 0.0, 0.0, _OCTAVES_FROM
    while low < sample_rate / 2:
        octave = power[math.ceil(low / width) : math.ceil(2 * low / width)]
        low *= 2
        if len(octave) < _FEWEST_BINS:
            continue
        flatness = 10 * (octave.log().mean(0) - octave.mean(0).log()) / math.log(10)
        energy = octave.sum(0)
        total += float(energy.sum())
        weighted += float((energy * flatness).sum())
    return weighted / total if total else 0.0


def weighting(bins: int, sample_rate: int) -> Tensor:
    """Return the K-weighting `[F]` of power, the response that ITU-R BS.1770-4 gives for 48 kHz."""
    hertz = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64).clamp(max=_STANDARD_RATE / 2)
    delay = torch.exp(-2j * math.pi * hertz / _STANDARD_RATE)
    response = torch.ones(bins, dtype=torch.complex128)
    for numerator, denominator in (_SHELF, _HIGHPASS):
        above, below = (b0 + b1 * delay + b2 * delay**2 for b0, b1, b2 in (numerator, denominator))
        response = response * above / below
    return response.abs().square()


def loudness(waveform: Tensor, sample_rate: int) -> float:
    """Return the K-weighted level of a waveform `[C, N]` in dB re full scale, at least -120.

    The formula is that of ITU-R BS.1770-4 for one block as long as the sound. Gates are left out, since they
    need 0.4 s, and so that a gain in dB changes the loudness by as much.
    """
    samples = waveform.detach().double().cpu()
    power = torch.fft.rfft(samples).abs().square()
    sides = torch.full((power.shape[-1],), 2.0, dtype=torch.float64)
    sides[0] = 1.0
    if samples.shape[-1] % 2 == 0:
        sides[-1] = 1.0
    weighted = (power * sides * weighting(power.shape[-1], sample_rate)).sum() / samples.shape[-1] ** 2
    return _OFFSET + 10 * math.log10(max(float(weighted), _SILENCE))


def envelope(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the RMS envelope of a waveform `[C, N]` every millisecond, over Hann windows of 25 ms."""
    hop = max(1, round(_ENVELOPE_HOP * sample_rate))
    length = 2 * max(1, round(_ENVELOPE_SECONDS * sample_rate / 2)) + 1
    window = torch.hann_window(length, periodic=False, dtype=torch.float64)
    power = waveform.detach().double().cpu().square().sum(0)
    smooth = torch.nn.functional.conv1d(
        power[None, None], (window / window.sum())[None, None], stride=hop, padding=length // 2
    )
    return smooth[0, 0].clamp(min=0).sqrt()


def rise(curve: Tensor) -> tuple[int, int]:
    """Return where the attack of an envelope begins and ends.

    It ends where the envelope first reaches 90 % of its maximum, and begins where it was last below 20 %.
    """
    low, high = (share * curve.amax() for share in _RISE)
    end = int((curve >= high).nonzero()[0])
    quiet = (curve[:end] < low).nonzero()
    return (int(quiet[-1]) if len(quiet) else 0), end


def attack(waveform: Tensor, sample_rate: int) -> float:
    """Return the log-attack time of a waveform `[C, N]`: log2 of the rise in ms, at least 0."""
    return attack_of(envelope(waveform, sample_rate))


def attack_of(curve: Tensor) -> float:
    """Return the log-attack time of an envelope that has a value each millisecond."""
    begin, end = rise(curve)
    return math.log2(max(1, end - begin))
