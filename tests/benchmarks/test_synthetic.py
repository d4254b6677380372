"""Sounds made by a program: bounded, repeatable, of every family, with the pitches and bands they claim."""

import importlib
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RATE = 44_100


def load():
    """Import benchmarks/synthetic, which is on no path."""
    package = Path(__file__).parents[2] / "benchmarks" / "synthetic" / "__init__.py"
    spec = importlib.util.spec_from_file_location("synthetic", package)
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthetic"] = module
    spec.loader.exec_module(module)
    return module


synthetic = load()
curves, oscillators, percussion, recording, rooms, spectra, speech, strings, tones = (
    importlib.import_module(f"synthetic.{name}")
    for name in (
        "curves",
        "oscillators",
        "percussion",
        "recording",
        "rooms",
        "spectra",
        "speech",
        "strings",
        "tones",
    )
)


@pytest.fixture
def rng():
    """Return a source of randomness that is the same each time."""
    return np.random.default_rng(7)


def power(x):
    """Return the power spectrum of a windowed sound and its frequencies in Hz."""
    return np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2, np.fft.rfftfreq(len(x), 1 / RATE)


def share(x, low, high):
    """Return the part of a sound's energy that lies between two frequencies in Hz."""
    energy, frequency = power(x)
    return energy[(frequency >= low) & (frequency <= high)].sum() / energy.sum()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**64), sample_rate=st.sampled_from([16_000, 44_100, 48_000]))
def test_every_seed_gives_a_sound(seed, sample_rate):
    """Every sound lasts 0.3 to 6 seconds, is finite and not silent, and stays within full scale."""
    x = synthetic.make_sound(seed, sample_rate)
    assert x.dtype == np.float32
    assert x.ndim == 1
    assert 0.3 * sample_rate - 1 <= len(x) <= 6 * sample_rate
    assert np.isfinite(x).all()
    assert 5e-4 < np.abs(x).max() <= 1


@pytest.mark.parametrize("name", synthetic.FAMILIES)
def test_every_family_gives_sounds(name):
    """Every family gives sounds of the requested length that are finite and not silent."""
    family = synthetic.FAMILIES[name]
    for seed in range(3):
        n = round(family.shortest * RATE) + seed
        x = family.make(np.random.default_rng(seed), n, RATE)
        assert x.shape == (n,)
        assert np.isfinite(x).all()
        assert np.abs(x).max() > 1e-4


def test_what_is_longer_than_six_seconds_is_cut():
    """A sound is cut to six seconds, also where silence comes before or after it."""
    family = synthetic.Family(lambda rng, n, _: rng.standard_normal(n, dtype=np.float32), 1, 6, 6)
    lengths = {len(synthetic.make_sound_of(family, np.random.default_rng(seed), 8000)) for seed in range(15)}
    assert lengths == {48_000}


@pytest.mark.parametrize("sample_rate", [8000, 48_000])
def test_pitches_are_the_same_at_every_sample_rate(sample_rate):
    """A second of an oscillator of 440 Hz has 440 cycles."""
    phase = curves.phase_of(np.full(sample_rate, 440, np.float32), sample_rate)
    assert phase[-1] == pytest.approx(440)


def test_a_seed_is_a_sound():
    """A seed gives the same sound each time, whatever was made between, and another seed another."""
    first = synthetic.make_sound(11)
    other = synthetic.make_sound(12)
    np.testing.assert_array_equal(synthetic.make_sound(11), first)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_families_come_as_often_as_their_weights_say():
    """Each family is drawn as its weight says, to five standard deviations of a binomial distribution."""
    count = 4000
    drawn = Counter(synthetic.family_of(seed) for seed in range(count))
    total = sum(family.weight for family in synthetic.FAMILIES.values())
    for name, family in synthetic.FAMILIES.items():
        chance = family.weight / total
        assert abs(drawn[name] - count * chance) < 5 * np.sqrt(count * chance * (1 - chance)), name
        assert drawn[name] > 0


