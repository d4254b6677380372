"""Tests of distill.model.vae: what holds of the VAE whatever its weights are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distill.config import structure
from distill.config.settings import ModelSettings
from distill.errors import ConfigError
from distill.model import LOGVAR_BOUND
from distill.model.building import make_model
from distill.model.initialization import initialize_axes
from distill.model.phases import draw_noise
from distill.spectral.representation import MagnitudeIF

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=256, hop=64)
"""125 frames a second of 129 bins: four bands, and 15.6 latent frames a second."""

SAMPLES = 8000


def small(representation=REPRESENTATION, **options):
    """Make a small model; its code is rich unless the options say otherwise."""
    sizes = {"width": 16, "fine_width": 8, "expansion": 2}
    blocks = {"encoder_blocks": [1, 1], "decoder_blocks": [1, 1]}
    return make_model(structure({**sizes, **blocks, **options}, ModelSettings), representation, seed=0).eval()


def shaken(deviation, **options):
    """Make a small model whose layers have weights drawn so that they do not lessen what goes through."""
    vae, generator = small(**options), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in vae.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, deviation / math.sqrt(layer.in_features), generator=generator)
    return vae


def spectrogram(batch, frames, seed=0):
    """Draw a spectrogram `[B, 2, 129, T]` with values that a recording may have."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, 2, REPRESENTATION.bins, frames, generator=generator)
    return torch.stack([12 * values[:, 0], 2 * values[:, 1] - 1], dim=1)


def draw(*shape, seed=0):
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def decibels(waveform):
    """Return the energy of each waveform in dB."""
    return 10 * waveform.square().sum(-1).log10()


RICH, COMPACT = {"code": "rich"}, {"code": "compact", "joint_frames": 2, "joint_width": 8}
CODES = pytest.mark.parametrize("code", [RICH, COMPACT], ids=["rich", "compact"])


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 40),
    noisy=st.booleans(),
    code=st.sampled_from([RICH, COMPACT]),
)
def test_any_number_of_frames_comes_back(batch, frames, noisy, code):
    """The output is as long as the input, down to one frame; there is a latent for each 8 or 16 frames."""
    vae = small(**code)
    shape = (batch, vae.latent_size, math.ceil(frames / (8 if code == RICH else 16)))
    noise = torch.ones(shape) if noisy else None
    reconstruction, mu, logvar = vae(spectrogram(batch, frames), noise)
    assert reconstruction.shape == (batch, 2, REPRESENTATION.bins, frames)
    assert mu.shape == logvar.shape == shape
    assert vae.latent_frames(frames) == shape[-1]
    assert all(tensor.isfinite().all() for tensor in (reconstruction, mu, logvar))


