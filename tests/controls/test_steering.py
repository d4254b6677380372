"""Tests of distill.controls.steering: moves of latents, and changes of descriptors by what is asked."""

import pytest
import torch
from attrs import evolve

from distill.config.settings import ModelSettings
from distill.controls.descriptors import brightness, describe
from distill.controls.directions import find_directions
from distill.controls.steering import Decoded, _adjusted, moved, sound_of
from distill.model.building import make_model
from distill.model.sounds import decode, encode
from distill.spectral.representation import MagnitudeIF

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=256, hop=64)
TIME = torch.arange(2 * RATE) / RATE


def tone(hertz, seconds=0.5):
    """Make a sine `[1, N]` that decays."""
    time = TIME[: int(seconds * RATE)]
    return 0.5 * (torch.sin(2 * torch.pi * hertz * time) * torch.exp(-3 * time))[None]


def noise(slope, seed):
    """Make noise `[1, N]` that is the darker the nearer `slope` is to 1."""
    made = torch.randn(RATE // 2, generator=torch.Generator().manual_seed(seed))
    for index in range(1, len(made)):
        made[index] += slope * made[index - 1]
    return 0.1 * made[None]


@pytest.fixture(scope="module")
def vae():
    """Make a small model with the rich code, which measures levels and is not trained."""
    sizes = evolve(ModelSettings(), width=16, fine_width=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    return make_model(sizes, REPRESENTATION, seed=0).eval()


@pytest.fixture(scope="module")
def bank(vae):
    """Encode dark and bright tones and noises."""
    sounds = [tone(hertz) for hertz in (200, 700, 1500, 3000)] + [noise(slope, 0) for slope in (0.0, 0.8)]
    return [encode(vae, REPRESENTATION, sound) for sound in sounds]


@pytest.fixture(scope="module")
def directions(vae, bank):
    """Find the directions of the bank."""
    return find_directions(vae, REPRESENTATION, bank)


@pytest.fixture(scope="module")
def made(vae, bank, directions):
    """Return a function that makes the sound of white noise in the bank with controls."""

    def make(**values):
        sound = Decoded.of(vae, REPRESENTATION, bank[4], RATE // 2)
        return sound_of(vae, REPRESENTATION, sound, directions, values)

    return make


def test_directions_are_those_in_which_the_recordings_differ(directions):
    """Directions are orthogonal, the largest first, without the level; bright sounds have more high bands."""
    product = directions.principal.double() @ directions.principal.double().T
    assert (product - product.diagonal().diag()).abs().max() < 1e-4 * product.max()
    assert (product.diagonal().diff() <= 0).all()
    assert directions.principal[:, 0].abs().max() < 1e-6
    assert directions.tilt[-1] > directions.tilt[0]


def test_recordings_that_do_not_differ_have_no_direction(vae):
    """Recordings that do not differ have no direction and no principal axes."""
    same = [encode(vae, REPRESENTATION, tone(440))] * 5
    found = find_directions(vae, REPRESENTATION, same)
    assert (found.tilt, found.noisy, len(found.principal)) == (None, None, 0)


def test_a_move_keeps_the_level_and_silence(vae):
    """A move adds nothing to inaudible frames and keeps the overall level of the others."""
    sound = torch.cat([tone(440), torch.zeros(1, RATE // 2)], dim=1)
    latents = encode(vae, REPRESENTATION, sound).latents
    offset = torch.randn(vae.latent_size, 1, generator=torch.Generator().manual_seed(0))
    offset[0] = 0
    changed = moved(vae, latents, offset)
    assert torch.equal(changed[..., -1], latents[..., -1])
    assert not torch.equal(changed[..., 0], latents[..., 0])
    assert torch.equal(changed[:, 0], latents[:, 0])
    # The level that the code states is that of its bands.
    bands = vae.levels.total(vae.bands_of(changed)[0])
    assert torch.allclose(bands[:, :4], vae.code.total(changed[:, 0])[:, :4], atol=0.02)


@pytest.mark.parametrize("octaves", [-0.5, 0.25])
def test_brightness_changes_by_the_octaves_asked_for(made, octaves):
    """Within 0.1 octaves, and the loudness is kept within 0.5 dB."""
    before, after = describe(made(), RATE), describe(made(brightness=octaves), RATE)
    assert after["brightness"] - before["brightness"] == pytest.approx(octaves, abs=0.1)
    assert after["loudness"] == pytest.approx(before["loudness"], abs=0.5)


def test_loudness_is_a_gain(made):
    """The waveform is multiplied by the gain."""
    assert torch.allclose(made(loudness=-6.0), made() * 10 ** (-6 / 20), rtol=1e-6)


def test_without_controls_a_sound_is_decoded(made, vae, bank):
    """The result is that of `decode`."""
    entry = bank[4]
    assert torch.equal(made(), decode(vae, REPRESENTATION, entry.latents, RATE // 2, entry.coherence))


def test_noisiness_pulls_shapes_to_those_of_noise_or_away(made, vae, bank, directions):
    """One of the two changes any sound; none does without a direction. Loudness and brightness are kept."""
    pulled = evolve(directions, noisy=bank[1].latents[0].mean(1))
    changed = 0
    before = describe(made(), RATE)
    for wanted in (-60.0, 60.0):
        assert torch.allclose(made(noisiness=wanted), made(), atol=1e-3)
        values = {"noisiness": wanted}
        sound = Decoded.of(vae, REPRESENTATION, bank[4], RATE // 2)
        after = describe(sound_of(vae, REPRESENTATION, sound, pulled, values), RATE)
        changed += abs(after["noisiness"] - before["noisiness"]) > 0.1
        assert after["loudness"] == pytest.approx(before["loudness"], abs=0.5)
        assert after["brightness"] == pytest.approx(before["brightness"], abs=0.2)
    assert changed


def test_brightness_is_solved_for_any_spectrum(directions):
    """The brightness asked for is reached for any spectrum; channels of stereo get the same gains."""
    spectrogram = REPRESENTATION(torch.cat([noise(0.5, 1), noise(0.5, 2)]))[:, 0]
    power = REPRESENTATION.amplitude(spectrogram).square().sum(0)
    adjusted = _adjusted(REPRESENTATION, spectrogram, power, power, directions.tilt, 0.3)
    after = REPRESENTATION.amplitude(adjusted).square().sum(0)
    assert brightness(after, RATE) - brightness(power, RATE) == pytest.approx(0.3, abs=1e-3)
