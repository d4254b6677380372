"""What recording, mastering and cutting leave in a sound: colour, limits, noise, silence, level."""

import numpy as np

from .curves import Sound, fade, log_uniform
from .spectra import band_gain, bins, fast_size, filtered, random_gain, stationary_noise


def coloured(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with a tilt, a random equalisation, or the band of an old or a coarse recording."""
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


def driven(rng: np.random.Generator, x: Sound) -> Sound:
    """Return the sound through a limiter that is soft or hard."""
    drive = np.float32(log_uniform(rng, 1, 10))
    return np.tanh(drive * x) if rng.random() < 0.7 else np.clip(drive * x, -1, 1)


def floor_of_noise(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return background noise [N] of -90 to -50 dB, sometimes with hum or a whine."""
    size = fast_size(n)
    x = stationary_noise(rng, n, random_gain(rng, bins(size, sample_rate), 3, rng.uniform(-2, 0.5)), size)
    x = x / (x.std() + 1e-9)
    time = np.arange(n, dtype=np.float64) / sample_rate
    if rng.random() < 0.3:
        frequency = rng.choice([50.0, 60.0, 100.0, 120.0, 15_734.0, rng.uniform(1000, 16_000)])
        x = x + np.float32(log_uniform(rng, 0.2, 3)) * np.sin(
            (2 * np.pi * ((frequency * time) % 1)).astype(np.float32)
        )
    return x * np.float32(10 ** (rng.uniform(-90, -50) / 20))


def cut(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound, [N], with silence before it or after it, or as it is."""
    n, loudest = len(x), int(np.abs(x).argmax())
    result = x
    if rng.random() < 0.3:
        lead = min(int(sample_rate * log_uniform(rng, 0.001, 0.3)), n - 1 - loudest)
        result = np.concatenate([np.zeros(lead, np.float32), result[: n - lead]])
        loudest += lead
    if rng.random() < 0.3:
        end = loudest + 1 + int((n - 1 - loudest) * rng.random())
        soft = int(sample_rate * log_uniform(rng, 0.001, 0.2))
        result = fade(result[:end], 0, soft)
        result = np.concatenate([result, np.zeros(n - end, np.float32)])
    return result


def peak_level(rng: np.random.Generator) -> float:
    """Return a peak amplitude: mostly 0 to -12 dB, in a third -12 to -30 dB, in a tenth down to -60 dB."""
    low, high = ((-12, 0), (-30, -12), (-60, -30))[rng.choice(3, p=[0.57, 0.33, 0.1])]
    return float(10 ** (rng.uniform(low, high) / 20))
