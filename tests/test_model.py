"""Tests of distill.model: what holds of the VAE whatever its layers are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.assembly import make_model
from distill.config import structure
from distill.errors import ConfigError
from distill.model import LOGVAR_BOUND
from distill.representation import MagnitudeIF
from distill.settings import ModelSettings

REPRESENTATION = MagnitudeIF(8000, n_fft=64, hop=32)
"""250 frames a second of 33 bins."""


def small(stages=2, latents_per_second=500, representation=REPRESENTATION, width=8):
    """Make a small model; each stage after the first halves the frame rate."""
    sizes = {"width": width, "frequency_rank": 2}
    sizes["latents_per_second"] = latents_per_second
    blocks = {"encoder_blocks": [1] * stages, "decoder_blocks": [1] * stages}
    return make_model(structure({**sizes, **blocks}, ModelSettings), representation, seed=0)


def spectrogram(*shape, seed=0):
    """Draw a spectrogram `[B, 2, 33, T]` with values a recording may have."""
    batch, frames = shape
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, 2, REPRESENTATION.bins, frames, generator=generator)
    return torch.stack([11 * values[:, 0], 2 * values[:, 1] - 1], dim=1)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 3), frames=st.integers(1, 40), stages=st.integers(1, 4), noisy=st.booleans())
def test_any_number_of_frames_comes_back(batch, frames, stages, noisy):
    """The output is as long as the input, down to one frame, and the latents as short as is said."""
    vae = small(stages)
    latent_frames = math.ceil(frames / 2 ** (stages - 1))
    shape = (batch, vae.latent_size, latent_frames)
    noise = torch.ones(shape) if noisy else None
    reconstruction, mu, logvar = vae(spectrogram(batch, frames), noise)
    assert reconstruction.shape == (batch, 2, REPRESENTATION.bins, frames)
    assert mu.shape == logvar.shape == shape
    assert vae.latent_frames(frames) == latent_frames
    assert all(tensor.isfinite().all() for tensor in (reconstruction, mu, logvar))


@settings(max_examples=25, deadline=None)
@given(
    latents=st.integers(1, 2000),
    rate=st.integers(1000, 96_000),
    hop=st.integers(8, 32),
    stages=st.integers(1, 4),
)
def test_latents_are_at_most_as_many_as_asked_for(latents, rate, hop, stages):
    """Per second, there are as many numbers as whole ones fit in each latent frame, and never more."""
    representation = MagnitudeIF(rate, n_fft=64, hop=hop)
    latent_frames_per_second = rate / hop / 2 ** (stages - 1)
    if latents < latent_frames_per_second:
        with pytest.raises(ConfigError):
            small(stages, latents, representation)
        return
    size = small(stages, latents, representation).latent_size
    assert size * latent_frames_per_second <= latents + 1e-6
    assert (size + 1) * latent_frames_per_second > latents - 1e-6


def test_too_few_latents_are_refused():
    """The whole message: 125 latent frames a second need as many numbers."""
    assert small(latents_per_second=125).latent_size == 1
    with pytest.raises(ConfigError) as caught:
        small(latents_per_second=124)
    assert str(caught.value) == (
        "model.latents_per_second: must be at least 125 with this representation and 2 stages, got 124"
    )


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_outputs_stay_within_what_the_representation_has(scale):
    """Whatever the latents: no negative log-magnitude, and an IF within -1..1 that uses both halves."""
    vae = small()
    vae.begin_with(spectrogram(4, 20))
    latents = scale * torch.randn(8, vae.latent_size, 10, generator=torch.Generator().manual_seed(0))
    magnitude, frequency = vae.decode(latents, 20).unbind(1)
    assert magnitude.isfinite().all()
    assert magnitude.min() >= 0
    assert -1 <= frequency.min() < 0 < frequency.max() <= 1


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3, 1e6])
def test_the_log_variance_is_bounded(scale):
    """An absurd input leaves the posterior, the reconstruction and the KL divergence finite."""
    vae = small()
    torch.nn.init.normal_(vae.posterior.weight, std=100.0)
    reconstruction, mu, logvar = vae(scale * spectrogram(2, 16), torch.ones(2, vae.latent_size, 8))
    assert logvar.abs().max() <= LOGVAR_BOUND
    assert logvar.exp().isfinite().all()
    assert mu.isfinite().all()
    assert reconstruction.isfinite().all()


def test_noise_is_scaled_by_the_posterior():
    """The latents are mu plus noise times the standard deviation (Kingma & Welling, 2014)."""
    vae = small()
    noise = torch.randn(2, vae.latent_size, 8, generator=torch.Generator().manual_seed(0))
    reconstruction, mu, logvar = vae(spectrogram(2, 16), noise)
    torch.testing.assert_close(reconstruction, vae.decode(mu + noise * logvar.exp().sqrt(), 16))
    torch.testing.assert_close(vae(spectrogram(2, 16), None)[0], vae.decode(mu, 16))


def test_an_example_does_not_depend_on_the_others():
    """Nothing is normalised over the batch."""
    vae = small()
    batch = spectrogram(3, 16)
    for together, alone in zip(zip(*vae(batch, None), strict=True), batch, strict=True):
        for one, other in zip(together, vae(alone[None], None), strict=True):
            torch.testing.assert_close(one, other[0], rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_every_parameter():
    """No part of the model is left out of the training, with whatever it looks at."""
    vae = small(stages=3)
    reconstruction, mu, logvar = vae(spectrogram(2, 16), torch.ones(2, vae.latent_size, 4))
    sums = (reconstruction * spectrogram(2, 16, seed=1)).sum() + mu.square().sum() + logvar.square().sum()
    sums.backward()
    assert [
        name for name, each in vae.named_parameters() if each.grad is None or not each.grad.abs().max() > 0
    ] == []


def test_beginning_takes_the_mean_of_the_audible_frames():
    """By hand: of three frames the silent one does not count; the spread is that of the magnitude."""
    vae = small()
    frames = torch.zeros(1, 2, REPRESENTATION.bins, 3)
    frames[0, 0, :, 0], frames[0, 0, :, 2] = 2.0, 6.0
    frames[0, 1, :, 0], frames[0, 1, :, 2] = 0.5, -0.1
    frames[0, :, :, 1] = 1.0  # as loud as one floor: no bin of it is audible
    vae.begin_with(frames)
    expected = torch.tensor([[4.0], [0.2]]).expand(2, REPRESENTATION.bins)
    torch.testing.assert_close(vae.mean_frame, expected)
    torch.testing.assert_close(vae.deviation, torch.tensor(2.0))


def test_beginning_needs_something_audible():
    """Silence changes nothing, and frames that are all alike do not make the spread 0."""
    vae = small()
    vae.begin_with(torch.zeros(2, 2, REPRESENTATION.bins, 3))
    assert not vae.mean_frame.any()
    assert vae.deviation == 1
    vae.begin_with(torch.full((2, 2, REPRESENTATION.bins, 3), 5.0))
    assert vae.deviation > 0


def linear(stages, bins_kept=40):
    """Make a model whose network is silenced, so that only its linear code is heard."""
    vae = small(stages, width=bins_kept)
    with torch.no_grad():
        vae.posterior.weight.zero_()
        vae.posterior.bias.zero_()
        vae.decoder_norm.weight.zero_()
        vae.decoder_norm.bias.zero_()
    return vae


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_model_begins_with_the_best_linear_code(stages):
    """Without the network it is the projection on the principal components of the latent frames."""
    sounds = spectrogram(6, 8 * 2**stages) + torch.tensor([20.0, 0.0])[:, None, None]
    vae = linear(stages)
    vae.begin_with(sounds)
    with torch.no_grad():
        made, mu, _ = vae(sounds, None)
    rows = sounds[:, 0].transpose(1, 2).unflatten(1, (-1, vae.stride)).flatten(2).flatten(0, 1)
    mean = rows.mean(dim=0)
    *_, components = torch.linalg.svd(rows - mean, full_matrices=False)
    components = components[: vae.latent_size]
    expected = (rows - mean) @ components.T @ components + mean
    actual = made[:, 0].transpose(1, 2).unflatten(1, (-1, vae.stride)).flatten(2).flatten(0, 1)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)
    latents = mu.transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(latents.mean(dim=0), torch.zeros(vae.latent_size), rtol=0, atol=1e-3)
    torch.testing.assert_close(
        latents.std(dim=0, correction=0), torch.ones(vae.latent_size), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize(
    "sounds", [spectrogram(1, 3), spectrogram(1, 1), spectrogram(2, 5).repeat(1, 1, 1, 8)]
)
def test_the_model_begins_with_however_little_there_is(sounds):
    """Fewer frames than components, or than one latent frame, leave everything finite and nothing extreme."""
    vae = small(stages=3, width=40)
    vae.begin_with(sounds)
    reconstruction, mu, logvar = vae(sounds, None)
    assert all(each.isfinite().all() for each in (reconstruction, mu, logvar))
    assert all(each.abs().max() < 1e3 for each in vae.parameters())
    assert (reconstruction[:, 0] - sounds[:, 0]).abs().mean() < 6


def test_the_frequencies_pull_little_at_the_latents(monkeypatch):
    """A tenth of the gradient of channel 1 reaches them, the whole of that of channel 0."""
    vae = small()
    latents = torch.randn(1, vae.latent_size, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def gradient(channel):
        return torch.autograd.grad(vae.decode(latents, 8)[:, channel].square().sum(), latents)[0]

    magnitude, frequency = gradient(0), gradient(1)
    monkeypatch.setattr("distill.model._FREQUENCY_PULL", 1.0)
    torch.testing.assert_close(magnitude, gradient(0))
    torch.testing.assert_close(frequency, 0.1 * gradient(1))
    assert frequency.any()


def test_a_reconciled_sound_does_not_repeat_itself():
    """A flat spectrum with an IF of 0 repeats its frames; reconciled it is noise, and always the same."""
    vae = small()
    for layer in (vae.magnitude_out, *vae.frequency_out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.constant_(vae.magnitude_out.bias, 10.0)
    latents, samples = torch.zeros(2, vae.latent_size, 100), 199 * 32

    def repetition(sound):
        inner = sound[0, 640:-640]
        return torch.corrcoef(torch.stack([inner[64:], inner[:-64]]))[0, 1].item()

    assert repetition(vae.sound(latents, REPRESENTATION, samples)) > 0.9
    vae.iterations.fill_(4)
    reconciled = vae.sound(latents, REPRESENTATION, samples)
    assert abs(repetition(reconciled)) < 0.2
    assert torch.equal(reconciled, vae.sound(latents, REPRESENTATION, samples, iterations=4))
    assert torch.equal(reconciled[0], reconciled[1])


@pytest.mark.parametrize("iterations", [0, 4])
def test_a_sound_is_rendered_of_what_is_decoded(iterations):
    """And what is rendered has the magnitudes it was given, with phases of its own where they are found."""
    vae, samples = small(), 4000
    vae.iterations.fill_(iterations)
    latents = torch.randn(1, vae.latent_size, vae.latent_frames(REPRESENTATION.frames(samples)))
    decoded = vae.decode(latents, REPRESENTATION.frames(samples))
    rendered = vae.render(decoded, REPRESENTATION, samples)
    assert torch.equal(rendered, vae.sound(latents, REPRESENTATION, samples))
    waveform = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    rendered = vae.render(REPRESENTATION(waveform), REPRESENTATION, samples)
    assert torch.allclose(rendered, waveform, atol=1e-3) == (iterations == 0)
    other = torch.stack([REPRESENTATION(waveform)[:, 0], torch.zeros(1, 33, 126)], dim=1)
    assert torch.equal(vae.render(other, REPRESENTATION, samples), rendered) == (iterations > 0)


def test_silence_is_decoded_near_0():
    """Where the layers say 0, channel 0 is log(2) / 4, not the log(2) of a bend that is less sharp."""
    vae = small()
    torch.nn.init.zeros_(vae.magnitude_out.weight)
    torch.nn.init.zeros_(vae.magnitude_out.bias)
    magnitude = vae.decode(torch.zeros(1, vae.latent_size, 4), 8)[:, 0]
    torch.testing.assert_close(magnitude, torch.full_like(magnitude, math.log(2) / 4))
