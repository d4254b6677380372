"""Tones: harmonic tones, chords, pads, basses, sweeps, frequency and ring modulation."""

import numpy as np
from numpy.typing import NDArray

from .curves import (
    Sound,
    decay,
    envelope,
    fade,
    log_uniform,
    phase_of,
    pitch_curve,
    seconds,
    sine,
    wander,
)
from .oscillators import Wavetable
from .spectra import bins, fast_size, moving_noise, random_gain, resonance, stationary_noise


def pitch(rng: np.random.Generator) -> float:
    """Return a random fundamental frequency in Hz: mostly 50 to 1,000, sometimes 20 to 5,000."""
    return log_uniform(rng, 50, 1000) if rng.random() < 0.75 else log_uniform(rng, 20, 5000)


def harmonic_amplitudes(
    rng: np.random.Generator, frequency: float, sample_rate: int
) -> NDArray[np.complex64]:
    """Return the complex amplitudes [H] of a random harmonic spectrum with a maximum of 1."""
    count = int(np.clip(0.49 * sample_rate / frequency, 1, 900))
    k = np.arange(1, count + 1)
    kind = rng.choice(6, p=[0.3, 0.15, 0.1, 0.15, 0.15, 0.15])
    amplitudes = k ** -rng.uniform(0.4, 2.2)
    if kind == 1:
        amplitudes = amplitudes * np.where(k % 2, 1, log_uniform(rng, 0.001, 0.5))
    elif kind == 2:
        amplitudes = np.abs(np.sinc(k * rng.uniform(0.05, 0.5))) * k**-0.2 + 1e-5
    elif kind == 3:
        amplitudes = np.where(np.isin(k, [1, 2, 3, 4, 6, 8, 10, 12, 16]), rng.random(count) * k**-0.5, 1e-5)
    elif kind == 4:
        amplitudes = amplitudes * np.exp(rng.normal(0, 1.2, count))
    elif kind == 5:
        amplitudes = amplitudes * (rng.random(count) < rng.uniform(0.2, 0.8)) + 1e-6
    if rng.random() < 0.5:
        amplitudes = amplitudes * random_gain(rng, k * frequency, 5.0)
    for _ in range(rng.integers(0, 4) if rng.random() < 0.4 else 0):
        centre = log_uniform(rng, 250, 6000)
        amplitudes = amplitudes * np.abs(
            resonance(k * frequency, centre, centre * log_uniform(rng, 0.03, 0.4))
        )
    turns = rng.random(count) if rng.random() < 0.5 else np.full(count, 0.75)
    spectrum = amplitudes * np.exp(2j * np.pi * turns)
    return (spectrum / np.abs(spectrum).max()).astype(np.complex64)


def moving_spectra(
    rng: np.random.Generator, base: NDArray[np.complex64], frequency: float, kinds: int
) -> NDArray[np.complex64]:
    """Return K spectra [K, H] with a moving low-pass filter and random differences of harmonics."""
    k = np.arange(1, len(base) + 1) * frequency
    position = np.linspace(0, 1, kinds)[:, None]
    top, bottom = np.log2(log_uniform(rng, 1000, 18_000)), np.log2(log_uniform(rng, 100, 2000))
    shape = rng.choice(3)
    course = (position ** rng.uniform(0.3, 1), 1 - position, np.sin(np.pi * position))[shape]
    cutoff = np.exp2(top + (bottom - top) * course)
    q = log_uniform(rng, 0.5, 8)
    low_pass = np.abs(resonance(np.minimum(k, 8 * cutoff), cutoff, cutoff / q))
    low_pass = low_pass * np.exp(-np.maximum(k - 8 * cutoff, 0) / (4 * cutoff))
    own = np.exp(rng.normal(0, log_uniform(rng, 0.05, 0.7), (kinds, len(base))))
    return (base * low_pass * own).astype(np.complex64)


def voice(
    rng: np.random.Generator, n: int, sample_rate: int, frequency: float, curve: Sound, detune: float
) -> Sound:
    """Return an oscillator [N] with a changing spectrum, in unison with others `detune` octaves away."""
    highest = frequency * float(curve.max()) * 2 ** (2 * detune)
    base = harmonic_amplitudes(rng, highest, sample_rate)
    moves = rng.random() < 0.7
    spectra = moving_spectra(rng, base, frequency, int(log_uniform(rng, 2, 25))) if moves else base[None]
    position = np.linspace(0, len(spectra) - 1, n, dtype=np.float32) ** np.float32(rng.uniform(0.4, 1))
    phase = phase_of(curve * frequency, sample_rate)
    table, result = Wavetable(spectra), np.zeros(n, np.float32)
    for _ in range(rng.integers(2, 5) if detune > 0 else 1):
        ratio = 2 ** (rng.normal(0, 0.5) * detune)
        result += table(phase * ratio + rng.random(), position)
    return result


