"""Effects: distortion, echoes, chorus and flanger."""

import numpy as np

from .curves import Sound, log_uniform, wander


def driven(rng: np.random.Generator, x: Sound) -> Sound:
    """Return the sound through a limiter that is soft or hard."""
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


def chorused(rng: np.random.Generator, x: Sound, sample_rate: int) -> Sound:
    """Return the sound with up to three copies of it whose delays move: chorus, flanger."""
    result = x.copy()
    for _ in range(rng.integers(1, 4)):
        centre = sample_rate * log_uniform(rng, 0.001, 0.03)
        depth = centre * rng.uniform(0.05, 0.45)
        delay = centre + depth * np.tanh(wander(rng, len(x), sample_rate, log_uniform(rng, 0.2, 4)))
        place = np.arange(len(x), dtype=np.float64) - delay
        index = np.maximum(place.astype(np.int32), 0)
        weight = (place - index).clip(0, 1).astype(np.float32)
        copy = x[index] * (1 - weight) + x[np.minimum(index + 1, len(x) - 1)] * weight
        result += np.float32(rng.choice([-1, 1]) * rng.uniform(0.3, 1)) * copy
    return result
