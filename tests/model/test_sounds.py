"""Tests of distill.model.sounds: reconstruction in pieces, and new sounds out of the latents of old ones."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distill.config.settings import ModelSettings
from distill.model import sounds
from distill.model.building import make_model
from distill.model.channels import coherence_of
from distill.spectral.representation import MagnitudeIF

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=256, hop=64)


@pytest.fixture(scope="module")
def vae(small_vae):
    """Make a small model which has seen a spectrogram, so that what it decodes can be heard."""
    return small_vae(REPRESENTATION, tone(4000))


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

    def sound(self, latents, representation, samples, noise):
        """Return what was copied."""
        assert latents.shape[-1] == noise.shape[-1] == representation.frames(samples)
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


def by_the_model(vae, waveform):
    """Encode and decode channels each for itself, by the model alone."""
    with torch.no_grad():
        return vae.sound(vae.encode(REPRESENTATION(waveform))[0], REPRESENTATION, waveform.shape[-1])


def test_one_channel_is_what_the_model_makes_of_it(vae):
    """One channel equals what the model makes of it, to the last bit."""
    assert torch.equal(sounds.reconstruct(vae, REPRESENTATION, tone(2000)), by_the_model(vae, tone(2000)))


def stereo(samples, correlation, seed=100):
    """Make a tone in both channels with noise in each, so that they correlate about so, at unequal levels."""
    noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))
    both = abs(correlation) ** 0.5 * 2**0.5 * torch.sin(torch.arange(samples) * 0.3)
    sign = torch.tensor([[1.0], [-1.0 if correlation < 0 else 1.0]])
    return torch.tensor([[0.2], [0.1]]) * (sign * both + (1 - abs(correlation)) ** 0.5 * noise)


def correlated(waveform):
    """Return the correlation of the first two channels, by numpy."""
    return np.corrcoef(waveform[:2].numpy())[0, 1]


def decibels(waveform):
    """Return the level of each channel, in dB."""
    return 10 * waveform.square().mean(dim=1).log10()


@pytest.mark.parametrize("correlation", [-1.0, -0.4, 0.0, 0.3, 0.7, 1.0])
def test_left_and_right_correlate_as_they_did(vae, correlation):
    """The channels keep correlation and level, and a second reconstruction is the same."""
    original = stereo(8000, correlation)
    assert correlated(original) == pytest.approx(correlation, abs=0.05)
    made = sounds.reconstruct(vae, REPRESENTATION, original)
    assert correlated(made) == pytest.approx(correlated(original), abs=0.1)
    assert (decibels(made) - decibels(original)).abs().max() < 0.5
    assert torch.equal(made, sounds.reconstruct(vae, REPRESENTATION, original))


@pytest.mark.parametrize("samples", [1, 100, 1300, 2400])
def test_fewer_samples_are_the_first_ones(vae, samples):
    """Fewer samples than the latents hold are the first of the whole, with and without coherence."""
    entry = sounds.encode(vae, REPRESENTATION, stereo(3008, 0.3))
    for coherence in (None, entry.coherence):
        whole = sounds.decode(vae, REPRESENTATION, entry.latents, 3008, coherence)
        made = sounds.decode(vae, REPRESENTATION, entry.latents, samples, coherence)
        assert made.shape == (2, samples)
        if samples < 2000:  # of fewer latents
            assert torch.equal(made, whole[:, :samples])


def test_a_side_that_is_silent_stays_silent(vae):
    """A silent side stays 100 dB below full scale; the other is as loud as it was."""
    for silent in (0, 1):
        original = tone(8000, channels=2)
        original[silent] = 0
        made = sounds.reconstruct(vae, REPRESENTATION, original)
        assert made[silent].abs().max() < 1e-5
        assert abs((decibels(made) - decibels(original))[1 - silent]) < 0.5


def test_a_long_recording_correlates_as_a_whole(vae, monkeypatch):
    """A sound that goes from left to right keeps its correlation when taken in pieces."""
    in_short_pieces(monkeypatch)
    original = stereo(8000, 0.3) * torch.stack([torch.linspace(1, 0, 8000), torch.linspace(0, 1, 8000)])
    made = sounds.reconstruct(vae, REPRESENTATION, original)
    assert correlated(made) == pytest.approx(correlated(original), abs=0.1)


def test_more_channels_than_two(vae):
    """Every pair correlates as it did, and a silent channel stays silent."""
    pair, other = stereo(8000, 0.7), stereo(8000, 0.3, seed=101)[:1]
    original = torch.cat([pair, torch.zeros(1, 8000), pair[:1] + other])
    made = sounds.reconstruct(vae, REPRESENTATION, original)
    assert made[2].abs().max() < 1e-5
    heard = [0, 1, 3]
    expected, found = (np.corrcoef(x[heard].numpy()) for x in (original, made))
    np.testing.assert_allclose(found, expected, atol=0.1)


class Keeping(Copying):
    """A model that keeps magnitudes as they are."""

    iterations = 16

    def log_magnitude(self, latents, noise, contrast):
        """Return what was copied."""
        assert latents.shape == noise.shape
        assert contrast == 1
        return latents[:, 0]


def test_what_is_in_the_middle_stays_there_and_what_is_wide_stays_wide():
    """A shared low tone stays common to both channels, and independent high noise stays independent."""
    noise = 0.02 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(100)).diff(n=4)
    original = 0.5 * tone(7996) + noise
    made = sounds.reconstruct(Keeping(), REPRESENTATION, original)
    spectra = torch.stft(made, 256, 64, window=torch.hann_window(256), return_complex=True)
    low, high = spectra[:, 8:21], spectra[:, 80:]  # 250 to 625 Hz, and from 2500 Hz
    for band, least, most in ((low, 0.95, 1.0), (high, -0.3, 0.3)):
        left, right = band.flatten(1)
        assert least <= torch.vdot(left, right).real / left.norm() / right.norm() <= most
    assert (decibels(made) - decibels(original)).abs().max() < 0.3


def test_a_model_that_has_diverged_can_be_told(vae):
    """A result that is not finite is given back, for whoever writes or measures it to say so."""
    diverged = copy.deepcopy(vae)
    with torch.no_grad():
        diverged.patch_out.bias.fill_(float("nan"))
    assert not sounds.reconstruct(diverged, REPRESENTATION, stereo(1000, 0.3)).isfinite().all()


def test_refined_channels_correlate_too(vae):
    """Refining changes the result, and its channels correlate as those of the original."""
    original = stereo(1000, 0.3)
    made = sounds.reconstruct(vae, REPRESENTATION, original, refinements=1)
    assert not torch.equal(made, sounds.reconstruct(vae, REPRESENTATION, original))
    assert correlated(made) == pytest.approx(correlated(original), abs=0.1)


def test_silence_is_silent(vae):
    """Silence stays 100 dB below full scale, in one channel and in several."""
    for count in (1, 2, 3):
        made = sounds.reconstruct(vae, REPRESENTATION, torch.zeros(count, 1000))
        assert made.shape == (count, 1000)
        assert made.abs().max() < 1e-5


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_blocks_are_reconstructed_as_the_whole_is(vae, monkeypatch, channels):
    """The blocks in which a recording comes change no bit of the result."""
    in_short_pieces(monkeypatch)
    original = tone(4000, channels)
    whole = sounds.reconstruct(vae, REPRESENTATION, original)
    for size in (1601, 3999):
        made = [*sounds.reconstruct_blocks(vae, REPRESENTATION, original.split(size, 1))]
        assert torch.equal(torch.cat(made, dim=1), whole)


def test_recordings_of_one_length_are_encoded_together(vae):
    """They may differ by less than a frame, and in channels; the latents are those of each by itself."""
    waveforms = [tone(samples, channels) for samples, channels in ((1000, 1), (1023, 2), (970, 3), (1024, 1))]
    together = sounds.encode_all(vae, REPRESENTATION, waveforms)
    for waveform, encoded in zip(waveforms, together, strict=True):
        alone = sounds.encode(vae, REPRESENTATION, waveform)
        # Axes of little variance magnify the rounding.
        torch.testing.assert_close(encoded.latents, alone.latents, atol=1e-3, rtol=0)
        assert torch.equal(encoded.coherence, alone.coherence)


def in_short_pieces(monkeypatch, piece=0.25, overlap=0.05):
    """Take recordings in pieces of 2000 samples that overlap by 400."""
    monkeypatch.setattr(sounds, "_PIECE_SECONDS", piece)
    monkeypatch.setattr(sounds, "_OVERLAP_SECONDS", overlap)


@pytest.mark.parametrize("samples", [1, 400, 1999, 2000, 2001, 2399, 2400, 3600, 3601, 5201, 12_345])
def test_pieces_join_without_a_seam(monkeypatch, samples):
    """A model that copies gives the whole recording back, however it falls into pieces."""
    in_short_pieces(monkeypatch)
    original = tone(samples)
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


def of(vae, waveform):
    """Return the posterior's mean of each channel."""
    with torch.no_grad():
        return vae.encode(REPRESENTATION(waveform))[0]


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_kept_of_channels(vae, count):
    """Encoding keeps the posterior's mean of each, `[C, D, T']`, and their coherence, `[C, C, F]`."""
    waveform = stereo(2000, 0.3)[:count]
    kept = sounds.encode(vae, REPRESENTATION, waveform)
    frames = vae.latent_frames(REPRESENTATION.frames(2000))
    assert kept.latents.shape == (count, vae.latent_size, frames)
    assert torch.equal(kept.latents, of(vae, waveform))
    assert torch.equal(kept.coherence, coherence_of(waveform, 256))