def tone(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a harmonic tone with an envelope, sometimes with breath noise."""
    detune = log_uniform(rng, 0.0005, 0.02) if rng.random() < 0.3 else 0.0
    x = voice(rng, n, sample_rate, pitch(rng), pitch_curve(rng, n, sample_rate), detune)
    if rng.random() < 0.25:
        size = fast_size(n)
        breath = stationary_noise(rng, n, random_gain(rng, bins(size, sample_rate)), size)
        x = x + breath * np.float32(log_uniform(rng, 0.003, 0.2) * x.std() / breath.std())
    return x * envelope(rng, n, sample_rate)


def plain_tone(rng: np.random.Generator, n: int, sample_rate: int, frequency: float | None = None) -> Sound:
    """Return a tone of constant frequency in Hz, a sine or a few harmonics, such as a beep or test tone."""
    frequency = pitch(rng) if frequency is None else frequency
    count = max(1, min(int(rng.choice([1, 1, 3, 8])), int(0.49 * sample_rate / frequency)))
    amplitudes = (np.arange(1, count + 1) ** -rng.uniform(1, 3))[None].astype(np.complex64)
    phase = seconds(n, sample_rate).astype(np.float64) * frequency + rng.random()
    return Wavetable(amplitudes)(phase) * envelope(rng, n, sample_rate)


def chord(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return two to four tones in tempered or just intervals, together or in quick succession."""
    root, curve = log_uniform(rng, 60, 700), pitch_curve(rng, n, sample_rate)
    tempered = np.exp2(np.array([0, 3, 4, 5, 7, 9, 10, 12, 14, 16, 19, 24]) / 12)
    just = np.array([1, 6 / 5, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 7 / 4, 2, 9 / 4, 5 / 2, 3, 4])
    ratios = tempered if rng.random() < 0.8 else just
    strum = int(sample_rate * log_uniform(rng, 0.005, 0.3)) if rng.random() < 0.4 else 0
    result, shape = np.zeros(n, np.float32), envelope(rng, n, sample_rate)
    for i, index in enumerate(np.sort(rng.choice(12, int(rng.integers(2, 5)), replace=False))):
        start = min(i * strum, n // 2)
        x = voice(rng, n - start, sample_rate, root * ratios[index], curve[start:], 0.0)
        result[start:] += fade(x, 100, 0) * shape[: n - start] * np.float32(rng.uniform(0.3, 1))
    return result


def pad(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a slow sound of detuned tones, octaves or fifths apart, with a moving filter."""
    root, drift = log_uniform(rng, 40, 400), np.float32(log_uniform(rng, 0.001, 0.01))
    result = np.zeros(n, np.float32)
    for ratio in rng.choice([0.5, 1, 1, 1.5, 2, 3], int(rng.integers(2, 4))):
        frequency = root * ratio
        base = harmonic_amplitudes(rng, frequency * 1.1, sample_rate)
        spectra = moving_spectra(rng, base, frequency, int(rng.integers(3, 8)))
        place = 0.5 + 0.35 * wander(rng, n, sample_rate, log_uniform(rng, 0.3, 3))
        curve = np.exp2(drift * wander(rng, n, sample_rate, 1.5)) * np.float32(frequency)
        phase = phase_of(curve, sample_rate)
        position = np.clip(place, 0, 1) * (len(spectra) - 1)
        table = Wavetable(spectra)
        for _ in range(2):
            result += table(phase * 2 ** rng.normal(0, drift * 2) + rng.random(), position)
    if rng.random() < 0.4:
        swell = np.abs(wander(rng, n, sample_rate, log_uniform(rng, 0.5, 5)))[::512]
        noise = moving_noise(rng, n, swell[:, None] * random_gain(rng, bins(1024, sample_rate), 8, -4))
        result += noise * np.float32(log_uniform(rng, 0.01, 0.3) * result.std() / (noise.std() + 1e-9))
    length = n / sample_rate
    return fade(result, *(int(sample_rate * length * log_uniform(rng, 0.01, 0.5)) for _ in range(2)))


def bass(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a low tone of 28 to 120 Hz, from a sine to a distorted tone."""
    frequency, curve = log_uniform(rng, 28, 120), pitch_curve(rng, n, sample_rate)
    curve = np.exp2(np.log2(curve) * 0.3)
    phase = phase_of(curve * np.float32(frequency), sample_rate)
    if rng.random() < 0.35:
        x = sine(phase) + np.float32(log_uniform(rng, 0.01, 0.5)) * sine(phase * 2 + rng.random())
    else:
        x = voice(rng, n, sample_rate, frequency, curve, log_uniform(rng, 0.001, 0.02) * (rng.random() < 0.5))
        x = x / np.abs(x).max() + np.float32(rng.uniform(0, 0.8)) * sine(phase)
    if rng.random() < 0.5:
        drive = np.float32(log_uniform(rng, 1, 20))
        x = np.tanh(drive * (x + np.float32(rng.uniform(0, 0.2))))
        x = x - x.mean()
    return x * envelope(rng, n, sample_rate)


def sweep(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a tone that rises or falls over octaves, such as risers, lasers and sirens."""
    low, high = log_uniform(rng, 30, 600), log_uniform(rng, 800, 0.4 * sample_rate)
    position = np.linspace(0, 1, n, dtype=np.float32) ** np.float32(log_uniform(rng, 0.3, 3))
    if rng.random() < 0.5:
        position = 1 - position
    if rng.random() < 0.2:
        position = 0.5 + 0.5 * np.sin(
            seconds(n, sample_rate) * np.float32(2 * np.pi * log_uniform(rng, 0.5, 12))
        )
    frequency = np.exp2(np.log2(low) + np.log2(high / low) * position).astype(np.float32)
    phase = phase_of(frequency, sample_rate)
    x = sine(phase)
    if rng.random() < 0.5:
        for k in range(2, int(rng.integers(3, 9))):
            x += sine(phase * k) * (
                (frequency * k < 0.48 * sample_rate) * np.float32(k ** -rng.uniform(0.8, 2))
            )
    if rng.random() < 0.35:
        x = x + np.float32(log_uniform(rng, 0.01, 1)) * _swept_noise(rng, n, sample_rate, frequency)
    return x * envelope(rng, n, sample_rate)


def _swept_noise(rng: np.random.Generator, n: int, sample_rate: int, frequency: Sound) -> Sound:
    centres = np.log2(np.append(frequency[::512], frequency[-1]))[:, None]
    octaves = np.log2(np.maximum(bins(1024, sample_rate), 10))
    width = log_uniform(rng, 0.2, 2)
    return moving_noise(rng, n, np.exp(-(((octaves - centres) / width) ** 2)).astype(np.float32))


def frequency_modulation(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a sine with frequency modulation by one or two others, with changing indices."""
    frequency, curve = pitch(rng), pitch_curve(rng, n, sample_rate)
    phase = phase_of(curve * np.float32(frequency), sample_rate)
    length, modulation = n / sample_rate, np.zeros(n, np.float32)
    for _ in range(rng.integers(1, 3)):
        ratio = rng.choice([0.5, 1, 2, 3, 5, 7]) if rng.random() < 0.6 else log_uniform(rng, 0.1, 9)
        room = 0.3 * sample_rate / (frequency * ratio)
        index = min(log_uniform(rng, 0.2, 10), max(room, 0.1))
        move = decay(n, sample_rate, length * log_uniform(rng, 0.1, 5))
        if rng.random() < 0.3:
            move = 0.5 + 0.4 * np.tanh(wander(rng, n, sample_rate, log_uniform(rng, 0.5, 8)))
        modulation += move * np.float32(index / (2 * np.pi)) * sine(phase * ratio + rng.random())
    return sine(phase + modulation) * envelope(rng, n, sample_rate)


def ring_modulation(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a tone, or a phase-distorted one, multiplied by a sine."""
    curve = pitch_curve(rng, n, sample_rate)
    phase = phase_of(curve * np.float32(log_uniform(rng, 60, 1500)), sample_rate)
    bent = phase + rng.uniform(0, 0.15) * sine(phase) * decay(
        n, sample_rate, n / sample_rate * rng.uniform(0.3, 3)
    )
    x = sine(bent) + np.float32(rng.uniform(0, 0.5)) * sine(2 * bent)
    carrier = sine(seconds(n, sample_rate) * log_uniform(rng, 5, 3000))
    depth = np.float32(rng.uniform(0.4, 1))
    return x * (1 - depth + depth * carrier) * envelope(rng, n, sample_rate)
