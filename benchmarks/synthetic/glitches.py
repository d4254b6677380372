"""Glitches: clicks, impulses, bursts, held values, stutters."""

import numpy as np

from .curves import Sound, decay, envelope, log_uniform, phase_of, pitch_curve, sine
from .noise import evolving_noise, filtered_noise
from .percussion import modal, pitched_drum
from .spectra import band_gain, bins, fast_size, filtered, gaussian
from .speech import speech
from .tones import frequency_modulation, pitch, tone


def clicks(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return one or more clicks, sometimes through a resonant filter."""
    x = np.zeros(n, np.float32)
    for _ in range(int(log_uniform(rng, 1, 12))):
        start, width = int(rng.integers(0, max(1, n - 400))), int(log_uniform(rng, 1, 200))
        x[start : start + width] += np.float32(rng.choice([-1, 1]) * log_uniform(rng, 0.1, 1))
    if rng.random() < 0.7:
        size = fast_size(n + 4000)
        centre = log_uniform(rng, 100, 9000)
        gain = band_gain(bins(size, sample_rate), centre / rng.uniform(1, 6), centre * rng.uniform(1, 6), 9)
        x = filtered(x, gain, size)
    return x


def pulses(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return bursts of impulses or square waves with different rates."""
    count = int(rng.integers(1, 12))
    rates = np.exp(rng.uniform(np.log(15), np.log(3000), count))
    edges = np.sort(rng.integers(0, n, count - 1)) if count > 1 else np.zeros(0, int)
    index = np.searchsorted(edges, np.arange(n), side="right")
    phase = phase_of(rates[index], sample_rate)
    turns = phase - np.floor(phase)
    square = np.where(turns < rng.uniform(0.02, 0.5), 1, -1).astype(np.float32)
    levels = rng.random(count) * (rng.random(count) < 0.8)
    levels[0] = 1
    x = (square - square.mean()) * levels[index].astype(np.float32)
    return np.diff(x, prepend=np.float32(0)) if rng.random() < 0.3 else x * envelope(rng, n, sample_rate)


def data(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return held random values, similar to a modem or a broken file, at a rate that may glide."""
    rate = log_uniform(rng, 100, 12_000) * pitch_curve(rng, n, sample_rate)
    step = np.minimum(phase_of(rate, sample_rate).astype(np.int64), n - 1)
    values = gaussian(rng, n)[step]
    values = np.sign(values) if rng.random() < 0.4 else values
    if rng.random() < 0.3:
        values = values * sine(phase_of(np.full(n, pitch(rng)), sample_rate))
    return values * envelope(rng, n, sample_rate)


def crushed(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return another sound, quantized to few bits, at a low sample rate, or clipped."""
    source = (tone, frequency_modulation, modal, pitched_drum, speech)[rng.integers(5)]
    x = source(rng, n, sample_rate)
    x = x / (np.abs(x).max() + 1e-9)
    if rng.random() < 0.6:
        hold = int(log_uniform(rng, 2, 30))
        x = x[(np.arange(n) // hold) * hold]
    if rng.random() < 0.6:
        levels = np.float32(2 ** rng.uniform(1, 7))
        x = np.round(x * levels) / levels
    if rng.random() < 0.4:
        x = np.clip(x * np.float32(log_uniform(rng, 1, 20)), -0.9, 1)
    return x


def stutter(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a short piece of another sound, repeated, sometimes faster, reversed or silent."""
    piece = int(np.clip(log_uniform(rng, 0.01, 0.4) * sample_rate, 200, n))
    source = (tone, frequency_modulation, filtered_noise, evolving_noise, speech)[rng.integers(5)]
    x = source(rng, max(piece, sample_rate // 4), sample_rate)[:piece]
    x = x / (np.abs(x).max() + 1e-9)
    parts, total, length = [x], piece, piece
    while total < n:
        length = max(100, int(length * rng.choice([1, 1, 1, 0.5, 2])))
        part = x[: min(length, piece)] * np.float32(rng.choice([0, 1, 1, 1, 0.5]))
        parts.append(part[::-1] if rng.random() < 0.15 else part)
        total += len(part)
    result = np.concatenate(parts)[:n]
    return result * decay(n, sample_rate, n / sample_rate * 2) if rng.random() < 0.3 else result
