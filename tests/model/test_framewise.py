"""Tests of distill.model.framewise: phases found as magnitudes come in."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.model.framewise import FramewisePhases
from distill.spectral.representation import MagnitudeIF

REPRESENTATION = MagnitudeIF(8000, n_fft=256, hop=64)
CPU = torch.device("cpu")
SECONDS = torch.arange(8000) / 8000


def made_of(log_magnitude, parts=None, representation=REPRESENTATION):
    """Return the waveform of log-magnitudes that come in parts of these numbers of frames."""
    phases = FramewisePhases(representation, len(log_magnitude), CPU)
    pieces = log_magnitude.split(parts or log_magnitude.shape[-1], dim=-1)
    return torch.cat([*(phases(piece) for piece in pieces), phases.finish()], dim=1)


def convergence(waveform, wanted):
    """Return how far the amplitudes of a waveform are off, in dB beside those wanted."""
    made = REPRESENTATION.amplitude(REPRESENTATION(waveform)[:, 0])
    wanted = REPRESENTATION.amplitude(wanted)
    return 20 * math.log10(float((made - wanted).norm() / wanted.norm()))


def tones():
    """Return two tones, one of which rises from 500 to 1500 Hz, and a click."""
    sound = 0.3 * torch.sin(2 * torch.pi * 2500 * SECONDS)
    sound += 0.3 * torch.sin(2 * torch.pi * (500 * SECONDS + 500 * SECONDS.square()))
    sound[4000] += 0.9
    return sound[None]


def test_tones_and_clicks_come_back():
    """The amplitudes are off by at most -20 dB, where phases drawn at random leave -4 dB or so."""
    wanted = REPRESENTATION(tones())[:, 0]
    drawn = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert convergence(REPRESENTATION.inverse(torch.stack([wanted, drawn], 1)), wanted) > -6
    assert convergence(made_of(wanted), wanted) < -20


def test_noise_keeps_its_level():
    """The level of white noise is off by less than half a decibel."""
    noise = 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(1))
    made = made_of(REPRESENTATION(noise)[:, 0])
    assert 20 * (made.std() / noise.std()).log10() == pytest.approx(0, abs=0.5)


@settings(max_examples=10, deadline=None)
@given(frames=st.integers(1, 40), size=st.integers(1, 45))
def test_how_frames_are_cut_changes_nothing(frames, size):
    """Parts of any size give the same samples, `samples(T)` in all."""
    log_magnitude = REPRESENTATION(tones().repeat(2, 1))[:, 0, :, 20 : 20 + frames]
    made = made_of(log_magnitude, [min(size, frames - at) for at in range(0, frames, size)])
    assert torch.equal(made, made_of(log_magnitude))
    assert made.shape == (2, REPRESENTATION.samples(frames))


@pytest.mark.parametrize(("hop", "lookahead"), [(128, 1), (64, 3), (100, 2), (32, 7)])
def test_samples_wait_for_frames_that_overlap_them_alone(hop, lookahead):
    """After S frames, samples are final up to half a frame before the one `lookahead` ago."""
    representation = MagnitudeIF(8000, n_fft=256, hop=hop)
    phases = FramewisePhases(representation, 1, CPU)
    assert phases.lookahead == lookahead
    done = phases(representation(tones())[:, 0, :, :20])
    assert done.shape == (1, (20 - lookahead) * hop - 128)


def test_rows_are_apart():
    """A row of a batch is what it is alone."""
    both = REPRESENTATION(torch.cat([tones(), tones().flip(1)]))[:, 0]
    torch.testing.assert_close(made_of(both)[1:], made_of(both[1:]), rtol=0, atol=1e-4)


def test_silence_is_silent():
    """Not a sample differs from 0, whatever phases are drawn."""
    assert not made_of(torch.zeros(1, REPRESENTATION.bins, 12)).any()