def test_levels_spread_over_60_db(rng):
    """Nine tenths of the levels lie within 30 dB of full scale, the others go down to -60 dB."""
    levels = 20 * np.log10([recording.peak_level(rng) for _ in range(2000)])
    assert -60 <= levels.min() < -57
    assert -0.1 < levels.max() <= 0
    assert np.mean(levels > -30) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("frequency", [55.0, 440.0, 3520.0])
def test_a_plain_tone_is_at_its_frequency(rng, frequency):
    """The strongest bin of a second of it is the nearest to the frequency that was asked for."""
    x = tones.plain_tone(rng, RATE, RATE, frequency)
    energy, bins = power(x)
    assert bins[energy.argmax()] == pytest.approx(frequency, abs=2)


def test_a_string_has_stiff_partials(rng):
    """Each partial is at or slightly above a multiple of the fundamental, the first within 0.2 percent."""
    x = strings.string(rng, 2 * RATE, RATE, 220.0, seed=3)
    energy, frequency = power(x)
    near = (frequency > 180) & (frequency < 260)
    assert frequency[near][energy[near].argmax()] == pytest.approx(220, rel=2e-3)


def test_a_partial_decays_by_60_db_in_its_t60():
    """Each of several partials equals the exponential and the cosine that define it at every sample."""
    frequencies, t60s = np.array([441.0, 5000.3, 30.0, 23_000.0]), np.array([0.5, 0.05, 3.0, 1.0])
    amplitudes, phases = np.array([1.0, 0.3, 0.2, 1.0]), np.array([0.0, 0.25, 0.6, 0.0])
    x = oscillators.damped(frequencies, t60s, amplitudes, phases, RATE + 17, RATE)
    time = np.arange(RATE + 17) / RATE
    expected = sum(
        a * 10 ** (-3 * time / t) * np.cos(2 * np.pi * (f * time + p))
        for f, t, a, p in zip(frequencies[:3], t60s[:3], amplitudes[:3], phases[:3], strict=True)
    )
    np.testing.assert_allclose(x, expected, atol=2e-5)


