"""Tests of distill.model.refinement: latents that come closer to the sound at hand."""

import pytest
import torch

from distill.evaluation import log_spectral_distance, multi_resolution_stft
from distill.model.refinement import refine
from distill.spectral.representation import MagnitudeIF

RATE = 8000
REPRESENTATION = MagnitudeIF(RATE, n_fft=256, hop=64)


def noise(channels=1, seed=0):
    """Make noise that dies away."""
    samples = torch.randn(channels, 4000, generator=torch.Generator().manual_seed(seed))
    return 0.2 * samples * torch.linspace(1, 0, 4000)


def tone():
    """Make a steady tone, which a model that knows noise alone does not meet."""
    return 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(4000) / RATE)[None]


@pytest.fixture(scope="module")
def vae(small_vae):
    """Make a small model that begins with noise."""
    model = small_vae(REPRESENTATION, noise(4, seed=1))
    model.iterations = 4
    return model.eval()


@torch.no_grad()
def decoded(vae, latents):
    """Decode to a waveform as long as `noise`."""
    return vae.sound(latents, REPRESENTATION, 4000)


@torch.no_grad()
def test_refined_latents_sound_closer(vae):
    """Both distances of the decoded waveform fall, and what was given is left as it was."""
    target = tone()
    latents, _ = vae.encode(REPRESENTATION(target))
    given = latents.clone()
    refined = refine(vae, REPRESENTATION, target, latents, 20)
    before, after = decoded(vae, latents), decoded(vae, refined)
    assert log_spectral_distance(after, target).item() < 0.97 * log_spectral_distance(before, target).item()
    assert multi_resolution_stft(after, target).item() < 0.97 * multi_resolution_stft(before, target).item()
    assert torch.equal(latents, given)
    assert not refined.requires_grad
    assert all(each.grad is None for each in vae.parameters())


@torch.no_grad()
@pytest.mark.parametrize("other", [0.0, 100.0])
def test_channels_are_refined_by_themselves(vae, other):
    """A step of a channel is the same beside silence and beside what is 40 dB louder."""
    target = 0.01 * noise(2) * torch.tensor([[1.0], [other]])
    latents, _ = vae.encode(REPRESENTATION(target))
    together = refine(vae, REPRESENTATION, target, latents, 1)
    alone = refine(vae, REPRESENTATION, target[:1], latents[:1], 1)
    assert together.isfinite().all()
    # Rounding aside, which Adam makes much of where a gradient is all but 0.
    assert (together[:1] - alone).norm() < 0.02 * (alone - latents[:1]).norm()