def test_of_more_channels_the_mean_is_kept(vae):
    """Encoding keeps the posterior's mean of more channels, as of one."""
    kept = sounds.encode(vae, REPRESENTATION, tone(2000, channels=3))
    torch.testing.assert_close(kept.latents, of(vae, tone(2000, channels=3)).mean(dim=0, keepdim=True))
    assert torch.equal(kept.coherence, torch.ones(1, 1, 129) + 0j)


@pytest.fixture(scope="module")
def bank(vae):
    """Encode three recordings of different lengths."""
    return [sounds.encode(vae, REPRESENTATION, tone(samples)) for samples in (1600, 2400, 3200)]


def make(vae, bank, seed=0, **options):
    """Make one sound."""
    return made(vae, bank, torch.Generator().manual_seed(seed), **options)


def made(vae, bank, generator, **options):
    """Draw a sound, and decode it."""
    statistics = sounds.bank_statistics(vae, REPRESENTATION, bank)
    drawn, samples = sounds.draw(vae, REPRESENTATION, bank, statistics, generator=generator, **options)
    latents, coherence, contrast = drawn.latents, drawn.coherence, drawn.contrast
    return sounds.decode(vae, REPRESENTATION, latents, samples, coherence, contrast=contrast)


def test_new_sounds_have_more_contrast(vae, bank):
    """Their magnitudes differ more from their neighbours' than without it, and bands keep their levels."""
    statistics = sounds.bank_statistics(vae, REPRESENTATION, bank)
    generator = torch.Generator().manual_seed(0)
    drawn, samples = sounds.draw(vae, REPRESENTATION, bank, statistics, generator=generator)
    assert drawn.contrast > 1
    noise = sounds.noise_for(vae, REPRESENTATION, drawn.latents, samples, drawn.coherence)
    plain, sharp = (
        sounds.log_magnitude(vae, drawn.latents, noise, contrast) for contrast in (1.0, drawn.contrast)
    )
    assert sharp.diff(dim=1).abs().mean() > 1.02 * plain.diff(dim=1).abs().mean()
    levels = [
        REPRESENTATION.amplitude(each)[:, :128].square().unflatten(1, (4, 32)).sum(2)
        for each in (plain, sharp)
    ]
    torch.testing.assert_close(levels[1].sum(-1), levels[0].sum(-1), rtol=0.05, atol=1e-6)


