"""Control curves: random curves, envelopes, phases. `N` samples."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Sound: TypeAlias = NDArray[np.float32]
CONTROL_HOP = 64  # samples between the points of a slow curve


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between `low` and `high` whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def normalized(x: Sound) -> Sound:
    """Return the sound scaled to a peak of 1. Silence stays silent."""
    return x / np.float32(max(float(np.abs(x).max()), 1e-9))


def seconds(n: int, sample_rate: int) -> Sound:
    """Return the time of each sample in seconds, [N]."""
    return np.arange(n, dtype=np.float32) / np.float32(sample_rate)


def upsample(control: NDArray[np.floating], n: int, hop: int = CONTROL_HOP) -> Sound:
    """Interpolate points that are `hop` samples apart linearly, [N]. The last point is held."""
    points = -(-n // hop) + 1
    control = np.asarray(control[:points], dtype=np.float32)
    if len(control) < points:
        control = np.append(control, np.full(points - len(control), control[-1], np.float32))
    ramp = np.arange(hop, dtype=np.float32) / hop
    return (control[:-1, None] + np.diff(control)[:, None] * ramp).reshape(-1)[:n]


def wander(rng: np.random.Generator, n: int, sample_rate: int, rate: float) -> Sound:
    """Return a smooth curve [N] through `rate` random points per second, of unit variance."""
    position = np.arange(-(-n // CONTROL_HOP) + 1) * (CONTROL_HOP * rate / sample_rate) + rng.random()
    index = position.astype(int)
    weight = position - index
    weight = weight * weight * (3 - 2 * weight)
    points = rng.standard_normal(index[-1] + 2)
    return upsample(points[index] * (1 - weight) + points[index + 1] * weight, n)


def phase_of(frequency: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Return the phase in cycles, [N], of an oscillator with the frequency [N] in Hz."""
    return np.cumsum(frequency.astype(np.float64)) / sample_rate


def sine(phase: NDArray[np.float64]) -> Sound:
    """Return the sine of a phase in cycles. The phase is wrapped before the conversion to float32."""
    return np.sin((phase - np.floor(phase)).astype(np.float32) * np.float32(2 * np.pi))


def decay(n: int, sample_rate: int, t60: float, attack: float = 0.0) -> Sound:
    """Return [N] samples that rise within `attack` and fall by 60 dB in `t60` seconds."""
    time = seconds(n, sample_rate)
    curve = np.exp(time * np.float32(-6.91 / t60))
    return curve if attack <= 0 else curve * (1 - np.exp(time * np.float32(-3 / attack)))


def fade(x: Sound, start: int, end: int) -> Sound:
    """Return the sound with its first `start` and last `end` samples faded by half a cosine."""
    x = x.copy()
    start, end = min(start, len(x)), min(end, len(x))
    if start:
        x[:start] *= 0.5 - 0.5 * np.cos(np.pi * (np.arange(start, dtype=np.float32) + 0.5) / start)
    if end:
        x[-end:] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(end, dtype=np.float32) + 0.5) / end)
    return x


def pitch_curve(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return a random factor [N] for a pitch, with vibrato, glides and drift, each at random."""
    octaves = np.zeros(n, np.float32)
    time = seconds(n, sample_rate)
    if rng.random() < 0.35:
        onset = 1 - np.exp(-time / np.float32(log_uniform(rng, 0.05, 1)))
        depth = log_uniform(rng, 0.005, 0.08)
        octaves += depth * onset * np.sin(time * np.float32(2 * np.pi * rng.uniform(3, 8)))
    if rng.random() < 0.25:
        length = log_uniform(rng, 0.02, 1.5)
        octaves += rng.normal(0, 0.5) * np.exp(-time / np.float32(length))
    if rng.random() < 0.15:
        octaves += rng.normal(0, 0.6) * time / time[-1]
    if rng.random() < 0.4:
        octaves += log_uniform(rng, 0.001, 0.03) * wander(rng, n, sample_rate, log_uniform(rng, 1, 15))
    return np.exp2(np.clip(octaves, -2, 2))


def envelope(rng: np.random.Generator, n: int, sample_rate: int) -> Sound:
    """Return an amplitude curve [N] within 0..1 of a random kind.

    Kinds: percussive, attack-decay-sustain-release, swell, reversed, cut at both ends, repeated.
    """
    length = n / sample_rate
    kind = rng.choice(6, p=[0.38, 0.25, 0.15, 0.05, 0.1, 0.07])
    if kind == 0:
        curve = decay(n, sample_rate, length * log_uniform(rng, 0.1, 3), log_uniform(rng, 0.0005, 0.05))
    elif kind == 1:
        attack, fall, release = (
            log_uniform(rng, 0.002, 0.3),
            log_uniform(rng, 0.02, 1),
            rng.uniform(0.02, 0.5),
        )
        sustain = log_uniform(rng, 0.1, 1)
        end = length * rng.uniform(0.5, 1)
        points = np.arange(-(-n // CONTROL_HOP) + 1) * (CONTROL_HOP / sample_rate)
        body = sustain + (1 - sustain) * np.exp(-np.maximum(points - attack, 0) / fall)
        control = np.minimum(points / attack, 1) * body
        curve = upsample(control * np.exp(-np.maximum(points - end, 0) * 5 / release), n)
    elif kind == 2:
        position = np.linspace(0, 1, n, dtype=np.float32)
        top = rng.uniform(0.2, 0.95)
        rise = np.minimum(position / top, (1 - position) / (1 - top))
        curve = np.clip(rise, 0, 1) ** np.float32(rng.uniform(0.5, 3))
    elif kind == 3:
        curve = decay(n, sample_rate, length * rng.uniform(0.4, 2), 0.001)[::-1]
    elif kind == 4:
        curve = np.ones(n, np.float32)
    else:
        rate = log_uniform(rng, 2, 16)
        beat = (seconds(n, sample_rate) * np.float32(rate)) % 1
        curve = np.exp(-beat * np.float32(log_uniform(rng, 1, 12))) * (
            1 - np.exp(-beat * np.float32(500 / rate))
        )
    if rng.random() < 0.2:
        depth = rng.uniform(0.1, 0.9)
        wave = np.sin(seconds(n, sample_rate) * np.float32(2 * np.pi * log_uniform(rng, 2, 20)))
        curve = curve * (1 - depth * (0.5 + 0.5 * wave))
    soft = int(sample_rate * log_uniform(rng, 0.0005, 0.02))
    return fade(np.ascontiguousarray(curve, np.float32), soft // 2, 0 if rng.random() < 0.1 else soft)
