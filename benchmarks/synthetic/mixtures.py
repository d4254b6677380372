"""Combinations of sounds: rhythms, melodies, layers."""

from collections.abc import Sequence

import numpy as np

from .curves import Sound, fade, log_uniform, normalized
from .families import Family
from .noise import filtered_noise
from .percussion import clap, cymbal, hat, kick, modal, pitched_drum, snare
from .strings import string
from .tones import bass, frequency_modulation, plain_tone, tone


def drum_loop(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a rhythm of two to six drums and other one-shots on a grid."""
    step = int(sample_rate * 60 / rng.uniform(70, 180) / 4)
    steps = max(2, n // step)
    bar = int(rng.choice([4, 8, 16]))
    result = np.zeros(n, np.float32)
    late = int(step * rng.uniform(0, 0.35)) if rng.random() < 0.4 else 0
    kit = [kick, snare if rng.random() < 0.7 else clap, hat]
    extra = [pitched_drum, cymbal, modal, frequency_modulation, filtered_noise, bass, tone]
    kit = [*kit, *rng.permutation(np.array(extra, object))[: rng.integers(0, 4)]]
    for i, drum in enumerate(kit):
        length = min(int(sample_rate * log_uniform(rng, 0.08, 0.7)), n)
        shot = fade(normalized(drum(rng, length, sample_rate)), 0, length // 8)
        shot *= np.float32(log_uniform(rng, 0.1, 1) if i else 1)
        pattern = rng.random(bar) < (0.25, 0.2, 0.6, 0.2, 0.2, 0.1)[i]
        pattern[0 if i == 0 else int(rng.integers(bar))] = True
        for at in np.flatnonzero(np.resize(pattern, steps)):
            start = at * step + (late if at % 2 else 0) + int(rng.normal(0, 0.003) * sample_rate)
            start = min(max(start, 0), n - 1)
            hit = shot[: n - start] * np.float32(rng.uniform(0.5, 1))
            result[start : start + len(hit)] += hit
    return np.tanh(result * np.float32(rng.uniform(0.5, 3))) if rng.random() < 0.4 else result


def melody(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return an arpeggio or melody of 2 to 12 notes of one instrument."""
    count = int(rng.integers(2, 13))
    step = n // count
    length = min(int(step * log_uniform(rng, 0.5, 4)) + 1000, n)
    scale = np.array([0, 2, 3, 5, 7, 9, 10, 12, 14, 15, 17, 19])
    root, seed, kind = log_uniform(rng, 60, 600), int(rng.integers(1 << 31)), rng.integers(4)
    result = np.zeros(n, np.float32)
    notes = rng.choice(scale, int(rng.integers(2, 6)))
    for i in range(count):
        frequency = root * 2 ** (notes[i % len(notes)] / 12)
        same = np.random.default_rng(seed)
        if kind == 0:
            note = string(rng, length, sample_rate, frequency, seed)
        elif kind == 1:
            note = plain_tone(same, length, sample_rate, frequency)
        else:
            note = (modal, tone)[kind - 2](same, length, sample_rate)
            note = note[np.minimum((np.arange(length) * (frequency / root)).astype(int), length - 1)]
        start = i * step
        piece = fade(normalized(note), 20, length // 10)[: n - start] * np.float32(rng.uniform(0.3, 1))
        result[start : start + len(piece)] += piece
    return result


def layers(rng: np.random.Generator, n: int, sample_rate: int, families: Sequence[Family]) -> Sound:
    """Return a sum of two or three sounds of other families at levels up to 30 dB apart; some begin later."""
    weights = np.array([family.weight for family in families])
    result = np.zeros(n, np.float32)
    for i in range(rng.integers(2, 4)):
        family = families[rng.choice(len(families), p=weights / weights.sum())]
        start = int(n * rng.uniform(0, 0.6)) if i and rng.random() < 0.4 else 0
        x = normalized(family.make(rng, n - start, sample_rate))
        result[start:] += x * np.float32(10 ** (-rng.uniform(0, 30) / 20 if i else 0))
    return result
