"""Tones, texture and mel distance follow their definitions, by hand-made sounds and by numpy."""

import math

import numpy as np
import pytest
import torch

from distill.evaluation import mel_distance, texture, tones_kept
from distill.evaluation.hearing import mel_filterbank

RATE = 44_100
BIN = RATE / 4096
"""The spacing of the bins among which tones are sought, in Hz."""


def noise(samples, seed=0):
    """Draw white noise of RMS 0.1."""
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def sines(bins, levels=None, samples=RATE):
    """Add sines at the centres of some of 2049 bins, faded in and out, each at its level in dB."""
    time = torch.arange(samples, dtype=torch.float64)
    fade = torch.hann_window(samples, dtype=torch.float64)
    levels = [0.0] * len(bins) if levels is None else levels
    parts = [
        10 ** (level / 20) * torch.sin(2 * math.pi * k * time / 4096)
        for k, level in zip(bins, levels, strict=True)
    ]
    return 0.1 * fade * sum(parts)


@pytest.mark.parametrize(("kept", "share"), [(5, 1.0), (3, 0.6), (0, 0.0)])
def test_the_share_of_the_tones_that_are_kept(kept, share):
    """The share of five equal sines is that of the sines in the reconstruction; silence keeps none."""
    bins = [100, 200, 300, 400, 500]
    assert tones_kept(sines(bins[:kept]) + torch.zeros(RATE), sines(bins)) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(("decibels", "share"), [(5.9, 1.0), (-5.9, 1.0), (6.1, 0.0), (-6.1, 0.0)])
def test_a_tone_is_kept_within_six_decibels(decibels, share):
    """A tone up to 6 dB louder or quieter counts as kept."""
    original = sines([100, 300])
    assert tones_kept(10 ** (decibels / 20) * original, original) == share


@pytest.mark.parametrize(("bins", "decibels", "share"), [(1, 0, 1.0), (2, -0.1, 0.0), (2, 0.1, 1.0)])
def test_a_tone_may_move_by_a_bin(bins, decibels, share):
    """A tone moved by one bin is kept; moved by two, it is 6.02 dB weaker at its old bin."""
    steady = slice(2 * RATE, 4 * RATE)
    original, moved = (sines([100 + by, 300 + by], samples=6 * RATE)[steady] for by in (0, bins))
    found = tones_kept(10 ** (decibels / 20) * moved, original)
    assert found == pytest.approx(share, abs=0.1)  # but for the ends, where it is cut


@pytest.mark.parametrize(("level", "share"), [(-49.0, 0.5), (-51.0, 1.0)])
def test_tones_fifty_decibels_down_do_not_count(level, share):
    """A reconstruction without the quieter one of two sines lacks half of the tones, or none."""
    original = sines([200, 1200], [0.0, level], samples=2 * RATE)
    loudest = sines([200], samples=2 * RATE)
    # Only where the louder one is at its height is the quieter one within 50 dB of it.
    middle = slice(RATE - 12_000, RATE + 12_000)
    found = tones_kept(loudest[middle], original[middle])
    assert found == pytest.approx(share, abs=0.1)


def test_where_there_are_too_few_tones_there_is_no_share():
    """Noise, silence and a sound too short to have twenty tones have no share."""
    assert tones_kept(noise(RATE), noise(RATE)) is None
    assert tones_kept(noise(RATE), torch.zeros(RATE)) is None
    assert tones_kept(sines([100], samples=4096), sines([100], samples=4096)) is None


@pytest.mark.parametrize("factor", [1e-4, 1.0, 10.0])
def test_tones_and_texture_do_not_depend_on_the_level(pair, factor):
    """Both measures stay the same when both sounds are louder or quieter."""
    made, original = (factor * sound for sound in pair)
    assert tones_kept(made, original) == tones_kept(*pair)
    assert texture(made) == pytest.approx(texture(pair[0]), abs=1e-3)


def dilogarithm(x):
    """Compute the dilogarithm by its series."""
    return sum(x**k / k**2 for k in range(1, 2000))


def test_the_texture_of_white_noise_is_that_of_a_rayleigh_variable():
    """Each dB value has a deviation of 5.57 dB, less what a mean over nine neighbours takes from it.

    The logarithms of two Rayleigh variables whose complex correlation is r have a covariance of a quarter
    of the dilogarithm of r squared. Under a Hann window r is 2/3 for bins side by side and 1/6 for the next.
    """
    neper = 20 / math.log(10)
    covariance = {d: neper**2 / 4 * dilogarithm(r**2) for d, r in enumerate((1.0, 2 / 3, 1 / 6))}
    assert math.sqrt(covariance[0]) == pytest.approx(5.57, abs=0.005)
    weights = [(k == 4) - 1 / 9 for k in range(9)]
    variance = sum(
        weights[i] * weights[j] * covariance.get(abs(i - j), 0.0) for i in range(9) for j in range(9)
    )
    assert texture(noise(10 * RATE)) == pytest.approx(math.sqrt(variance), abs=0.03)