@settings(max_examples=25, deadline=None)
@given(
    latents=st.integers(1, 3000),
    rate=st.integers(1000, 96_000),
    n_fft=st.sampled_from([64, 256, 512]),
    joint=st.sampled_from([1, 3, 8]),
)
def test_latents_are_at_most_as_many_as_asked_for(latents, rate, n_fft, joint):
    """Per second, there are as many numbers as whole ones fit in each latent frame, and never more.

    Less are they only where all bands are full: 16 numbers and a level each, beside the level.
    """
    representation = MagnitudeIF(rate, n_fft=n_fft, hop=n_fft // 4)
    frames_per_second = rate / (n_fft // 4) / 8
    options = {"latents_per_second": latents, "joint_frames": joint}
    if int(latents * joint / frames_per_second) <= joint and latents < frames_per_second * 2:
        with pytest.raises(ConfigError):
            small(representation, **options)
        return
    vae = small(representation, **options)
    size, latent_frames_per_second = vae.latent_size, frames_per_second / vae.code.joint
    assert vae.code.joint in (1, joint)
    assert size * latent_frames_per_second <= latents + 1e-6
    assert (size + 1) * latent_frames_per_second > latents - 1e-6 or size == 1 + 17 * (n_fft // 64)


def test_too_few_latents_are_refused():
    """Fewer than two numbers per frame that is coded by itself are refused, 32 a second here."""
    assert small(latents_per_second=32, joint_frames=1).latent_size == 2
    with pytest.raises(ConfigError) as caught:
        small(latents_per_second=31, joint_frames=1)
    assert str(caught.value) == (
        "model.latents_per_second: must be at least 32 with this representation, got 31"
    )


@CODES
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_outputs_stay_within_what_the_representation_has(code, scale):
    """No log-magnitude is negative, and an IF uses both halves of -1..1, whatever the latents."""
    vae = small(**code)
    magnitude, frequency = vae.decode(scale * draw(8, vae.latent_size, 5), 40).unbind(1)
    assert magnitude.isfinite().all()
    assert magnitude.min() >= 0
    assert -1 <= frequency.min() < 0 < frequency.max() <= 1


@CODES
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3, 1e6])
def test_the_log_variance_is_bounded(code, scale):
    """An absurd input leaves the posterior, the reconstruction and the KL divergence finite."""
    vae = small(**code)
    nn.init.normal_(vae.posterior.weight, std=100.0)
    reconstruction, mu, logvar = vae(scale * spectrogram(2, 16), torch.ones(2, vae.latent_size, 2))
    assert logvar.abs().max() <= LOGVAR_BOUND
    assert logvar.exp().isfinite().all()
    assert mu.isfinite().all()
    assert reconstruction.isfinite().all()


@CODES
def test_noise_is_scaled_by_the_posterior(code):
    """The latents are mu plus noise times the standard deviation (Kingma & Welling, 2014)."""
    vae = small(**code)
    noise = draw(2, vae.latent_size, 2)
    with torch.no_grad():
        reconstruction, mu, logvar = vae(spectrogram(2, 16), noise)
        torch.testing.assert_close(reconstruction, vae.decode(mu + noise * logvar.exp().sqrt(), 16))
        torch.testing.assert_close(vae(spectrogram(2, 16), None)[0], vae.decode(mu, 16))


@CODES
@torch.no_grad()
def test_an_example_does_not_depend_on_the_others(code):
    """Nothing is normalized over the batch."""
    vae = small(**code)
    batch = spectrogram(3, 16)
    for together, alone in zip(zip(*vae(batch, None), strict=True), batch, strict=True):
        for one, other in zip(together, vae(alone[None], None), strict=True):
            torch.testing.assert_close(one, other[0], rtol=1e-4, atol=1e-4)


@CODES
def test_the_gradient_reaches_every_parameter(code):
    """No part of the model is left out of the training but the spread, which is calibrated after it."""
    vae = shaken(
        1.0, **code, encoder_blocks=[2, 2], decoder_blocks=[2, 2]
    )  # the last hidden layers begin as 0
    reconstruction, mu, logvar = vae(spectrogram(2, 16), torch.ones(2, vae.latent_size, 2))
    sums = (reconstruction * spectrogram(2, 16, seed=1)).sum() + mu.square().sum() + logvar.square().sum()
    sums.backward()
    without = [name for name, each in vae.named_parameters() if each.grad is None or not each.grad.any()]
    assert without == ["spread_out.weight", "spread_out.bias"]


@pytest.mark.parametrize(("width", "keeps", "kept"), [(8, True, True), (8, False, False), (0, True, False)])
def test_a_code_with_hidden_layers_is_kept_with_the_encoder(width, keeps, kept):
    """Axes and hidden layers of the start count as the encoder's. Axes alone and a new code learn."""
    vae = small(**COMPACT | {"joint_width": width})
    vae.keeps_code = keeps
    encoder = {id(parameter) for parameter in vae.encoder_parameters()}
    small_code = [each for name, each in vae.named_parameters() if name.startswith(("axes.", "joint."))]
    assert [id(parameter) in encoder for parameter in small_code] == [kept] * len(small_code)
    assert small_code


@CODES
@pytest.mark.parametrize("first", [17, 24, 31, 32, 47])
@torch.no_grad()
def test_the_encoder_looks_8_frames_ahead(code, first):
    """A change from frame t on changes no latent before that of frame t - 8, which it does change."""
    vae = small(**code, encoder_blocks=[2, 3])
    one, other = spectrogram(1, 64), spectrogram(1, 64)
    other[..., first:] = spectrogram(1, 64, seed=1)[..., first:]
    expected = (first - 8) // (8 if code == RICH else 16)
    for before, after in zip(vae.encode(one), vae.encode(other), strict=True):
        assert torch.equal(before[..., :expected], after[..., :expected])
    changed = (vae.encode(one)[0] != vae.encode(other)[0]).any(1)[0].nonzero()
    assert changed.min() == expected
    assert (vae.lookahead, vae.stride) == (8, 8 if code == RICH else 16)


@CODES
@pytest.mark.parametrize("latent", [1, 2, 3])
@torch.no_grad()
def test_the_decoder_looks_8_frames_ahead(code, latent):
    """A changed latent changes no frame more than 8 before its own, but it changes that one."""
    vae = small(**code, decoder_blocks=[2, 3])
    one = draw(1, vae.latent_size, 64 // vae.stride)
    other = one.clone()
    other[..., latent] += 1
    changed = (vae.decode(one, 64) != vae.decode(other, 64)).any((1, 2))[0].nonzero()
    assert changed.min() == vae.stride * latent - 8


@pytest.mark.parametrize("deviation", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("gain", [1.0, 0.03, 0.001])
@CODES
@torch.no_grad()
def test_the_level_is_exact_whatever_the_weights(code, deviation, gain, sounds):
    """A tone, one that dies away and noise come back as loud as they were, over 60 dB, within 0.5 dB."""
    # Through hidden layers as well, such weights would take every band to silence, which cannot be scaled.
    hidden = {"joint_width": 0} if deviation > 1 else {}
    vae, originals = shaken(deviation, **code | hidden), gain * sounds
    made = vae.sound(vae.encode(REPRESENTATION(originals))[0], REPRESENTATION, SAMPLES, 4)
    assert (decibels(made) - decibels(originals)).abs().max() < 0.5


@torch.no_grad()
def test_a_gain_changes_the_level_alone():
    """A gain of 20 dB (2.303 nepers) adds 0.7675 to the level, and the levels of bands stay.

    The layers are told the level: without that, shapes stay, too, but for those that see what is
    beyond the end.
    """
    vae, noise = small(), 0.1 * draw(2, SAMPLES)
    quiet, loud = (vae.encode(REPRESENTATION(gain * noise))[0] for gain in (0.1, 1.0))
    rise = loud - quiet
    torch.testing.assert_close(rise[:, 0], torch.full_like(rise[:, 0], 0.7675), rtol=0, atol=2e-3)
    assert rise[:, 1:5].abs().max() < 2e-3
    nn.init.zeros_(vae.level_in.weight)
    quiet, loud = (vae.encode(REPRESENTATION(gain * noise))[0] for gain in (0.1, 1.0))
    torch.testing.assert_close(loud[:, 5:, :-2], quiet[:, 5:, :-2], rtol=0, atol=1e-2)


@torch.no_grad()
def test_only_the_magnitudes_are_encoded():
    """Phases are found anew, so that the IF does not matter."""
    vae, one = small(), spectrogram(1, 16)
    other = one.clone()
    other[:, 1] = 0
    assert torch.equal(vae.encode(one)[0], vae.encode(other)[0])


def test_the_frequencies_pull_little_at_the_latents(monkeypatch):
    """A tenth of the gradient of channel 1 reaches them, the whole of that of channel 0."""
    vae = small()
    latents = draw(1, vae.latent_size, 2).requires_grad_()

    def gradient(channel):
        return torch.autograd.grad(vae.decode(latents, 16)[:, channel].square().sum(), latents)[0]

    magnitude, frequency = gradient(0), gradient(1)
    monkeypatch.setattr("distill.model.vae._FREQUENCY_PULL", 1.0)
    torch.testing.assert_close(magnitude, gradient(0))
    torch.testing.assert_close(frequency, 0.1 * gradient(1))
    assert frequency.any()


@torch.no_grad()
def test_silence_is_decoded_near_0():
    """Channel 0 is log(1 + exp(-4)) / 4 where the layers give 0, one deviation below the level 0."""
    vae = small()
    nn.init.zeros_(vae.patch_out.weight)
    nn.init.zeros_(vae.patch_out.bias)
    silence = torch.zeros(1, 2, REPRESENTATION.bins, 16)
    magnitude = vae(silence, None)[0][:, 0, :-1]
    torch.testing.assert_close(magnitude, torch.full_like(magnitude, math.log1p(math.exp(-4)) / 4))


@CODES
@torch.no_grad()
def test_silence_sounds_silent(code, sounds):
    """Whatever the weights, nothing is louder than 100 dB below full scale."""
    vae = small(**code)
    initialize_axes(vae, REPRESENTATION(sounds))
    made = vae.sound(vae.encode(torch.zeros(1, 2, REPRESENTATION.bins, 126))[0], REPRESENTATION, SAMPLES)
    assert made.abs().max() < 1e-5


@torch.no_grad()
def test_the_rich_code_of_a_small_one(sounds):
    """Overall levels come back exactly, to the last of frames that are not whole latent frames."""
    vae, rich = small(**COMPACT), small()
    initialize_axes(vae, REPRESENTATION(sounds))
    spectrograms = REPRESENTATION(sounds[:, :4100])
    assert torch.equal(rich.expand(rich.encode(spectrograms)[0]), rich.encode(spectrograms)[0])
    level, code, _ = vae.encode_rich(spectrograms)  # before it is reduced
    latents = vae.encode(spectrograms)[0]
    expanded = vae.expand(latents)
    assert (level.shape[-1], expanded.shape) == (9, (3, 1 + code.shape[1], 10))
    assert torch.equal(expanded[:, :1, :9], level)
    assert torch.equal(expanded[:, 0, 9], level[:, 0, 8])
    torch.testing.assert_close(vae.reduce(torch.cat([level, code], 1)), latents)
    torch.testing.assert_close(vae.reduce(expanded), latents, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_spread_is_positive_and_begins_alike_everywhere():
    """The spread is softplus(0) + 0.02 before it is calibrated, and 0.02 at least after."""
    vae = small()
    features = vae.decode_whole(draw(1, vae.latent_size, 2)).features
    spread = vae.spread_of(features)
    torch.testing.assert_close(spread, torch.full((1, 128, 16), math.log(2) + 0.02))
    nn.init.constant_(vae.spread_out.bias, -1e3)
    assert vae.spread_of(features).min() >= 0.02 - 1e-6


@torch.no_grad()
def test_errors_are_those_of_what_is_decoded(sounds):
    """Errors equal, in nepers, those of decoded amplitudes beside the encoded ones."""
    vae, drawn = small(), REPRESENTATION(sounds)
    features, error = vae.errors(drawn)
    assert features.shape == (3, 8, 32, 8)
    made = REPRESENTATION.amplitude(vae(drawn, None)[0][:, 0])
    target = REPRESENTATION.amplitude(drawn[:, 0])
    heard = 1e-4 * target[:, :-1].amax((1, 2), keepdim=True) + REPRESENTATION.floor
    expected = ((made + heard).log() - (target + heard).log()).abs()
    torch.testing.assert_close(error[:, :, :126], expected[:, :-1], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_sound_is_always_the_same(sounds):
    """Phases begin with noise that is the same each time; more iterations make another sound."""
    vae = small()
    latents = vae.encode(REPRESENTATION(sounds))[0]
    made = vae.sound(latents, REPRESENTATION, SAMPLES)
    assert made.shape == (3, SAMPLES)
    assert torch.equal(made, vae.sound(latents, REPRESENTATION, SAMPLES, vae.iterations))
    assert not torch.allclose(made, vae.sound(latents, REPRESENTATION, SAMPLES, 0), atol=1e-3)


@CODES
@torch.no_grad()
def test_magnitudes_have_the_levels_of_what_was_encoded(code, sounds):
    """The magnitudes have the energy of the original within 0.3 dB, whatever the noise."""
    vae, originals = small(**code), sounds
    initialize_axes(vae, REPRESENTATION(originals))
    given = REPRESENTATION(originals)
    for seed in (0, 1):
        noise = REPRESENTATION((256 / 6) ** 0.5 * draw(3, SAMPLES, seed=seed))
        made = vae.log_magnitude(vae.encode(given)[0], noise)
        assert made.shape == given[:, 0].shape
        levels = [10 * REPRESENTATION.amplitude(x).square().mean((1, 2)).log10() for x in (made, given[:, 0])]
        assert (levels[0] - levels[1]).abs().max() < 0.3


@torch.no_grad()
def test_a_sound_begins_with_the_noise_that_it_is_given(sounds):
    """Noise turned over makes the sound turned over; by default it is white noise, the same in each row."""
    vae, given = small(), REPRESENTATION(sounds)
    latents = vae.encode(given)[0]
    made = vae.sound(latents, REPRESENTATION, SAMPLES)
    white = draw_noise(REPRESENTATION, 1, SAMPLES).expand(3, -1)
    for sign in (1, -1):
        begun = vae.sound(latents, REPRESENTATION, SAMPLES, noise=REPRESENTATION(sign * white))
        assert (sign * begun - made).square().mean() < 0.01 * made.square().mean()


@torch.no_grad()
def test_rendering_looks_at_magnitudes_alone(sounds):
    """What is rendered has the magnitudes that it was given, whatever its IF."""
    vae, originals = small(), sounds
    given = REPRESENTATION(originals)
    rendered = vae.render(given, REPRESENTATION, SAMPLES)
    other = torch.stack([given[:, 0], torch.zeros_like(given[:, 1])], dim=1)
    torch.testing.assert_close(vae.render(other, REPRESENTATION, SAMPLES), rendered, rtol=1e-4, atol=1e-5)
    assert (decibels(rendered) - decibels(originals)).abs().max() < 0.2
    # Noise has magnitudes everywhere; 16 iterations bring them within 1.5 dB or so on average.
    away = (REPRESENTATION(rendered)[2, 0] - given[2, 0]).abs().mean() * 20 / math.log(10)
    assert away < 2
