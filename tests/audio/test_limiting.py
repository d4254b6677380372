"""Tests of distill.audio.limiting: sounds are brought within full scale."""

import math

import pytest
import torch

from distill.audio.limiting import limited, within_full_scale

RATE = 8000


def click(peak, samples=8000, place=4000):
    """Make a quiet sine of two channels, which is louder on the left, with a click at one place."""
    sine = torch.sin(2 * math.pi * 440 / RATE * torch.arange(samples))
    waveform = torch.stack([0.1 * sine, 0.05 * sine])
    waveform[0, place] = peak
    return waveform


def level(waveform):
    """Return the RMS in dB."""
    return 20 * math.log10(float(waveform.double().square().mean().sqrt()))


@pytest.mark.parametrize("samples", [1, 64, 65, 1000, 8000])
@pytest.mark.parametrize("gain", [0.5, 3.0, 1e4])
def test_no_sample_exceeds_full_scale(samples, gain):
    """Whatever the sound, no sample is above 1, and none is far below where all of them need less."""
    noise = gain * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    made = limited(noise, RATE)
    assert made.shape == noise.shape
    assert made.abs().amax() <= 1
    # One gain for all is never above the limiter's, which is the same for all channels.
    least = 1 / max(1.0, float(noise.abs().amax()))
    assert (made / noise >= least * (1 - 1e-5)).all()
    torch.testing.assert_close(made[0] * noise[1], made[1] * noise[0], rtol=1e-4, atol=1e-6)


def test_the_gain_is_smooth_and_local():
    """The click is brought to 1. Nothing changes from 15 ms on, and the gain by less than 3 % a sample."""
    sound = click(2.0)
    made = limited(sound, RATE)
    assert made[0, 4000] == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(made[:, :3880], sound[:, :3880])
    assert torch.equal(made[:, 4120:], sound[:, 4120:])
    steady = torch.full((1, 8000), 0.5)
    steady[0, 4000] = 2.0
    gain = 2 * limited(steady, RATE)[0]
    gain[4000] = gain[3999]
    assert gain.diff().abs().amax() < 0.03
    assert gain.amin() == pytest.approx(0.5, abs=1e-6)


def test_a_sound_is_turned_down_as_a_whole_if_it_may_be():
    """By hand: a peak of 4 is 12.04 dB above full scale, and the level of -25 dB becomes -37 dB."""
    sound = click(4.0)
    made = within_full_scale(sound, RATE, -38.0)
    assert made.attenuation == pytest.approx(12.0412, abs=1e-4)
    assert made.reduction == 0
    assert torch.equal(made.samples, sound / 4)
    within = within_full_scale(click(0.9), RATE, 0.0)
    assert torch.equal(within.samples, click(0.9))
    assert (within.attenuation, within.reduction) == (0, 0)


def test_peaks_are_limited_where_the_level_would_be_too_low():
    """The level is as low as it may be, and both amounts together are the 12.04 dB of the peak."""
    made = within_full_scale(click(4.0), RATE, -33.0)
    assert level(made.samples) == pytest.approx(-33.0, abs=0.02)
    assert made.samples.abs().amax() == pytest.approx(1.0, abs=1e-6)
    assert made.attenuation + made.reduction == pytest.approx(12.0412, abs=1e-4)
    assert 2 < made.reduction < 9


def test_peaks_are_limited_by_twelve_decibels_at_most():
    """A level that cannot be reached so is approached. By hand: the rest of the 12.04 dB is 0.04 dB."""
    made = within_full_scale(click(4.0), RATE, 0.0)
    assert made.attenuation == pytest.approx(0.0412, abs=1e-4)
    assert made.reduction == pytest.approx(12.0, abs=1e-4)
    assert made.samples.abs().amax() == pytest.approx(1.0, abs=1e-6)