def test_a_smooth_spectrum_has_no_texture():
    """An impulse has the same magnitude in every bin."""
    impulse = torch.zeros(RATE)
    impulse[RATE // 2] = 1.0
    assert texture(impulse) == pytest.approx(0, abs=1e-6)


def test_silence_has_no_texture():
    """Silence has no texture, since it has no loudest cell to compare with."""
    assert texture(torch.zeros(RATE)) is None
    assert texture(noise(1)) is not None


def reference_filterbank(sample_rate, n_fft, bands):
    """Compute triangles on the mel scale by numpy."""
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    mels = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + sample_rate / 1400), bands + 2)
    corners = 700 * (np.exp(mels / 1127) - 1)
    return np.array(
        [np.interp(frequencies, corners[band : band + 3], [0, 1, 0]) for band in range(bands)]
    )  # fmt: skip


def reference_mel_distance(made, original, sample_rate):
    """Compute the distance in mel bands by numpy."""
    distances = []
    for n_fft, bands in ((2048, 80), (512, 20)):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        powers = []
        for sound in (made, original):
            padded = np.pad(sound.double().numpy(), n_fft // 2)
            starts = range(0, len(padded) - n_fft + 1, n_fft // 4)
            spectra = np.array([np.fft.rfft(padded[start : start + n_fft] * window) for start in starts])
            powers.append(np.abs(spectra) ** 2 @ reference_filterbank(sample_rate, n_fft, bands).T)
        floor = powers[1].max() / 1e8
        one, other = (10 * np.log10(np.maximum(power, floor)) for power in powers)
        distances.append(np.abs(one - other).mean())
    return np.mean(distances)


@pytest.mark.parametrize("sample_rate", [8000, RATE])
@pytest.mark.parametrize("quiet", [1.0, 1e-3])
def test_mel_distance_follows_its_definition(sample_rate, quiet):
    """The distance equals a numpy implementation, where the floor is in force and where it is not."""
    made, original = quiet * noise(5000, 1), noise(5000)
    expected = reference_mel_distance(made, original, sample_rate)
    assert mel_distance(made, original, sample_rate) == pytest.approx(expected, abs=1e-9)


def test_half_the_amplitude_is_six_decibels_away_in_every_band():
    """Noise at half its amplitude is 6.02 dB away, no band of it being near the floor."""
    assert mel_distance(noise(RATE) / 2, noise(RATE), RATE) == pytest.approx(20 * math.log10(2), abs=1e-6)


@pytest.mark.parametrize("sample_rate", [1000, 8000, RATE, 384_000])
def test_mel_bands_follow_the_sample_rate(sample_rate):
    """The triangles span 20 Hz to half of any sample rate, and those that hold no bin are left out."""
    for n_fft, bands in ((2048, 80), (512, 20)):
        weights = mel_filterbank(sample_rate, n_fft, bands).numpy()
        expected = reference_filterbank(sample_rate, n_fft, bands)
        np.testing.assert_allclose(weights, expected[expected.any(axis=1)], atol=1e-9)
        assert weights.any(axis=1).all()
    assert len(mel_filterbank(RATE, 2048, 80)) == 80
    assert len(mel_filterbank(384_000, 2048, 80)) < 80


def test_measures_are_those_of_the_first_implementation(pair):
    """The script in which they were first tried gave these values for this pair of sounds."""
    made, original = pair
    assert tones_kept(made, original) == 0.5
    assert mel_distance(made, original, RATE) == pytest.approx(9.718722, abs=1e-5)
    # There, the running mean took levels of 0 dB beyond both ends of the spectrum.
    assert texture(original) == pytest.approx(7.174853, abs=0.04)
    assert texture(made) == pytest.approx(3.763814, abs=0.04)


@pytest.mark.parametrize("samples", [1, 100, 4095])
@pytest.mark.parametrize("level", [0.0, 1e-9, 1.0])
def test_nothing_is_ever_not_a_number(samples, level):
    """No measure is NaN, however short or quiet one of the sounds is."""
    for made, original in (
        (level * noise(samples), noise(samples, 1)),
        (noise(samples, 1), level * noise(samples)),
        (torch.zeros(samples), torch.zeros(samples)),
    ):
        values = tones_kept(made, original), texture(made), mel_distance(made, original, RATE)
        assert all(value is None or math.isfinite(value) for value in values)
