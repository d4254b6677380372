"""Rooms: reverberation, echoes, resonances of small bodies."""

import numpy as np

from .curves import Sound, fade, log_uniform
from .spectra import bins, fast_size, filtered, moving_noise, random_gain, rfft


def impulse_response(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return the response of a room, N samples at most: high frequencies decay faster."""
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
    """Return the sound [N] in a room; what rings after N samples is cut."""
    response = impulse_response(rng, len(x), sample_rate)
    size = fast_size(len(x) + len(response))
    wet = filtered(x, rfft(response, size), size)
    share = np.float32(log_uniform(rng, 0.05, 3) * np.sqrt((x**2).mean() / ((wet**2).mean() + 1e-20)))
    return x + share * wet if rng.random() < 0.9 else wet


def echoed(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with up to eight echoes, each weaker than the one before."""
    delay, loss = int(sample_rate * log_uniform(rng, 0.004, 0.5)), np.float32(rng.uniform(0.2, 0.75))
    result = x.copy()
    for i in range(1, int(rng.integers(2, 9))):
        if i * delay >= len(x):
            break
        result[i * delay :] += loss**i * x[: -i * delay]
    return result
