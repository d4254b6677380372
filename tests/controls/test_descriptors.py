"""Tests of distill.controls.descriptors, on sounds whose values follow from a calculation."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from distill.controls import descriptors
from distill.controls.descriptors import DESCRIPTORS, describe

RATE = 48_000
TIME = torch.arange(RATE) / RATE


def sine(hertz, amplitude=1.0):
    """Make a second of a sine `[1, N]`."""
    return amplitude * torch.sin(2 * math.pi * hertz * TIME)[None]


def noise(seed=0):
    """Make a second of white noise `[1, N]`."""
    return 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("hertz", "octaves"), [(250, -2.0), (1000, 0.0), (4000, 2.0), (30, math.log2(0.03125))]
)
def test_brightness_of_a_sine_is_its_pitch(hertz, octaves):
    """The brightness of a sine is its pitch in octaves re 1 kHz, but 31.25 Hz below 62.5 Hz (MPEG-7)."""
    assert describe(sine(hertz), RATE)["brightness"] == pytest.approx(octaves, abs=0.02)


def test_brightness_is_weighted_by_energy():
    """The brightness of two sines is the mean of their octaves weighted by energy: (4 * -1 + 1 * 1) / 5."""
    both = sine(500, 0.4) + sine(2000, 0.2)
    assert describe(both, RATE)["brightness"] == pytest.approx(-0.6, abs=0.02)
    assert describe(torch.cat([sine(500, 0.4), sine(2000, 0.2)]), RATE)["brightness"] == pytest.approx(
        -0.6, abs=0.02
    )


def test_brightness_of_white_noise():
    """White noise has the mean of log2(f / 1 kHz) over 0..24 kHz, log2(24) - 1 / ln 2, but for low bins."""
    assert describe(noise(), RATE)["brightness"] == pytest.approx(math.log2(24) - 1 / math.log(2), abs=0.02)


def test_loudness_is_that_of_the_standard():
    """A sine of 997 Hz at full scale in one channel has -3.01 (BS.1770-4); in two channels 3.01 dB more."""
    one = sine(997)
    assert descriptors.loudness(one, RATE) == pytest.approx(-3.01, abs=0.01)
    assert descriptors.loudness(one.expand(2, -1), RATE) == pytest.approx(0.0, abs=0.01)
    assert descriptors.loudness(0.5 * one, RATE) == pytest.approx(-3.01 - 6.02, abs=0.01)
    assert descriptors.loudness(torch.zeros(1, 100), RATE) == pytest.approx(-120.691)


def test_loudness_of_noise_is_that_of_the_filters():
    """The loudness of noise equals that of SciPy's filters with the coefficients of the standard."""
    samples = noise().double().numpy()[0]
    b1 = [1.53512485958697, -2.69169619938638, 1.19839281085285]
    filtered = lfilter(b1, [1.0, -1.69065929318241, 0.73248077421585], samples)
    filtered = lfilter([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621], filtered)
    expected = -0.691 + 10 * np.log10(np.mean(filtered**2))
    assert descriptors.loudness(noise(), RATE) == pytest.approx(expected, abs=0.01)


def test_noisiness_of_noise_and_of_a_tone():
    """White noise has 10 log10(exp(-gamma)), also with a slope or several channels; a tone has far less."""
    flat = -10 * np.euler_gamma / math.log(10)
    assert describe(noise(), RATE)["noisiness"] == pytest.approx(flat, abs=0.15)
    dark = torch.from_numpy(lfilter([1.0], [1.0, -0.9], noise().numpy())).float()
    assert describe(dark, RATE)["noisiness"] == pytest.approx(flat, abs=0.3)
    assert describe(sine(3000), RATE)["noisiness"] < -30
    assert -30 < describe(sine(3000, 0.1) + noise(), RATE)["noisiness"] < -5


@pytest.mark.parametrize("milliseconds", [80, 200, 400])
def test_attack_of_a_linear_rise(milliseconds):
    """The attack of a linear rise lasts 70 % of it, from 20 % to 90 % of the peak."""
    rise = (TIME * 1000 / milliseconds).clamp(max=1)
    attack = describe(rise * sine(1000), RATE)["attack"]
    assert 2**attack == pytest.approx(0.7 * milliseconds, rel=0.05)


def test_attack_begins_after_what_came_before():
    """It is that of the highest peak: what is below 20 % of it does not count."""
    late = torch.cat([0.1 * sine(1000), sine(1000) * (TIME * 5).clamp(max=1)], dim=1)
    assert 2 ** describe(late, RATE)["attack"] == pytest.approx(140, rel=0.1)


def test_silence_has_descriptors():
    """Silence and a single sample have finite descriptors that do not depend on rounding errors."""
    assert describe(torch.zeros(2, 1000), RATE) == {
        "brightness": 0.0, "loudness": pytest.approx(-120.691), "noisiness": 0.0, "attack": 0.0,
    }  # fmt: skip
    assert all(math.isfinite(value) for value in describe(torch.ones(1, 1), RATE).values())


def test_each_has_a_unit_and_a_source():
    """Each descriptor has a unit and a source, which the axes show."""
    assert {each.name: each.unit for each in DESCRIPTORS.values()} == {
        "brightness": "octaves", "loudness": "dB", "noisiness": "dB", "attack": "doublings",
    }  # fmt: skip
    assert all(each.source for each in DESCRIPTORS.values())