def test_new_sounds_of_a_small_code_have_most_contrast(vae, bank):
    """A small code loses more tonal peaks than the rich one, so its new sounds get more contrast."""
    rich = make_model(ModelSettings(width=8, fine_width=8), REPRESENTATION, seed=0)
    of_rich = [sounds.encode(rich, REPRESENTATION, tone(samples)) for samples in (1600, 2400)]
    drawn = [
        sounds.draw(
            each,
            REPRESENTATION,
            entries,
            sounds.bank_statistics(each, REPRESENTATION, entries),
            generator=torch.Generator().manual_seed(0),
        )[0]
        for each, entries in ((rich, of_rich), (vae, bank))
    ]
    assert 1 < drawn[0].contrast < drawn[1].contrast


def test_a_seed_makes_a_sound(vae, bank):
    """One seed gives one sound, another one another, and a generator goes on to the next sound."""
    assert torch.equal(make(vae, bank), make(vae, bank))
    generator = torch.Generator().manual_seed(0)
    first, second = (made(vae, bank, generator) for _ in range(2))
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
    """A sound has the length asked for, to the sample."""
    assert make(vae, bank, seconds=seconds).shape == (1, int(seconds * RATE))


def test_one_recording_is_enough(vae):
    """A bank of one short sound is mixed with itself."""
    entry = sounds.encode(vae, REPRESENTATION, tone(10))
    assert make(vae, [entry]).isfinite().all()
    assert make(vae, [entry], seconds=0.5).shape == (1, 4000)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("seconds", [None, 0.33])
