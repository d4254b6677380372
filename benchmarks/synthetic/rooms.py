"""Rooms: random impulse responses and reverberation."""

import numpy as np

from .curves import Sound, fade, log_uniform
from .spectra import bins, fast_size, irfft, moving_noise, random_gain, rfft


def impulse_response(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return the impulse response of a room, at most N samples, in which high frequencies decay faster."""
    t60 = log_uniform(rng, 0.1, 4)
    length = int(np.clip(t60 * sample_rate * 0.8, 1000, n))
    f = bins(512, sample_rate)
    falls = t60 / (1 + (f / log_uniform(rng, 1500, 12_000)) ** 1.5) ** rng.uniform(0.3, 1)
    falls = falls * random_gain(rng, f, 1.5) ** np.float32(0.5)
    times = np.arange(-(-length // 256) + 1)[:, None] * np.float32(256 / sample_rate)
    tail = moving_noise(rng, length, np.exp(-6.91 * times / falls) * random_gain(rng, f, 3, -1))
    tail = fade(tail, int(sample_rate * log_uniform(rng, 0.001, 0.03)), length // 5)
    tail /= np.sqrt((tail**2).sum()) + 1e-9
    early = rng.integers(0, min(length, int(0.06 * sample_rate)), int(rng.integers(0, 12)))
    tail[early] += (rng.normal(0, 0.2, len(early)) * np.exp(-early / (0.03 * sample_rate))).astype(np.float32)
    return tail


def reverberated(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with reverberation, which makes it longer, up to 6 s."""
    response = impulse_response(rng, 6 * sample_rate, sample_rate)
    length = min(len(x) + int(len(response) * rng.uniform(0.1, 1)), 6 * sample_rate)
    size = fast_size(min(len(x) + len(response), 2 * length))
    wet = irfft(rfft(x, size) * rfft(response[:length], size), size)[:length]
    dry = np.pad(x, (0, length - len(x)))
    share = np.float32(log_uniform(rng, 0.05, 3) * np.sqrt((x**2).mean() / ((wet**2).mean() + 1e-20)))
    return fade(dry + share * wet if rng.random() < 0.9 else wet, 0, length // 20)
