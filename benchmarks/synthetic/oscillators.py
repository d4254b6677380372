"""Oscillators: wavetables for harmonic partials, and a matrix product for decaying partials."""

import numpy as np
from numpy.typing import NDArray

from .curves import Sound
from .spectra import irfft


class Wavetable:
    """A wavetable oscillator with K spectra, between which it can interpolate.

    Args:
        harmonics: complex amplitudes of the harmonics 1, 2, ... of each spectrum, [K, H].
    """

    def __init__(self, harmonics: NDArray[np.complexfloating]) -> None:
        self.spectra, count = harmonics.shape
        oversampling = 16 if self.spectra < 16 else 8
        self.size = int(np.clip(1 << int(count * oversampling - 1).bit_length(), 512, 16_384))
        spectrum = np.zeros((self.spectra, self.size // 2 + 1), np.complex64)
        spectrum[:, 1 : count + 1] = harmonics[:, : self.size // 2]
        tables = irfft(spectrum, self.size) * (self.size / 2)
        steps = np.roll(tables, -1, 1) - tables
        self._table = (tables + 1j * steps).astype(np.complex64).reshape(-1)

    def __call__(self, phase: NDArray[np.float64], position: NDArray[np.floating] | None = None) -> Sound:
        """Return the sound [N] for a phase in cycles [N].

        The position, [N] within 0..K - 1, interpolates between the spectra. By default, the first one is
        used.
        """
        place = (phase - np.floor(phase)) * self.size
        index = place.astype(np.int64)
        weight = (place - index).astype(np.float32)
        index &= self.size - 1
        if self.spectra == 1 or position is None:
            return self._between(index, weight)
        spectrum = np.clip(position.astype(np.int64), 0, self.spectra - 2)
        share = (position - spectrum).astype(np.float32)
        index += spectrum * self.size
        first = self._between(index, weight)
        index += self.size
        return first + share * (self._between(index, weight) - first)

    def _between(self, index: NDArray[np.int64], weight: Sound) -> Sound:
        pairs = self._table.take(index, mode="clip")
        return pairs.real + weight * pairs.imag


def damped(
    frequencies: NDArray[np.floating],
    t60s: NDArray[np.floating],
    amplitudes: NDArray[np.floating],
    phases: NDArray[np.floating],
    n: int,
    sample_rate: int,
    block: int = 512,
) -> Sound:
    """Return the sum of P partials that decay exponentially, [N].

    Since z^(a + b) = z^a z^b, the sum is the matrix product of the partials at the beginnings of all blocks
    and the partials within a block.

    Args:
        frequencies: In Hz, [P]; what lies above 0.49 of the sample rate is left out.
        t60s: The seconds in which each falls by 60 dB, [P].
        amplitudes: At the beginning, [P].
        phases: At the beginning, in cycles, [P].
        n: The number of samples.
        sample_rate: In Hz.
        block: Samples per block.
    """
    kept = frequencies < 0.49 * sample_rate
    cycles, fall = frequencies[kept] / sample_rate, -6.9078 / (t60s[kept] * sample_rate)
    blocks = np.arange(-(-n // block)) * block
    starts = _powers(cycles, fall, blocks, phases[kept], amplitudes[kept])
    inside = _powers(cycles, fall, np.arange(block), np.zeros(len(cycles)), np.ones(len(cycles)))
    left = np.concatenate([starts.real, -starts.imag]).T
    return (left @ np.concatenate([inside.real, inside.imag])).reshape(-1)[:n]


def _powers(
    cycles: NDArray[np.floating],
    fall: NDArray[np.floating],
    steps: NDArray[np.integer],
    phases: NDArray[np.floating],
    amplitudes: NDArray[np.floating],
) -> NDArray[np.complex64]:
    turns = cycles[:, None] * steps + phases[:, None]
    angle = ((turns - np.floor(turns)) * (2 * np.pi)).astype(np.float32)
    size = (np.exp(np.maximum(fall[:, None] * steps, -80)) * amplitudes[:, None]).astype(np.float32)
    return size * np.cos(angle) + 1j * (size * np.sin(angle))