def test_stereo_recordings_make_stereo_sounds(vae, bank, seed, seconds):
    """A mixture of recordings, one of them stereo at least, has two different channels."""
    wide = sounds.encode(vae, REPRESENTATION, stereo(3000, 0.3))
    for others in ([], bank[:1]):
        sound = make(vae, [wide, *others], seed, seconds=seconds)
        if len(sound) == 1:  # of the mono one alone
            assert others
            continue
        assert len(sound) == 2
        assert seconds is None or sound.shape[1] == int(seconds * RATE)
        assert sound.isfinite().all()
        assert sound.abs().amax(dim=1).min() > 1e-3
        assert abs(correlated(sound)) < 0.995


def test_a_sound_of_equal_channels_stays_in_the_middle(vae):
    """Two recordings that are mono in two channels make a sound that is, too."""
    double = [sounds.encode(vae, REPRESENTATION, tone(samples).expand(2, -1)) for samples in (1600, 2400)]
    sound = make(vae, double)
    assert len(sound) == 2
    assert correlated(sound) > 0.9999
    assert (decibels(sound)[0] - decibels(sound)[1]).abs() < 0.01


def test_a_sound_is_out_of_phase_as_its_recordings_are(vae):
    """One channel turned over stays turned over."""
    turned = torch.tensor([[1.0], [-1.0]])
    double = [sounds.encode(vae, REPRESENTATION, turned * tone(samples)) for samples in (1600, 2400)]
    assert correlated(make(vae, double)) < -0.9999


@pytest.mark.parametrize("stereo", [False, True])
def test_the_quietest_sound_is_as_quiet_as_the_recordings(vae, stereo):
    """Of noise at 21 levels, from -20 to -40 dB, the second quietest has -39 dB, the 5th percentile.

    Sounds are 0.1 dB louder, and the code has the levels within half a dB.
    """
    generator = torch.Generator().manual_seed(0)
    gains = [10 ** (-level / 20) for level in range(20, 41)]
    noises = [gain * torch.randn(1 + stereo, 4000, generator=generator) for gain in gains]
    bank = [sounds.encode(vae, REPRESENTATION, each) for each in noises]
    assert sounds.quietest(vae, sounds.bank_statistics(vae, REPRESENTATION, bank)) == pytest.approx(
        -38.9, abs=0.5
    )