def test_high_modes_of_a_bar_die_first(rng):
    """The centre of the spectrum moves down between the first and the last quarter."""
    x = percussion.modal(rng, RATE, RATE, "bar")
    centres = []
    for part in (x[: RATE // 4], x[-RATE // 4 :]):
        energy, frequency = power(part)
        centres.append((energy * frequency).sum() / energy.sum())
    assert centres[1] < centres[0]


def test_a_wavetable_is_the_sum_of_its_harmonics():
    """A wavetable sums its harmonics at any phase, and half-way between two spectra gives their mean."""
    phase = np.cumsum(np.linspace(0.001, 0.01, 5000))
    spectra_ = np.array([[1, 0.5j, 0, -0.25], [0, 1, 0, 0]])
    k = np.arange(1, 5)
    expected = (spectra_[:, :, None] * np.exp(2j * np.pi * k[:, None] * phase)).real.sum(1)
    table = oscillators.Wavetable(spectra_)
    np.testing.assert_allclose(table(phase), expected[0], atol=2e-4)
    middle = table(phase, np.full(5000, 0.5, np.float32))
    np.testing.assert_allclose(middle, expected.mean(0), atol=2e-4)
    last = table(phase, np.full(5000, 1.0, np.float32))
    np.testing.assert_allclose(last, expected[1], atol=2e-4)


@pytest.mark.parametrize("n", [1000, 1280])
def test_transforms_are_those_of_numpy(rng, n):
    """The forward transform, with its padding, equals that of NumPy, and the inverse undoes it."""
    x = rng.standard_normal(n).astype(np.float32)
    spectrum = spectra.rfft(x, 1280)
    np.testing.assert_allclose(spectrum, np.fft.rfft(x, 1280), atol=1e-4)
    np.testing.assert_allclose(spectra.irfft(spectrum, 1280)[:n], x, atol=1e-5)


def test_noise_of_gain_one_has_variance_one(rng):
    """Noise of gain one has variance one, whether its spectrum moves or not."""
    n = 1 << 16
    assert spectra.moving_noise(rng, n, np.ones((3, 257), np.float32)).std() == pytest.approx(1, abs=0.02)
    assert spectra.stationary_noise(rng, n, np.ones(n // 2 + 1), n).std() == pytest.approx(1, abs=0.02)


def test_noise_stays_in_its_band(rng):
    """Nearly all energy of noise lies in its band; an octave beyond, its power is 60 dB lower."""
    n = 1 << 16
    gain = spectra.band_gain(spectra.bins(n, RATE), 1000, 2000, 60)
    x = spectra.stationary_noise(rng, n, gain, n)
    assert share(x, 900, 2200) > 0.98
    inside, outside = share(x, 1950, 2000), share(x, 3975, 4025)
    assert 10 * np.log10(inside / outside) == pytest.approx(60, abs=3)


def test_moving_noise_moves(rng):
    """Moving noise goes from the band of the first frame to that of the last."""
    f = spectra.bins(1024, RATE)
    frames = 60
    low, high = spectra.band_gain(f, 300, 600, 90), spectra.band_gain(f, 6000, 9000, 90)
    weight = np.linspace(0, 1, frames, dtype=np.float32)[:, None]
    x = spectra.moving_noise(rng, frames * 512, low * (1 - weight) + high * weight)
    assert share(x[:2048], 200, 800) > 0.9
    assert share(x[-2048:], 5500, 9500) > 0.9


def test_a_voice_is_at_its_pitch(rng):
    """Nearly all energy of a voice of 100 Hz lies within 10 Hz of multiples of 100 Hz."""
    n = RATE
    track = speech.sung(rng, 110, 1.0)
    x = speech.voiced(rng, n, RATE, track, np.full(n, 100, np.float32), 1.0)
    energy, frequency = power(x)
    near = np.abs(frequency - 100 * np.round(frequency / 100)) < 10
    assert energy[near].sum() / energy.sum() > 0.97


def test_a_room_decays(rng):
    """The response loses energy from fifth to fifth, and the high octaves lose it sooner."""
    response = rooms.impulse_response(rng, 6 * RATE, RATE)
    fifths = [(part**2).sum() for part in np.array_split(response, 5)]
    assert sorted(fifths, reverse=True) == fifths
    half = len(response) // 2
    assert share(response[half:], 8000, 20_000) < share(response[:half], 8000, 20_000)


def test_a_reverberated_sound_is_at_most_six_seconds_long(rng):
    """A reverberated sound is at least as long as the dry one, and at most six seconds."""
    rate = 8000
    x = rng.standard_normal(5 * rate).astype(np.float32)
    lengths = [len(rooms.reverberated(rng, x, rate)) for _ in range(30)]
    assert 5 * rate <= min(lengths) < max(lengths) == 6 * rate


def test_16_bits_are_multiples_of_their_step(rng):
    """Quantized samples are multiples of a 16-bit step and differ from the sound by at most two steps."""
    x = np.linspace(-0.9, 0.9, 1000, dtype=np.float32)
    for _ in range(4):
        y = recording.quantized(rng, x)
        np.testing.assert_array_equal(y * 32_768, np.round(y * 32_768))
        np.testing.assert_allclose(y, x, atol=2.5 / 32_768)


def test_trimming_leaves_the_loud_part(rng):
    """Trimming removes silence and leaves 0.3 s that hold the loud part."""
    x = np.zeros(2 * RATE, np.float32)
    x[RATE : RATE + 4410] = 0.5
    for _ in range(4):
        y = recording.trimmed(rng, x, RATE)
        assert len(y) == int(0.3 * RATE)
        assert (y == 0.5).sum() > 4000


def test_a_noise_floor_is_low(rng):
    """The level of a noise floor lies between -90 and -50 dB."""
    levels = [20 * np.log10(recording.noise_floor(rng, 4000, RATE).std()) for _ in range(20)]
    assert -90.5 < min(levels) < max(levels) < -49.5
    assert max(levels) - min(levels) > 10
