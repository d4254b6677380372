"""Noise and filters in the frequency domain. `N` samples, `F` bins, `T` frames."""

from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from .curves import Sound, log_uniform


def rfft(x: NDArray[np.float32], size: int) -> NDArray[np.complex64]:
    """Return the spectrum of a sound, [size / 2 + 1], padded with zeros to an even `size`.

    Even and odd samples are combined to a complex signal, whose spectrum torch computes in a fifth of the
    time needed for a real one.
    """
    padded = np.zeros(size, np.float32)
    padded[: len(x)] = x
    half = torch.fft.fft(torch.from_numpy(padded.view(np.complex64))).numpy()
    half = np.append(half, half[0])
    mirrored = half[::-1].conj()
    return np.float32(0.5) * (half + mirrored) + _twiddles(size) * (half - mirrored)


@lru_cache(maxsize=16)
def _twiddles(size: int) -> NDArray[np.complex64]:
    return (-0.5j * np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)).astype(np.complex64)


def irfft(spectrum: NDArray[np.complexfloating], size: int) -> NDArray[np.float32]:
    """Return the signal of `size` samples in the last axis.

    NumPy is faster for one long signal, torch for many short ones.
    """
    spectrum = np.ascontiguousarray(spectrum, np.complex64)
    if spectrum.ndim == 1:
        return np.fft.irfft(spectrum, size).astype(np.float32, copy=False)
    return torch.fft.irfft(torch.from_numpy(spectrum), size).numpy()


def fast_size(n: int) -> int:
    """Return the smallest 2^a, 3 * 2^a or 5 * 2^a that is at least `n`."""
    return min(k << max(0, (-(-n // k) - 1).bit_length()) for k in (1, 3, 5))


@cache
def _pool() -> Sound:
    return np.random.default_rng(20_011).standard_normal(1 << 21, dtype=np.float32)


def gaussian(rng: np.random.Generator, n: int) -> Sound:
    """Return [N] normally distributed numbers, read from a random position in a fixed pool."""
    pool = _pool()
    if n > len(pool):
        return rng.standard_normal(n, dtype=np.float32)
    start = int(rng.integers(len(pool) - n + 1))
    return pool[start : start + n]


def random_gain(
    rng: np.random.Generator, frequency: NDArray[np.floating], spread: float = 8.0, tilt: float = 0.0
) -> Sound:
    """Return a random amplitude per frequency in Hz that is smooth over octaves.

    Args:
        rng: The source of randomness.
        frequency: Frequencies in Hz, of any shape.
        spread: standard deviation in dB between points one octave apart.
        tilt: mean slope in dB per octave.
    """
    octaves = np.log2(np.maximum(frequency, 10.0) / 20.0).astype(np.float32)
    step = log_uniform(rng, 0.3, 2)
    points = np.arange(-2, 11, step)
    decibels = np.cumsum(rng.normal(0, spread * np.sqrt(step), len(points))) * 0.6 + tilt * points
    decibels += rng.normal(0, spread * 0.5, len(points))
    curve = np.interp(octaves, points, decibels).astype(np.float32)
    return np.exp(np.maximum(curve - curve.max(), -100) * np.float32(np.log(10) / 20))


def band_gain(frequency: NDArray[np.floating], low: float, high: float, slope: float) -> Sound:
    """Return an amplitude per frequency: 1 from `low` to `high` Hz, `slope` dB less per octave outside."""
    octaves = np.log2(np.maximum(frequency, 1.0))
    outside = np.maximum(np.log2(low) - octaves, 0) + np.maximum(octaves - np.log2(high), 0)
    return np.exp(outside * (-slope * np.log(10) / 20)).astype(np.float32)


def resonance(
    frequency: NDArray[np.floating], centre: NDArray[np.floating] | float, width: NDArray[np.floating] | float
) -> NDArray[np.complex64]:
    """Return the response of a two-pole resonator of unit gain at 0 Hz; `centre` and `width` in Hz."""
    frequency = np.asarray(frequency, np.float32)
    square = np.asarray(centre, np.float32) ** 2
    return square / (square - frequency**2 + np.complex64(1j) * (np.asarray(width, np.float32) * frequency))


def filtered(x: Sound, gain: NDArray[np.floating] | NDArray[np.complexfloating], size: int) -> Sound:
    """Return the sound multiplied by `gain` ([size / 2 + 1], `size` at least `N`) in the frequency domain."""
    return irfft(rfft(x, size) * gain.astype(np.complex64), size)[: len(x)]


def bins(size: int, sample_rate: int) -> Sound:
    """Return the frequencies of a real FFT in Hz, [size / 2 + 1]."""
    return np.arange(size // 2 + 1, dtype=np.float32) * np.float32(sample_rate / size)


def stationary_noise(rng: np.random.Generator, n: int, gain: NDArray[np.floating], size: int) -> Sound:
    """Return [N] samples of Gaussian noise with the amplitude `gain` per bin of an FFT of `size` samples."""
    spectrum = gaussian(rng, 2 * len(gain)).view(np.complex64) * gain
    return irfft(spectrum, size)[:n] * np.float32(np.sqrt(size / 2))


def moving_noise(rng: np.random.Generator, n: int, gains: NDArray[np.floating]) -> Sound:
    """Return [N] samples of noise with a time-varying spectrum.

    Args:
        rng: The source of randomness.
        n: The number of samples.
        gains: Amplitudes [T, F] of frames that are F - 1 samples apart; the last frame is held.
    """
    hop = gains.shape[1] - 1
    frames = -(-n // hop) + 1
    gains = gains[np.minimum(np.arange(frames), len(gains) - 1)]
    spectrum = gaussian(rng, 2 * gains.size).view(np.complex64).reshape(gains.shape) * gains
    window = np.sin(np.pi * (np.arange(2 * hop, dtype=np.float32) + 0.5) / (2 * hop)) * np.float32(
        np.sqrt(hop)
    )
    pieces = irfft(spectrum, 2 * hop) * window
    return (pieces[:-1, hop:] + pieces[1:, :hop]).reshape(-1)[:n]
