"""Tests of the views: that a term can look at any view of a changed sound, and what loudness is."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from distill import DistillError, MagnitudeIF, Signal
from distill.views import Magnitude, StftMagnitude, Waveform
from distill_perceptual.views import AWeighted, KWeighted, Loudness, SumDifference


def signal(waveform, sample_rate=44_100):
    """Make a sound of its samples."""
    return Signal.from_waveform(waveform, MagnitudeIF(sample_rate=sample_rate, n_fft=512, hop=128))


def sine(frequency, sample_rate, seconds=3.0, amplitude=1.0):
    """Make one clip of a sine."""
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return amplitude * torch.sin(2 * math.pi * frequency * time)[None].float()


@pytest.fixture
def noise():
    """Four clips of white noise."""
    return torch.randn(4, 6000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("weighting", [AWeighted, KWeighted, SumDifference])
def test_a_view_of_the_changed_sound_is_that_view_of_its_waveform(weighting, noise):
    """An STFT of the changed sound is what torch makes of the changed waveform, of any view there is."""
    changed = signal(noise).view(weighting())
    expected = torch.stft(changed, 512, 128, 256, torch.hann_window(256), return_complex=True).abs()
    magnitude = signal(noise).view(weighting(StftMagnitude(n_fft=512, hop=128, win_length=256)))
    torch.testing.assert_close(magnitude, expected.clamp(min=1e-4), rtol=1e-4, atol=1e-4)
    spectrogram = signal(noise).view(weighting(Magnitude()))
    torch.testing.assert_close(spectrogram, signal(changed).view(Magnitude()))


def test_all_views_of_a_weighted_sound_share_its_waveform(noise):
    """Whoever looks at a view of it has the weighted waveform computed, once."""
    sound = signal(noise)
    sound.view(AWeighted(Magnitude()))
    assert sound.holds(AWeighted())
    assert not sound.holds(KWeighted())


def test_changes_can_be_made_one_after_the_other(noise):
    """The order of weighting and sum does not matter, as both are linear."""
    one = signal(noise).view(AWeighted(SumDifference(Waveform())))
    other = signal(noise).view(SumDifference(AWeighted(Waveform())))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_neighbouring_rows_become_sum_and_difference():
    """Rows 2i and 2i + 1 are left and right; sums and differences lie where they did."""
    rows = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.5, 0.0], [0.5, 1.0]])
    expected = [[4.0, 7.0], [-2.0, -3.0], [1.0, 1.0], [0.0, -1.0]]
    assert signal(rows).view(SumDifference()).tolist() == expected


def test_a_row_without_a_neighbour_is_refused():
    """An odd number of rows cannot be stereo, and the message says what is asked for."""
    with pytest.raises(DistillError) as caught:
        signal(torch.zeros(3, 100)).view(SumDifference())
    assert str(caught.value) == (
        "SumDifference: stereo sounds have their left channel in row 2i and their right one in row 2i + 1: "
        "got 3 rows\nPass both channels of each sound, or an even training.batch_size."
    )


@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 48_000, 96_000])
def test_the_standard_s_tone_has_its_loudness(sample_rate):
    """A full-scale sine of 997 Hz in one channel has -3.01 LKFS (ITU-R BS.1770-5, annex 1)."""
    loudness = signal(sine(997, sample_rate), sample_rate).view(Loudness(floor=-120))
    assert loudness[0, 5:-5].mean().item() == pytest.approx(-3.01, abs=0.005)


@settings(deadline=None, max_examples=10)
@given(st.floats(-50, 0))
def test_a_quieter_tone_is_as_much_quieter(gain_db):
    """Loudness falls by a LU for every decibel (as EBU Tech 3341 asks of meters)."""
    tone = sine(1000, 44_100, seconds=1, amplitude=10 ** (gain_db / 20))
    loudness = signal(tone).view(Loudness(floor=-120))
    assert loudness[0, 3].item() == pytest.approx(-3.01 + gain_db, abs=0.02)


def test_silence_is_as_loud_as_the_floor():
    """What is laid under the sound is all there is to hear."""
    assert signal(torch.zeros(1, 44_100)).view(Loudness(floor=-60)).tolist()[0] == pytest.approx([-60] * 7)


@pytest.mark.parametrize(
    ("samples", "blocks"), [(1, 1), (17_640, 1), (17_641, 2), (22_050, 2), (22_051, 3), (44_100, 7)]
)
def test_every_sample_is_in_a_block(samples, blocks):
    """Blocks of 400 ms every 100 ms, the last one ending in silence."""
    assert signal(torch.zeros(1, samples)).view(Loudness()).shape == (1, blocks)
