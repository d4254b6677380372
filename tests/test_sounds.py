"""Tests of distill.sounds: reconstruction in pieces, and new sounds out of the latents of old ones."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distill import sounds
from distill.assembly import make_model
from distill.representation import MagnitudeIF
from distill.settings import ModelSettings

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=256, hop=64)


@pytest.fixture(scope="module")
def vae():
    """Make a small model which has seen a spectrogram, so that what it decodes can be heard."""
    sizes = attrs.evolve(
        ModelSettings(),
        width=16,
        fine_width=8,
        latents_per_second=250,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 1),
    )
    model = make_model(sizes, REPRESENTATION, seed=0)
    model.begin_with(REPRESENTATION(tone(4000)))
    return model


class Copying(nn.Module):
    """A model that gives its input back, with its calls counted."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.frames = []

    def encode(self, spectrogram):
        """Copy, and note the frames."""
        self.frames.append(spectrogram.shape[-1])
        return spectrogram, None

    def sound(self, latents, representation, samples):
        """Give back what was copied."""
        assert latents.shape[-1] == representation.frames(samples)
        return representation.inverse(latents, samples)


def tone(samples, channels=1):
    """Make a sine of 440 Hz for each channel, one octave up from channel to channel."""
    pitches = torch.tensor([[440.0 * 2**channel] for channel in range(channels)])
    return 0.5 * torch.sin(2 * torch.pi * pitches * torch.arange(samples) / RATE)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 3000), channels=st.integers(1, 2))
def test_a_reconstruction_has_the_shape_of_its_original(vae, samples, channels):
    """Whatever the length, down to one sample, each channel comes back, finite and without a gradient."""
    made = sounds.reconstruct(vae, REPRESENTATION, tone(samples, channels))
    assert made.shape == (channels, samples)
    assert made.isfinite().all()
    assert not made.requires_grad


def test_channels_are_reconstructed_by_themselves(vae):
    """What is in the other channel does not matter."""
    stereo = tone(2000, channels=2)
    together = sounds.reconstruct(vae, REPRESENTATION, stereo)
    for channel in (0, 1):
        other = stereo.clone()
        other[1 - channel] = 0
        beside = sounds.reconstruct(vae, REPRESENTATION, other)
        torch.testing.assert_close(beside[channel], together[channel], rtol=1e-3, atol=1e-4)


def in_short_pieces(monkeypatch, piece=0.25, overlap=0.05):
    """Take recordings in pieces of 2000 samples that overlap by 400."""
    monkeypatch.setattr(sounds, "_PIECE_SECONDS", piece)
    monkeypatch.setattr(sounds, "_OVERLAP_SECONDS", overlap)


@pytest.mark.parametrize("samples", [1, 400, 1999, 2000, 2001, 2399, 2400, 3600, 3601, 5201, 12_345])
def test_pieces_join_without_a_seam(monkeypatch, samples):
    """A model that copies gives the whole recording back, however it falls into pieces."""
    in_short_pieces(monkeypatch)
    original = tone(samples, channels=2)
    made = sounds.reconstruct(Copying(), REPRESENTATION, original)
    torch.testing.assert_close(made, original, rtol=0, atol=1e-4)


def test_memory_stays_flat(monkeypatch):
    """No piece is longer than it is said to be, and no more are taken than needed."""
    in_short_pieces(monkeypatch)
    model = Copying()
    sounds.reconstruct(model, REPRESENTATION, tone(2000 + 4 * 1600))
    assert model.frames == 5 * [REPRESENTATION.frames(2000)]


def test_no_click_at_the_seams(monkeypatch, vae):
    """The steps from sample to sample are no larger where pieces meet than a whole reconstruction's."""
    original = tone(8000)
    whole = sounds.reconstruct(vae, REPRESENTATION, original)
    in_short_pieces(monkeypatch)
    made = sounds.reconstruct(vae, REPRESENTATION, original)
    assert not torch.equal(made, whole)
    largest = whole[:, 1000:-1000].diff().abs().max()
    for seam in (1600, 2000, 3200, 3600, 4800, 5200):
        assert made[:, seam - 8 : seam + 8].diff().abs().max() < 1.5 * largest


def test_latents_of_a_recording_are_the_mean_of_its_channels(vae):
    """One sequence per recording, `[D, T']`: the posterior's mean, averaged over channels."""
    stereo = tone(2000, channels=2)
    latents = sounds.encode(vae, REPRESENTATION, stereo)
    left, right = vae.encode(REPRESENTATION(stereo))[0]
    assert latents.shape == (vae.latent_size, vae.latent_frames(REPRESENTATION.frames(2000)))
    torch.testing.assert_close(latents, (left + right) / 2)


@pytest.fixture(scope="module")
def bank(vae):
    """Encode three recordings of different lengths."""
    return [sounds.encode(vae, REPRESENTATION, tone(samples)) for samples in (1600, 2400, 3200)]


def make(vae, bank, seed=0, **options):
    """Make one sound."""
    generator = torch.Generator().manual_seed(seed)
    return sounds.generate(vae, REPRESENTATION, bank, generator=generator, **options)


def test_a_seed_makes_a_sound(vae, bank):
    """One seed gives one sound, another one another, and a generator goes on to the next sound."""
    assert torch.equal(make(vae, bank), make(vae, bank))
    generator = torch.Generator().manual_seed(0)
    first, second = (sounds.generate(vae, REPRESENTATION, bank, generator=generator) for _ in range(2))
    assert torch.equal(first, make(vae, bank))
    assert first.shape != second.shape or not torch.equal(first, second)


@pytest.mark.parametrize("seed", range(5))
def test_sounds_can_be_heard(vae, bank, seed):
    """They are finite, not silent, one channel, and as long as the recordings they are mixed of."""
    sound = make(vae, bank, seed)
    assert sound.isfinite().all()
    assert sound.abs().max() > 1e-3
    assert len(sound) == 1
    assert 1600 - 128 <= sound.shape[1] <= 3200 + 128


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.33, 1.0, 2.0])
def test_sounds_are_as_long_as_asked_for(vae, bank, seconds):
    """To the sample."""
    assert make(vae, bank, seconds=seconds).shape == (1, int(seconds * RATE))


def test_temperature_scales_the_wander(vae, bank, monkeypatch):
    """At 0 the latents lie between two recordings; the way off that line grows with the temperature."""
    paths = []
    decode = vae.decode_whole
    monkeypatch.setattr(vae, "decode_whole", lambda latents: paths.append(latents) or decode(latents))
    for temperature in (0.0, 1.0, 2.0):
        make(vae, bank, temperature=temperature)
    straight, near, far = paths
    torch.testing.assert_close(far - straight, 2 * (near - straight))
    assert not torch.equal(near, straight)
    everything = torch.cat(bank, dim=1)
    assert (straight[0].amax(1) <= everything.amax(1) + 1e-5).all()
    assert (straight[0].amin(1) >= everything.amin(1) - 1e-5).all()


def test_one_recording_is_enough(vae):
    """A bank of one short sound is mixed with itself."""
    latents = sounds.encode(vae, REPRESENTATION, tone(10))
    assert make(vae, [latents]).isfinite().all()
    assert make(vae, [latents], seconds=0.5).shape == (1, 4000)
