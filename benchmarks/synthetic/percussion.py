"""Percussion: modal sounds, drums, snares, hats, cymbals, claps, impacts."""

import numpy as np
from numpy.typing import NDArray

from .curves import Sound, decay, fade, log_uniform, phase_of, seconds, sine, wander
from .oscillators import Wavetable, damped
from .spectra import band_gain, bins, fast_size, moving_noise, random_gain, stationary_noise

_MEMBRANE = [1, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.6, 3.652, 4.06, 4.154]  # zeros of J_m
_BAR = [1, 2.756, 5.404, 8.933, 13.345, 18.638, 24.81]  # free ends, Euler and Bernoulli
_BELL = [0.5, 1, 1.19, 1.5, 2, 2.51, 2.66, 3.01, 4.03, 5.33, 6.7, 8.1, 9.6]  # hum, prime, tierce, quint, ...


def mode_ratios(rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    """Return the frequencies of a body's modes relative to its lowest."""
    if kind == "plate":
        m = np.arange(1, 9)
        grid = (m[:, None] ** 2 + (m[None] * rng.uniform(0.4, 1)) ** 2).ravel()
        return np.sort(grid)[:48] / grid.min()
    if kind == "tabla":
        return np.arange(1, 10) * np.exp(rng.normal(0, 0.01, 9))
    ratios = {"membrane": _MEMBRANE, "bar": _BAR, "bell": _BELL}.get(kind)
    if ratios is not None:
        return np.array(ratios) * np.exp(rng.normal(0, 0.015, len(ratios)))
    return np.sort(np.exp(rng.uniform(0, np.log(rng.uniform(4, 40)), int(rng.integers(3, 30)))))


def onset_noise(rng: np.random.Generator, n: int, sample_rate: int, t60: float | None = None) -> Sound:
    """Return a short burst of coloured noise [N] with a peak of about 1, for the onset of a struck sound."""
    length = min(n, int(sample_rate * 0.25))
    size = fast_size(length)
    gain = random_gain(rng, bins(size, sample_rate), 6, rng.uniform(-4, 3))
    x = stationary_noise(rng, length, gain, size)
    x = x * decay(length, sample_rate, log_uniform(rng, 0.004, 0.2) if t60 is None else t60, 0.0008)
    result = np.zeros(n, np.float32)
    result[:length] = fade(x / (np.abs(x).max() + 1e-9), 0, length // 4)
    return result


def modal(rng: np.random.Generator, n: int, sample_rate: int, kind: str | None = None) -> Sound:
    """Return a struck body: membrane, tabla, bar, bell, plate, or one with random modes."""
    kind = str(rng.choice(["membrane", "tabla", "bar", "bell", "plate", "other"])) if kind is None else kind
    low, high = {"membrane": (50, 400), "tabla": (70, 450), "bar": (150, 3000)}.get(kind, (80, 2500))
    f0 = log_uniform(rng, low, high)
    ratios = mode_ratios(rng, kind)
    ratios = ratios[ratios * f0 < 0.48 * sample_rate]
    longest = log_uniform(rng, 0.08, 1.2) if kind == "membrane" else log_uniform(rng, 0.1, 6)
    t60s = longest * ratios ** -rng.uniform(0.2, 1.3) * np.exp(rng.normal(0, 0.4, len(ratios)))
    amplitudes = ratios ** -rng.uniform(0, 1.2) * np.abs(rng.normal(0, 1, len(ratios))) + 1e-4
    frequencies = ratios * f0
    if rng.random() < 0.5:  # pairs of modes, which beat
        frequencies = np.append(frequencies, frequencies + rng.normal(0, 2, len(frequencies)))
        t60s, amplitudes = np.append(t60s, t60s), np.append(amplitudes, amplitudes * rng.random(len(ratios)))
    phases = rng.choice([0.0, 0.5], len(frequencies)) - 0.25 + rng.normal(0, 0.03, len(frequencies))
    x = damped(np.abs(frequencies), t60s, amplitudes, phases, n, sample_rate)
    x = x * (1 - np.exp(-seconds(n, sample_rate) / np.float32(log_uniform(rng, 0.0001, 0.004))))
    x = x / (np.abs(x).max() + 1e-9)
    return x + np.float32(log_uniform(rng, 0.01, 1)) * onset_noise(rng, n, sample_rate)


def cymbal(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a cymbal: hundreds of dense modes, and noise."""
    count = int(log_uniform(rng, 100, 600))
    frequencies = np.exp(rng.uniform(np.log(log_uniform(rng, 150, 3000)), np.log(20_000), count))
    longest = log_uniform(rng, 0.15, 5)
    t60s = longest * (frequencies / 1000) ** -rng.uniform(0, 0.8) * np.exp(rng.normal(0, 0.5, count))
    gain = random_gain(rng, frequencies, 5, rng.uniform(-1, 3))
    x = damped(frequencies, t60s, gain * np.abs(rng.normal(0, 1, count)), rng.random(count), n, sample_rate)
    x = (
        x
        / (np.abs(x).max() + 1e-9)
        * (1 - np.exp(-seconds(n, sample_rate) / np.float32(log_uniform(rng, 2e-4, 0.02))))
    )
    f = bins(1024, sample_rate)
    times = np.arange(-(-n // 512) + 2)[:, None] * (512 / sample_rate)
    fall = 6.91 / (longest * rng.uniform(0.5, 1.5) * np.maximum(f / 1000, 0.3) ** -rng.uniform(0, 0.5))
    wash = moving_noise(
        rng, n, random_gain(rng, f, 5, rng.uniform(0, 4)) * np.exp(-times * fall).astype(np.float32)
    )
    share = np.float32(log_uniform(rng, 0.05, 2) / (np.abs(wash).max() + 1e-9))
    return (
        x
        + share * fade(wash, 40, 0)
        + np.float32(log_uniform(rng, 0.01, 0.5)) * onset_noise(rng, n, sample_rate)
    )


def hat(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a hi-hat, shaker or maraca: bright noise or ringing squares with a short decay."""
    size = fast_size(n)
    f = bins(size, sample_rate)
    low, high = log_uniform(rng, 2000, 9000), log_uniform(rng, 9000, 40_000)
    band = band_gain(f, low, high, rng.uniform(6, 48))
    x = stationary_noise(rng, n, band * random_gain(rng, f, 4, rng.uniform(-1, 2)), size)
    x = x / (x.std() + 1e-9)
    if rng.random() < 0.5:
        time = seconds(n, sample_rate).astype(np.float64)
        metal = np.zeros(n, np.float32)
        for frequency in np.exp(rng.uniform(np.log(300), np.log(9000), 6)):
            metal += np.sign(sine(time * frequency + rng.random()))
        metal = np.diff(metal, 2, prepend=[0, 0])
        x = x * np.float32(rng.uniform(0, 1)) + metal / (metal.std() + 1e-9)
    shape = decay(n, sample_rate, log_uniform(rng, 0.04, 1.5), log_uniform(rng, 3e-4, 0.02))
    if rng.random() < 0.3:
        shape = shape + np.float32(log_uniform(rng, 0.02, 0.5)) * decay(
            n, sample_rate, log_uniform(rng, 0.2, 3), 0.001
        )
    return x * shape


def kick(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a bass drum: a sine that falls to 30..90 Hz, and a click, sometimes distorted."""
    end, octaves = log_uniform(rng, 30, 90), rng.uniform(0.3, 3.5)
    time = seconds(n, sample_rate)
    curve = np.exp2(octaves * np.exp(-time / np.float32(log_uniform(rng, 0.004, 0.08))))
    if rng.random() < 0.5:
        curve = curve * np.exp2(-time * np.float32(rng.uniform(0, 1)))
    phase = phase_of(curve * np.float32(end), sample_rate)
    body = sine(phase + rng.choice([0.0, 0.25])) * decay(n, sample_rate, log_uniform(rng, 0.12, 1.5), 0.001)
    if rng.random() < 0.4:
        body = body + np.float32(log_uniform(rng, 0.01, 0.5)) * sine(phase * 2) * decay(n, sample_rate, 0.2)
    if rng.random() < 0.5:
        body = np.tanh(np.float32(log_uniform(rng, 1, 12)) * body)
    return body + np.float32(log_uniform(rng, 0.003, 0.7)) * onset_noise(rng, n, sample_rate)


def pitched_drum(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a drum with a changing pitch and harmonics that decay at different rates: tom, tabla, conga."""
    f0, spectra = log_uniform(rng, 55, 450), 12
    length = n / sample_rate
    time = seconds(n, sample_rate)
    bend = rng.normal(0, 0.4) * np.exp(-time / np.float32(log_uniform(rng, 0.01, 0.3)))
    curve = np.exp2(np.clip(bend, -1, 2.5) + 0.003 * wander(rng, n, sample_rate, 8))
    count = int(min(rng.integers(2, 24), 0.4 * sample_rate / (f0 * curve.max())))
    k = np.arange(1, count + 1)
    t60s = log_uniform(rng, 0.1, 3) * k ** -rng.uniform(0.3, 1.5) * np.exp(rng.normal(0, 0.4, count))
    amplitudes = k ** -rng.uniform(0.3, 2) * np.exp(rng.normal(0, 0.7, count))
    moments = length * (np.arange(spectra) / (spectra - 1)) ** 2
    fall = np.exp(-6.91 * moments[:, None] / np.maximum(t60s, 0.02))
    turns = np.exp(2j * np.pi * rng.random(count))
    position = np.sqrt(time / np.float32(length)) * (spectra - 1)
    x = Wavetable(amplitudes * turns * fall)(phase_of(curve * np.float32(f0), sample_rate), position)
    x = x * (1 - np.exp(-time / np.float32(log_uniform(rng, 0.0003, 0.01))))
    return x / (np.abs(x).max() + 1e-9) + np.float32(log_uniform(rng, 0.005, 1)) * onset_noise(
        rng, n, sample_rate
    )


def snare(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a snare drum or rim shot: a few modes of a membrane, and rattling noise."""
    f0 = log_uniform(rng, 120, 350)
    ratios = np.array(_MEMBRANE[: int(rng.integers(2, 9))])
    t60s = log_uniform(rng, 0.06, 0.5) * np.exp(rng.normal(0, 0.3, len(ratios))) / np.sqrt(ratios)
    body = damped(ratios * f0, t60s, rng.random(len(ratios)) + 0.1, rng.random(len(ratios)), n, sample_rate)
    size = fast_size(n)
    f = bins(size, sample_rate)
    rattle = stationary_noise(
        rng, n, random_gain(rng, f, 5) * band_gain(f, log_uniform(rng, 300, 3000), 2e4, 9), size
    )
    rattle = (
        rattle
        / rattle.std()
        * decay(n, sample_rate, log_uniform(rng, 0.08, 0.8), log_uniform(rng, 3e-4, 0.008))
    )
    dull = rattle if rng.random() < 0.5 else _darkening(rng, n, sample_rate)
    share = np.float32(log_uniform(rng, 0.05, 2))
    return (
        body / np.abs(body).max() + share * dull / np.abs(dull).max() + 0.3 * onset_noise(rng, n, sample_rate)
    )


def _darkening(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return noise [N] whose high frequencies decay faster."""
    f = bins(512, sample_rate)
    times = np.arange(-(-n // 256) + 2)[:, None] * (256 / sample_rate)
    t60s = log_uniform(rng, 0.1, 1) * (np.maximum(f, 100) / 1000) ** -rng.uniform(0.1, 0.7)
    gains = np.exp(-6.91 * times / t60s).astype(np.float32) * random_gain(rng, f, 5, rng.uniform(-3, 1))
    return fade(moving_noise(rng, n, gains), 60, 0)


def clap(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a clap: a few bursts in quick succession and a tail, band-limited."""
    size = fast_size(n)
    centre = log_uniform(rng, 700, 2500)
    gain = band_gain(bins(size, sample_rate), centre * 0.7, centre * rng.uniform(1.2, 6), rng.uniform(9, 30))
    noise = stationary_noise(rng, n, gain, size)
    shape = np.zeros(n, np.float32)
    start = 0
    for _ in range(rng.integers(2, 6)):
        shape[start:] += decay(n - start, sample_rate, log_uniform(rng, 0.015, 0.05), 0.0005)
        start = min(start + int(sample_rate * rng.uniform(0.005, 0.018)), n - 2)
    shape[start:] += decay(n - start, sample_rate, log_uniform(rng, 0.1, 0.7), 0.001) * np.float32(
        rng.uniform(0.2, 0.9)
    )
    return noise * shape


def impact(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return an impact: noise whose high frequencies decay faster, with low modes."""
    x = _darkening(rng, n, sample_rate)
    x = x / (np.abs(x).max() + 1e-9)
    count = int(rng.integers(0, 20))
    if count:
        frequencies = np.exp(rng.uniform(np.log(40), np.log(4000), count))
        modes = damped(
            frequencies, rng.uniform(0.1, 2, count), rng.random(count), rng.random(count), n, sample_rate
        )
        x = x + modes * np.float32(log_uniform(rng, 0.05, 1) / np.abs(modes).max())
    if rng.random() < 0.25:
        x = (
            x[::-1].copy()
            if rng.random() < 0.3
            else x * (1 - np.exp(-seconds(n, sample_rate) / np.float32(0.05)))
        )
    return x
