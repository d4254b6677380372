"""Effects: distortion, echoes, chorus, wow and flutter, and noise that follows a sound."""

import numpy as np
from numpy.typing import NDArray

from .curves import Sound, log_uniform, normalized, wander
from .spectra import bins, fast_size, filtered, moving_noise, random_gain


def driven(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with soft or hard clipping, sometimes after an equalizer."""
    if rng.random() < 0.3:
        size = fast_size(len(x))
        x = normalized(filtered(x, random_gain(rng, bins(size, sample_rate), 4), size))
    drive = np.float32(log_uniform(rng, 1, 10))
    return np.tanh(drive * x) if rng.random() < 0.7 else np.clip(drive * x, -1, 1)


def echoed(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with up to eight echoes, each weaker than the one before."""
    delay, loss = int(sample_rate * log_uniform(rng, 0.004, 0.5)), np.float32(rng.uniform(0.2, 0.75))
    result = x.copy()
    for i in range(1, int(rng.integers(2, 9))):
        if i * delay >= len(x):
            break
        result[i * delay :] += loss**i * x[: -i * delay]
    return result


def delayed(x: Sound, delay: NDArray[np.floating]) -> Sound:
    """Return the sound after a delay in samples, [N], which may change over time."""
    place = np.arange(len(x), dtype=np.float64) - delay
    index = np.clip(place.astype(np.int64), 0, len(x) - 2)
    weight = np.clip(place - index, 0, 1).astype(np.float32)
    return x[index] * (1 - weight) + x[index + 1] * weight


def chorused(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with up to three copies with changing delays: chorus, flanger."""
    result = x.copy()
    for _ in range(rng.integers(1, 4)):
        centre = sample_rate * log_uniform(rng, 0.001, 0.03)
        depth = centre * rng.uniform(0.05, 0.45)
        moves = np.tanh(wander(rng, len(x), sample_rate, log_uniform(rng, 0.2, 4)))
        copy = delayed(x, centre + depth * moves.astype(np.float64))
        result += np.float32(rng.choice([-1, 1]) * rng.uniform(0.3, 1)) * copy
    return result


def unsteady(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with wow, flutter and modulation noise, which add side bands to partials."""
    n = len(x)
    if rng.random() < 0.6:
        rate = log_uniform(rng, 1, 40)
        speed = log_uniform(rng, 0.0005, 0.01)  # approximate maximum of the relative change
        depth = sample_rate * speed / (2 * np.pi * rate)
        x = delayed(x, depth * (2.5 + wander(rng, n, sample_rate, 2 * rate).clip(-2.5, 2.5)))
    rate = log_uniform(rng, 10, 600)
    return x * (1 + np.float32(log_uniform(rng, 0.003, 0.15)) * wander(rng, n, sample_rate, rate))


def with_friction(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with noise that follows its level, 20 to 65 dB below: breath, bows, rattles."""
    hop = 512
    blocks = np.pad(x, (0, -len(x) % hop + hop)).reshape(-1, hop)
    level = np.sqrt((blocks**2).mean(1))
    level = np.maximum(level, np.append(level[1:], 0) * np.float32(0.3))
    gain = random_gain(rng, bins(2 * hop, sample_rate), 5, rng.uniform(-4, 1))
    noise = moving_noise(rng, len(x), level[:, None] ** np.float32(rng.uniform(0.6, 1.2)) * gain)
    share = 10 ** (rng.uniform(-65, -20) / 20) * x.std() / (noise.std() + 1e-12)
    return x + noise * np.float32(share)
