"""Noises: with random spectra and envelopes, grains, wind, records."""

import numpy as np

from .curves import Sound, envelope, fade, log_uniform, upsample, wander
from .spectra import (
    band_gain,
    bins,
    fast_size,
    filtered,
    gaussian,
    moving_noise,
    random_gain,
    rfft,
    stationary_noise,
)


def filtered_noise(
    rng: np.random.Generator, n: int, sample_rate: int, band: tuple[float, float] | None = None
) -> Sound:
    """Return noise with a random spectrum, or in a `band` in Hz, and with a random envelope."""
    size = fast_size(n)
    f = bins(size, sample_rate)
    gain = random_gain(rng, f, log_uniform(rng, 2, 14), rng.uniform(-5, 3))
    if band is not None or rng.random() < 0.5:
        low = log_uniform(rng, 20, 4000)
        low, high = band or (low, low * log_uniform(rng, 1.2, 200))
        gain = band_gain(f, low, high, log_uniform(rng, 6, 60)) * (gain if band is None else 1)
    return stationary_noise(rng, n, gain, size) * envelope(rng, n, sample_rate)


def evolving_noise(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return noise whose spectrum changes between random shapes, gradually or in steps."""
    hop = int(rng.choice([128, 256, 512]))
    frames = -(-n // hop) + 1
    count = int(rng.integers(2, 9))
    f = bins(2 * hop, sample_rate)
    spread, tilt = log_uniform(rng, 4, 14), rng.uniform(-5, 3)
    shapes = np.stack([random_gain(rng, f, spread, tilt) for _ in range(count)]) * rng.uniform(
        0.1, 1, (count, 1)
    )
    place = np.linspace(0, count - 1, frames)
    index = np.minimum(place.astype(int), count - 2)
    weight = (place - index)[:, None]
    weight = weight if rng.random() < 0.6 else (weight > 0.5) * 1.0
    gains = shapes[index] * (1 - weight) + shapes[index + 1] * weight
    return moving_noise(rng, n, gains.astype(np.float32)) * envelope(rng, n, sample_rate)


def wind(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return wind, surf or fire: bands with varying centres and levels, and a low rumble."""
    hop = 512
    frames = -(-n // hop) + 1
    octaves = np.log2(np.maximum(bins(2 * hop, sample_rate), 15))[None]
    gains = np.zeros((frames, hop + 1), np.float32)
    for _ in range(rng.integers(1, 4)):
        rate, width = log_uniform(rng, 0.3, 4), log_uniform(rng, 0.08, 2)
        centre = np.log2(log_uniform(rng, 120, 5000)) + rng.uniform(0.1, 0.9) * wander(
            rng, n, sample_rate, rate
        )
        level = np.exp(log_uniform(rng, 0.3, 1.5) * wander(rng, n, sample_rate, rate))
        places = np.minimum(np.arange(frames) * hop, n - 1)
        distance = np.abs(octaves - centre[places, None]) / np.float32(width)
        gains += level[places, None] * np.exp(-(distance ** np.float32(rng.uniform(1, 2))))
    rumble = np.exp2(-np.abs(octaves - np.log2(60))) * np.float32(log_uniform(rng, 0.01, 1))
    length = int(n * log_uniform(rng, 0.01, 0.4))
    return fade(moving_noise(rng, n, gains + rumble), length, length)


def grains(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return crackle, rain, gravel or bubbles: many short grains at random times and levels."""
    length = n / sample_rate
    result = np.zeros(n, np.float32)
    shapes = []
    for _ in range(6):
        size = int(log_uniform(rng, 30, 3000))
        time = np.arange(size, dtype=np.float32)
        fall = np.exp(-time * np.float32(7 / size))
        if rng.random() < 0.4:
            turns = time * np.float32(log_uniform(rng, 300, 9000) / sample_rate)
            grain = np.sin(2 * np.pi * turns * (1 + turns * np.float32(rng.uniform(0, 0.02))))
        else:
            grain = gaussian(rng, size)
        shapes.append(grain * fall)
    gain = random_gain(rng, bins(fast_size(n), sample_rate), 8, rng.uniform(-2, 3))
    for shape in shapes:
        impulses = np.zeros(n, np.float32)
        count = max(1, int(log_uniform(rng, 2, 400) * length))
        np.add.at(impulses, rng.integers(0, n, count), rng.standard_normal(count) * rng.random(count) ** 3)
        result += _sparse(impulses, shape) if count < 60 else _dense(impulses, shape)
    result = filtered(result, gain, fast_size(n)) if rng.random() < 0.6 else result
    swell = envelope(rng, n, sample_rate) if rng.random() < 0.4 else np.float32(1)
    return result * swell


def _sparse(impulses: Sound, shape: Sound) -> Sound:
    result = np.zeros(len(impulses) + len(shape), np.float32)
    for place in np.flatnonzero(impulses):
        result[place : place + len(shape)] += impulses[place] * shape
    return result[: len(impulses)]


def _dense(impulses: Sound, shape: Sound) -> Sound:
    size = fast_size(len(impulses) + len(shape))
    return filtered(impulses, rfft(shape, size), size)


def vinyl(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return the noise of a record or tape: hiss, rumble, hum, clicks and pops."""
    size = fast_size(n)
    f = bins(size, sample_rate)
    hiss = random_gain(rng, f, 4, -1) + np.float32(log_uniform(rng, 0.1, 20)) * band_gain(f, 5, 50, 12)
    x = stationary_noise(rng, n, hiss, size)
    turning = wander(rng, n, sample_rate, log_uniform(rng, 0.5, 8))
    x = x / (x.std() + 1e-9) * (1 + np.float32(log_uniform(rng, 0.01, 0.3)) * turning)
    mains = rng.choice([50, 60])
    time = np.arange(n, dtype=np.float64) / sample_rate
    for k in range(1, int(rng.integers(1, 7))):
        x += np.float32(log_uniform(rng, 0.01, 1)) * np.sin(
            (2 * np.pi * ((mains * k * time) % 1)).astype(np.float32)
        )
    clicks = np.zeros(n, np.float32)
    count = int(log_uniform(rng, 1, 60) * n / sample_rate) + 1
    places = rng.integers(0, n, count)
    clicks[places] = rng.choice([-1, 1], count) * np.exp(rng.normal(1.5, 1.2, count))
    clicks = filtered(
        clicks, band_gain(f, log_uniform(rng, 20, 1000), log_uniform(rng, 1500, 15_000), 12), size
    )
    return x + clicks * np.float32(log_uniform(rng, 0.3, 10))


def gated_noise(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return noise that is switched on and off at varying levels."""
    size = fast_size(n)
    x = stationary_noise(rng, n, random_gain(rng, bins(size, sample_rate), 8, rng.uniform(-3, 3)), size)
    count = int(max(2, log_uniform(rng, 2, 20) * n / sample_rate))
    levels = np.exp(rng.normal(0, 1, count)) * (rng.random(count) < 0.7)
    levels[int(rng.integers(count))] = 1
    index = (np.arange(-(-n // 64) + 1) * 64 * count // n).clip(0, count - 1)
    gate = upsample(levels[index], n)
    if rng.random() < 0.4:
        gate = gate * np.exp(
            -((np.arange(n, dtype=np.float32) * (count / n)) % 1) * np.float32(rng.uniform(1, 8))
        )
    return x * gate
