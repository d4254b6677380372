"""Banks of partials: harmonic ones by wavetables that move, decaying ones by one matrix product."""

import numpy as np
from numpy.typing import NDArray

from .curves import Sound
from .spectra import irfft


def wavetable(
    phase: NDArray[np.float64],
    harmonics: NDArray[np.complexfloating],
    position: NDArray[np.floating] | None = None,
) -> Sound:
    """Return the sum of all harmonics of an oscillator.

    Args:
        phase: Its phase in cycles, [N].
        harmonics: Complex amplitudes of the harmonics 1, 2, ... of each of K spectra, [K, H].
        position: Between which of the K spectra each sample lies, [N] within 0..K - 1.
    """
    spectra, count = harmonics.shape
    size = int(np.clip(1 << int(count * 16 - 1).bit_length(), 512, 16_384))
    spectrum = np.zeros((spectra, size // 2 + 1), np.complex64)
    spectrum[:, 1 : count + 1] = harmonics[:, : size // 2]
    tables = np.empty((spectra, size + 1), np.float32)
    tables[:, :-1] = irfft(spectrum, size) * (size / 2)
    tables[:, -1] = tables[:, 0]
    place = (phase - np.floor(phase)) * size
    index = np.minimum(place.astype(np.int32), size - 1)
    weight = (place - index).astype(np.float32)
    flat = tables.reshape(-1)
    if spectra == 1 or position is None:
        return _between(flat, index, weight)
    spectrum_index = np.clip(position.astype(np.int32), 0, spectra - 2)
    share = (position - spectrum_index).astype(np.float32)
    index += spectrum_index * (size + 1)
    first = _between(flat, index, weight)
    return first + share * (_between(flat, index + (size + 1), weight) - first)


def _between(table: Sound, index: NDArray[np.int32], weight: Sound) -> Sound:
    first = table[index]
    return first + weight * (table[index + 1] - first)


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

    A power z^(a + b) is z^a times z^b: the partials at the beginnings of all blocks, times the partials
    within a block, is one product of matrices.

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
