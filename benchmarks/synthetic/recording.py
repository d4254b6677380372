"""Traces of recording and editing: equalization, background noise, trimming, silence, level."""

import numpy as np

from .curves import Sound, fade, log_uniform, sine
from .spectra import band_gain, bins, fast_size, filtered, moving_noise, random_gain


def equalized(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with a spectral tilt, random equalization, or the limited band of an old recording."""
    size = fast_size(len(x))
    f = bins(size, sample_rate)
    gain = random_gain(rng, f, rng.uniform(0.5, 3), rng.uniform(-2, 2))
    kind = rng.choice(4, p=[0.45, 0.25, 0.15, 0.15])
    if kind == 1:
        edge = rng.uniform(8000, 16_000)
        gain = gain * band_gain(f, 1, edge, 600)
    elif kind == 2:
        low, high = log_uniform(rng, 80, 400), log_uniform(rng, 2500, 8000)
        gain = gain * band_gain(f, low, high, rng.uniform(12, 90))
    elif kind == 3:
        gain = gain * band_gain(f, log_uniform(rng, 20, 120), 2 * sample_rate, rng.uniform(6, 24))
    return filtered(x, gain, size)


def noise_floor(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return background noise [N] of -90 to -50 dB, sometimes with hum or a whine."""
    gains = random_gain(rng, bins(1024, sample_rate), 3, rng.uniform(-2, 0.5))
    x = moving_noise(rng, n, gains[None])
    x = x / (x.std() + 1e-9)
    time = np.arange(n, dtype=np.float64) / sample_rate
    if rng.random() < 0.3:
        frequency = rng.choice([50.0, 60.0, 100.0, 120.0, 15_734.0, rng.uniform(1000, 16_000)])
        x = x + np.float32(log_uniform(rng, 0.2, 3)) * sine(time * frequency)
    return x * np.float32(10 ** ((-50 - 40 * rng.random() ** 0.7) / 20) / x.std())


def trimmed(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Trim both ends that are 25 to 80 dB below the loudest 10 ms of the sound; keep at least 0.3 s."""
    block = sample_rate // 100
    energy = np.append((x[: len(x) // block * block].reshape(-1, block) ** 2).mean(1), 0)
    loud = np.flatnonzero(energy > energy.max() * 10 ** -rng.uniform(2.5, 8))
    start, end = max(0, loud[0] - 1) * block, (loud[-1] + 2) * block
    end = max(end, start + int(0.3 * sample_rate))
    start = min(start, max(0, len(x) - int(0.3 * sample_rate)))
    return fade(x[start:end], 0, int(sample_rate * log_uniform(rng, 0.001, 0.05)))


def padded(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with silence before it, after it, or both."""
    before, after = (
        int(sample_rate * log_uniform(rng, 0.001, 0.5)) if rng.random() < 0.5 else 0 for _ in range(2)
    )
    return np.pad(x, (before, after))


def quantized(rng: np.random.Generator, x: Sound) -> Sound:
    """Return the sound quantized to 16 bits, half of the time with triangular dither."""
    dither = rng.random((2, len(x)), np.float32).sum(0) - 1 if rng.random() < 0.5 else np.float32(0)
    return np.round(x * 32_767 + dither) / np.float32(32_768)


def peak_level(rng: np.random.Generator) -> float:
    """Return a peak amplitude: mostly 0 to -12 dB, in a third -12 to -30 dB, in a tenth down to -60 dB."""
    low, high = ((-12, 0), (-30, -12), (-60, -30))[rng.choice(3, p=[0.57, 0.33, 0.1])]
    return float(10 ** (rng.uniform(low, high) / 20))
