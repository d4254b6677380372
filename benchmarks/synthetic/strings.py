"""Plucked and struck strings with stiffness and losses, alone or several at once."""

import numpy as np

from .curves import Sound, fade, log_uniform, seconds
from .oscillators import damped
from .percussion import onset_noise
from .spectra import random_gain


def string(rng: np.random.Generator, n: int, sample_rate: int, f0: float, seed: int) -> Sound:
    """Return a plucked or struck string, [N].

    The partials of a stiff string are at k f0 sqrt(1 + B k^2), and lose energy at a rate that grows with the
    square of their frequency (Fletcher and Rossing, The Physics of Musical Instruments, chapter 2).

    Args:
        rng: the random generator for differences between strings.
        n: the number of samples.
        sample_rate: in Hz.
        f0: the fundamental frequency in Hz.
        seed: the seed of the properties shared by the strings of an instrument.
    """
    kind = np.random.default_rng(seed)
    k = np.arange(1, int(np.clip(0.49 * sample_rate / f0, 2, 120)))
    stiffness = log_uniform(kind, 1e-5, 2e-3) if kind.random() < 0.8 else 0.0
    frequencies = f0 * k * np.sqrt(1 + stiffness * k**2)
    base, bright = 6.91 / log_uniform(kind, 0.3, 9), log_uniform(kind, 0.1, 30)
    t60s = 6.91 / (base + bright * (frequencies / 1000) ** 2) * np.exp(rng.normal(0, 0.25, len(k)))
    place, tilt = kind.uniform(0.05, 0.5), kind.uniform(0.4, 1.8)
    amplitudes = (np.abs(np.sin(np.pi * k * place)) + 0.003) * k**-tilt * np.exp(rng.normal(0, 0.3, len(k)))
    amplitudes = amplitudes * np.sqrt(random_gain(kind, frequencies, 5))
    phases = np.full(len(k), 0.75) + rng.normal(0, 0.02, len(k))
    if kind.random() < 0.5:  # two polarizations, which beat; one decays slowly
        frequencies = np.append(frequencies, frequencies * 2 ** rng.normal(0, 0.0008))
        t60s = np.append(t60s, t60s * kind.uniform(0.2, 0.6))
        amplitudes, phases = (
            np.append(amplitudes, amplitudes * kind.uniform(0.3, 2)),
            np.append(phases, phases),
        )
    x = damped(frequencies, t60s, amplitudes, phases, n, sample_rate)
    x = x * (1 - np.exp(-seconds(n, sample_rate) / np.float32(log_uniform(kind, 0.0001, 0.005))))
    x = x / (np.abs(x).max() + 1e-9)
    return x + np.float32(log_uniform(kind, 0.003, 0.3)) * onset_noise(rng, n, sample_rate)


def strings(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return one string, a strummed chord, or a run of notes, sometimes damped at the end."""
    seed = int(rng.integers(1 << 31))
    root = log_uniform(rng, 55, 900)
    count = int(rng.integers(2, 6)) if rng.random() < 0.45 else 1
    strum = log_uniform(rng, 0.008, 0.06) if rng.random() < 0.6 else log_uniform(rng, 0.1, 0.4)
    semitones = np.sort(rng.choice([0, 3, 4, 5, 7, 10, 12, 15, 16, 19, 24], count, replace=False))
    result = np.zeros(n, np.float32)
    for i, semitone in enumerate(semitones if rng.random() < 0.7 else rng.permutation(semitones)):
        start = int(i * strum * rng.uniform(0.8, 1.2) * sample_rate)
        if start > 0.7 * n:
            break
        pluck = string(rng, n - start, sample_rate, root * 2 ** (semitone / 12), seed)
        result[start:] += pluck * np.float32(rng.uniform(0.4, 1))
    if rng.random() < 0.3:
        stop = int(n * rng.uniform(0.3, 0.95))
        hand = np.ones(n, np.float32)
        hand[stop:] = np.exp(-seconds(n - stop, sample_rate) / np.float32(log_uniform(rng, 0.01, 0.1)))
        result *= hand
    return fade(result, 0, int(0.01 * sample_rate))
