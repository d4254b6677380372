"""Voices: a glottal source and noise, filtered by time-varying formants. `T` frames of 10 ms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .curves import Sound, fade, log_uniform, normalized, phase_of, sine, upsample, wander
from .oscillators import Wavetable
from .spectra import band_gain, bins, fast_size, filtered, moving_noise, resonance

_FRAME = 0.01  # seconds
_LOWEST = np.array([250.0, 700.0, 2000.0, 3200.0, 4200.0])  # formants of an average vocal tract, Hz
_HIGHEST = np.array([850.0, 2500.0, 3200.0, 3900.0, 5200.0])


@dataclass(frozen=True, kw_only=True)
class Track:
    """The articulation in each frame.

    Args:
        formants: formant frequencies in Hz, [T, 5].
        voicing: amplitude of the glottal source, [T].
        breath: amplitude of noise filtered by the formants, [T].
        hiss: amplitude of fricative noise, [T].
        hiss_centre: centre of the fricative noise in Hz, [T].
    """

    formants: NDArray[np.float64]
    voicing: NDArray[np.float64]
    breath: NDArray[np.float64]
    hiss: NDArray[np.float64]
    hiss_centre: NDArray[np.float64]


def utterance(rng: np.random.Generator, frames: int, tract: float) -> Track:
    """Return syllables of random consonants and vowels, with pauses, at a random pace.

    Args:
        rng: the random generator.
        frames: the number of frames.
        tract: the length of the vocal tract relative to the average.
    """
    voicing, breath, hiss = np.zeros(frames), np.full(frames, 1e-3), np.zeros(frames)
    centre, formants = np.full(frames, 3000.0), np.zeros((frames, 5))
    pace, position = log_uniform(rng, 0.7, 1.6), 0
    target = rng.uniform(_LOWEST, _HIGHEST)
    while position < frames:
        kind = rng.choice(["plosive", "fricative", "nasal", "none", "pause"], p=[0.3, 0.25, 0.18, 0.2, 0.07])
        length = int(max(1, rng.uniform(4, 14) / pace)) if kind != "none" else 0
        part = slice(position, position + length)
        voiced = rng.random() < 0.45
        centre[part] = log_uniform(rng, 1500, 8000)
        if kind == "plosive":
            voicing[part] = 0.08 * voiced
            hiss[position + length - 1 : position + length + (1 if voiced else 3)] = rng.uniform(0.2, 1.2)
        elif kind == "fricative":
            voicing[part], hiss[part] = 0.25 * voiced, log_uniform(rng, 0.1, 1)
        elif kind == "nasal":
            voicing[part] = rng.uniform(0.15, 0.5)
        formants[part] = target * rng.uniform(0.8, 1.1) if kind != "nasal" else [250, 1100, 2200, 3300, 4200]
        position += length
        target = rng.uniform(_LOWEST, _HIGHEST)
        length = int(max(3, log_uniform(rng, 5, 30) / pace))
        part = slice(position, position + length)
        span = len(voicing[part])
        ends = rng.uniform(_LOWEST, _HIGHEST) if rng.random() < 0.3 else target
        formants[part] = target + (ends - target) * np.linspace(0, 1, span)[:, None]
        arch = np.sin(np.pi * (np.arange(span) + 1) / (length + 1)) ** rng.uniform(0.3, 1)
        voicing[part] = arch * log_uniform(rng, 0.3, 1)
        breath[part] = log_uniform(rng, 0.01, 0.2)
        position += length
    formants = _smooth(formants, 5) / tract
    return Track(
        formants=formants,
        voicing=_smooth(voicing[:, None], 3)[:, 0],
        breath=_smooth(breath[:, None], 3)[:, 0],
        hiss=hiss,
        hiss_centre=centre,
    )


def _smooth(x: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    edges = np.concatenate([np.repeat(x[:1], width // 2, 0), x, np.repeat(x[-1:], width // 2, 0)])
    total = np.cumsum(np.concatenate([np.zeros_like(x[:1]), edges]), 0)
    return (total[width:] - total[:-width]) / width


def sung(rng: np.random.Generator, frames: int, tract: float) -> Track:
    """Return one to three long vowels."""
    count = int(rng.integers(1, 4))
    vowels = rng.uniform(_LOWEST, _HIGHEST, (count, 5))
    index = np.minimum(np.arange(frames) * count // frames, count - 1)
    rise, fall = max(2, int(log_uniform(rng, 3, 40))), max(2, int(log_uniform(rng, 5, 60)))
    steps = np.arange(frames)
    shape = np.clip(np.minimum((steps + 1) / rise, (frames - steps) / fall), 0, 1)
    zeros = np.zeros(frames)
    return Track(
        formants=_smooth(vowels[index], 15) / tract,
        voicing=shape,
        breath=shape * log_uniform(rng, 0.01, 0.3) + 1e-4,
        hiss=zeros,
        hiss_centre=zeros + 3000,
    )


def _vocal_tract(
    frequency: NDArray[np.floating], track: Track, width: float, higher: float
) -> NDArray[np.complex64]:
    """Return the response [T, F] of five resonators at the frequencies [T or 1, F].

    A power `higher` of the frequency replaces further resonators above them.
    """
    response = np.ones((len(track.formants), frequency.shape[1]), np.complex64)
    for i in range(5):
        centre = track.formants[:, i : i + 1]
        response *= resonance(frequency, centre, width * (50 + 0.05 * centre))
    return response * (1 + (frequency / track.formants[:, 4:]) ** 2) ** np.float32(higher)


def voiced(rng: np.random.Generator, n: int, sample_rate: int, track: Track, f0: Sound, tilt: float) -> Sound:
    """Return the glottal source filtered by the formants, [N]; `f0` [N] in Hz; harmonic k has k^-tilt."""
    hop = int(_FRAME * sample_rate)
    count = int(np.clip(0.49 * sample_rate / f0.max(), 1, 256))
    k = np.arange(1, count + 1, dtype=np.float32)
    at_frames = f0[np.minimum(np.arange(len(track.voicing)) * hop, n - 1)][:, None] * k
    response = _vocal_tract(at_frames, track, log_uniform(rng, 0.8, 2), rng.uniform(3.6, 4.9))
    source = k ** np.float32(-tilt) * np.exp(1j * rng.normal(0, 0.3, count)).astype(np.complex64)
    position = np.arange(n, dtype=np.float32) / hop
    x = Wavetable(response * source * track.voicing[:, None])(phase_of(f0, sample_rate), position)
    return x * (1 + np.float32(0.06) * wander(rng, n, sample_rate, 60))


def unvoiced(rng: np.random.Generator, n: int, sample_rate: int, track: Track) -> Sound:
    """Return breath noise filtered by the formants, and the hiss of consonants, [N]."""
    hop = int(_FRAME * sample_rate)
    size = 2 * hop
    f = bins(size, sample_rate)[None]
    gains = np.abs(_vocal_tract(f, track, 2.0, rng.uniform(4, 5))) * track.breath[:, None]
    octaves = np.log2(np.maximum(f, 20) / track.hiss_centre[:, None])
    hiss = np.exp(-((octaves / rng.uniform(0.4, 1.2)) ** 2)) * track.hiss[:, None]
    return moving_noise(rng, n, (gains + hiss * rng.uniform(0.3, 1)).astype(np.float32))


def intonation(rng: np.random.Generator, n: int, sample_rate: int, base: float, *, singing: bool) -> Sound:
    """Return the fundamental frequency in Hz, [N]: an intonation with jitter or, singing, with vibrato."""
    time = np.arange(-(-n // 64) + 1) * (64 / sample_rate)
    octaves = rng.normal(0, 0.012, len(time)) * log_uniform(rng, 0.2, 2)
    if singing:
        depth, rate = log_uniform(rng, 0.005, 0.06), rng.uniform(4.5, 7)
        octaves += depth * np.sin(2 * np.pi * rate * time) * (1 - np.exp(-time / 0.4))
    else:
        octaves += -rng.uniform(0, 0.3) * time / time[-1]
    curve = upsample(octaves, n)
    if not singing:
        curve = curve + np.float32(log_uniform(rng, 0.02, 0.25)) * wander(
            rng, n, sample_rate, rng.uniform(2, 5)
        )
    return np.exp2(np.clip(curve, -1, 1)) * np.float32(base)


def one_voice(rng: np.random.Generator, n: int, sample_rate: int, *, singing: bool) -> Sound:
    """Return a speaking or singing voice of 70 to 400 Hz, rarely whispering or at a constant pitch."""
    frames = int(n / (_FRAME * sample_rate)) + 3
    base = log_uniform(rng, 70, 400)
    tract = float(np.clip(1.15 - 0.3 * np.log2(base / 100) / 2 + rng.normal(0, 0.06), 0.7, 1.3))
    track = sung(rng, frames, tract) if singing else utterance(rng, frames, tract)
    f0 = intonation(rng, n, sample_rate, base, singing=singing)
    style = rng.random()
    if style < 1 / 12:
        return unvoiced(rng, n, sample_rate, track)
    if style < 2 / 12:
        f0 = np.full(n, base, np.float32)
    x = normalized(voiced(rng, n, sample_rate, track, f0, rng.uniform(0.6, 1.9)))
    pulsed = 1 + np.float32(rng.uniform(0, 0.9)) * sine(phase_of(f0, sample_rate))
    noise = unvoiced(rng, n, sample_rate, track) * pulsed
    return x + noise * np.float32(log_uniform(rng, 0.05, 0.5))


def speech(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a speaking voice, one time in four with the band of a telephone."""
    x = fade(one_voice(rng, n, sample_rate, singing=False), 200, 400)
    if rng.random() < 0.25:
        size = fast_size(n)
        x = filtered(
            x, band_gain(bins(size, sample_rate), rng.uniform(100, 350), rng.uniform(3200, 4000), 90), size
        )
        if rng.random() < 0.4:  # eight bits with logarithmic steps, similar to G.711
            x = normalized(x)
            companded = np.round(np.log1p(255 * np.abs(x)) * np.float32(127 / np.log(256)))
            x = np.sign(x) * np.expm1(companded * np.float32(np.log(256) / 127)) / 255
    return x


def singing(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a voice singing vowels, or a choir of two to four."""
    result = np.zeros(n, np.float32)
    for _ in range(rng.integers(2, 5) if rng.random() < 0.4 else 1):
        x = one_voice(rng, n, sample_rate, singing=True)
        result += normalized(x)
    return fade(result, 400, 800)
