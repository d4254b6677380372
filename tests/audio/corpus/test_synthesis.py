"""The instruments of the demo corpus sound as their formulas say."""

import numpy as np
import pytest

from distill.audio.corpus.synthesis import Clock, Drum, bell, drum, pad, pluck

RATE = 44100


def spectrum(sound):
    """Return frequencies and amplitudes of a sound under a Hann window."""
    return np.fft.rfftfreq(len(sound), 1 / RATE), np.abs(np.fft.rfft(sound * np.hanning(len(sound))))


def peak_near(sound, frequency, width):
    """Return the frequency of the strongest partial within `width` of a frequency, interpolated."""
    frequencies, amplitudes = spectrum(sound)
    near = np.abs(frequencies - frequency) < width
    top = np.flatnonzero(near)[amplitudes[near].argmax()]
    below, at, above = np.log(amplitudes[top - 1 : top + 2])
    return frequencies[top] + 0.5 * (below - above) / (below - 2 * at + above) * frequencies[1]


def level_between(sound, start, end):
    """Return the RMS in dB between two times."""
    return 10 * np.log10(np.square(sound[round(start * RATE) : round(end * RATE)]).mean())


@pytest.fixture
def clock():
    """Two seconds at 44.1 kHz."""
    return Clock.lasting(2.0, RATE)


@pytest.fixture
def random():
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


def test_clock():
    """Two seconds at 10 Hz are 20 steps; the envelopes take the times they are given."""
    clock = Clock.lasting(2.0, 10)
    np.testing.assert_allclose(clock.seconds, np.arange(20) / 10)
    assert clock.decay(1.0)[[0, 10]] == pytest.approx([1, 1e-3])
    assert clock.rise(0.4)[:6] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])
    assert clock.fall(0.4)[-6:] == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("frequency", [82.407, 110.0, 146.832, 329.628])
def test_a_string_is_in_tune(clock, random, frequency):
    """The fundamental of a plucked string lies within 3 cents (0.17 %) of what was asked for."""
    string = pluck(clock, random, frequency=frequency, ring=3.0)
    assert string.shape == clock.seconds.shape
    assert peak_near(string, frequency, 20) == pytest.approx(frequency, rel=0.0017)


def test_a_string_decays_and_grows_darker(clock, random):
    """The fundamental falls by 60 dB in `ring` seconds, and high partials fall faster."""
    string = pluck(clock, random, frequency=110.0, ring=2.0)
    turning = np.exp(-2j * np.pi * 110.0 * clock.seconds)
    early, late = (np.abs(np.mean((string * turning)[start : start + 8820])) for start in (22050, 66150))
    assert 20 * np.log10(early / late) == pytest.approx(30, abs=3)
    frequencies, start = spectrum(string[:8192])
    end = spectrum(string[-8192:])[1]
    high = frequencies > 4000
    assert 10 * np.log10((start[high] ** 2).sum() / (end[high] ** 2).sum()) > 60


def test_a_bell_rings_at_sums_and_differences(clock, random):
    """FM at 1:1.4 gives partials at `f` and `f + 1.4 f`, and mirrors `f - 1.4 f` to `0.4 f`."""
    sound = bell(clock, random, frequency=400.0, ring=2.0)
    for partial in (400.0, 960.0, 160.0):
        assert peak_near(sound[:44100], partial, 100) == pytest.approx(partial, abs=2)
    assert level_between(sound, 0.01, 0.1) - level_between(sound, 1.5, 1.6) > 35


def test_a_bell_does_not_alias(random):
    """At a low rate the modulation is weaker, so that its side bands fade before Nyquist."""
    sound = bell(Clock.lasting(1.0, 8000), random, frequency=587.33, ring=2.0)
    amplitudes = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert amplitudes[-200:].max() < 1e-2 * amplitudes.max()


def test_a_drum_is_a_falling_body_and_a_band_of_noise(clock, random):
    """The body comes to rest on its pitch; the noise lies in its band and is gone when it should be."""
    kick = Drum(pitch=60, drop=1.0, body_ring=2.0, body_level=1.0, noise_band=(3000, 6000), noise_ring=0.2)
    sound = drum(clock, random, kind=kick)
    assert peak_near(sound[22050:], 60, 20) == pytest.approx(60, abs=0.5)
    frequencies, start = spectrum(sound[:4096])
    inside = start[(frequencies > 3000) & (frequencies < 6000)].mean()
    assert (
        start[frequencies > 12000].mean() < inside / 25
    )  # (6 kHz / f)^4, the mean over 12 to 22 kHz, is 1 / 48
    end = spectrum(sound[22050:26146])[1]
    assert end[(frequencies > 3000) & (frequencies < 6000)].mean() < inside / 1000


def test_a_pad_is_wide_swells_and_keeps_its_pitches(clock, random):
    """Both sides carry every note of the chord, a little apart; the sound swells in and out."""
    sound = pad(clock, random, frequencies=(220.0, 330.0), sweep=0.5)
    assert sound.shape == (88200, 2)
    for note in (220.0, 330.0):
        left, right = (peak_near(side, note, 8) for side in sound.T)
        assert left == pytest.approx(note * 0.997, abs=0.4)
        assert right == pytest.approx(note * 1.003, abs=0.4)
    left = sound[:, 0]
    assert np.abs(sound[[0, -1]]).max() < 1e-3
    assert level_between(left, 0.9, 1.1) - level_between(left, 0, 0.05) > 15
