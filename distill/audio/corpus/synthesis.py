"""Four synthesized instruments for the demo corpus.

Shapes: `N` samples. Frequencies are in Hz, times in seconds. Levels are arbitrary.
"""

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Sound = NDArray[np.float64]


@frozen(eq=False)
class Clock:
    """The time axis of a sound: `seconds` `[N]` from its start, at `sample_rate` Hz."""

    sample_rate: int
    seconds: Sound

    @classmethod
    def lasting(cls, seconds: float, sample_rate: int) -> "Clock":
        """Return the time axis of a sound of `seconds`."""
        return cls(sample_rate, np.arange(round(seconds * sample_rate)) / sample_rate)

    def decay(self, ring: float) -> Sound:
        """Return an exponential decay `[N]` from 1 by 60 dB in `ring` seconds."""
        return np.exp(-math.log(1000) * self.seconds / ring)

    def rise(self, duration: float) -> Sound:
        """Return an envelope `[N]` that rises linearly from 0 to 1 in `duration` seconds and stays at 1."""
        return np.minimum(self.seconds / duration, 1)

    def fall(self, duration: float) -> Sound:
        """Return an envelope `[N]` that stays at 1 and falls linearly to 0 in the last `duration` seconds."""
        return self.rise(duration)[::-1]


def pluck(clock: Clock, random: np.random.Generator, *, frequency: float, ring: float) -> Sound:
    """Return a plucked string `[N]` that decays by 60 dB in `ring` seconds (Karplus and Strong, 1983).

    The delay of the loop is the period minus half a sample, the delay of the averaging filter. The fractional
    part of the delay is interpolated, so that the string is in tune.
    """
    period = clock.sample_rate / frequency
    delay = int(period - 0.5)
    fraction = period - 0.5 - delay
    taps = np.convolve([0.5, 0.5], [1 - fraction, fraction]) * 10 ** (-3 / (frequency * ring))
    burst = random.uniform(-1, 1, delay)
    burst -= np.roll(burst, delay // 5)  # plucked at a fifth of its length: every fifth partial is missing
    lead = len(taps) - 1
    string = np.zeros(lead + len(clock.seconds) + delay)
    string[lead : lead + delay] = burst
    # Each period is computed from the one before it.
    for start in range(lead + delay, len(string) - delay + 1, delay):
        string[start : start + delay] = sum(
            tap * string[start - delay - lag : start - lag] for lag, tap in enumerate(taps)
        )
    return string[lead : lead + len(clock.seconds)]


def bell(clock: Clock, random: np.random.Generator, *, frequency: float, ring: float) -> Sound:
    """Return a bell `[N]`: FM with a modulator at 1.4 times the carrier frequency (Chowning, 1973).

    Amplitude and modulation index decay together, so that the sound becomes purer. Two slightly detuned
    carriers beat. The index is limited so that the side bands (Carson's rule) do not alias.
    """
    modulator = 1.4 * frequency
    index = min(6.0, (0.45 * clock.sample_rate - frequency) / modulator - 1)
    decay = clock.decay(ring)
    modulation = index * decay * np.sin(2 * np.pi * modulator * clock.seconds)
    carrier = 2 * np.pi * frequency * clock.seconds + modulation
    beat = 1.003 * carrier + random.uniform(-0.8, 0.8)  # nearly in phase, so that the strike is loud
    return clock.rise(0.001) * decay * (np.sin(carrier) + 0.3 * np.sin(beat))


@frozen
class Drum:
    """Parameters of a drum: a tone that falls by `drop` octaves to `pitch`, and band-limited noise."""

    pitch: float
    drop: float
    body_ring: float
    body_level: float
    noise_band: tuple[float, float]
    noise_ring: float


def drum(clock: Clock, random: np.random.Generator, *, kind: Drum) -> Sound:
    """Return a drum `[N]`."""
    frequency = kind.pitch * np.exp2(kind.drop * np.exp(-clock.seconds / 0.03))
    body = clock.decay(kind.body_ring) * np.sin(2 * np.pi * np.cumsum(frequency) / clock.sample_rate)
    noise = _filter_band(random.uniform(-1, 1, len(clock.seconds)), clock.sample_rate, kind.noise_band)
    noise *= clock.decay(kind.noise_ring) / np.abs(noise).max()
    return clock.rise(0.0005) * (kind.body_level * body + noise)


def _filter_band(noise: Sound, sample_rate: int, band: tuple[float, float]) -> Sound:
    """Apply the magnitude response of a fourth-order Butterworth high-pass and low-pass filter."""
    low, high = band
    frequency = np.maximum(np.fft.rfftfreq(len(noise), 1 / sample_rate), 1e-3)
    response = 1 / np.sqrt((1 + (low / frequency) ** 8) * (1 + (frequency / high) ** 8))
    return np.fft.irfft(np.fft.rfft(noise) * response, len(noise))


def pad(clock: Clock, random: np.random.Generator, *, frequencies: tuple[float, ...], sweep: float) -> Sound:
    """Return a sustained chord `[N, 2]` of sawtooth-like voices, detuned to left and right, with a filter.

    The filter's cutoff oscillates around 1200 Hz by an octave, `sweep` times per second.
    """
    cutoff = 1200 * np.exp2(np.sin(2 * np.pi * (sweep * clock.seconds + random.uniform())))
    detune = np.array([[0.997], [1.003]])
    out = np.zeros((2, len(clock.seconds)))
    for frequency in frequencies:
        slope = (frequency / cutoff) ** 4
        # A slow phase drift, different in each voice, makes a chorus.
        drift_rate, drift_start, start = random.uniform((0.3, 0, 0), (0.8, 1, 1), (2, 3)).T[:, :, None]
        drift = 0.05 * np.sin(2 * np.pi * (drift_rate * clock.seconds + drift_start))
        fundamental = np.exp(2j * np.pi * (frequency * detune * clock.seconds + drift + start))
        partial = np.ones_like(fundamental)
        for number in range(1, min(16, int(0.45 * clock.sample_rate / frequency)) + 1):
            partial *= fundamental
            out += partial.imag / (number * np.sqrt(1 + number**4 * slope))
    envelope: Sound = np.sin(np.pi / 2 * clock.rise(0.3) * clock.fall(0.5)) ** 2
    return (out * envelope).T
