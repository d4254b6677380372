"""What the tests of the model share: a small model."""

import attrs
import pytest
import torch

from distill.config.settings import ModelSettings
from distill.model.building import make_model
from distill.model.initialization import initialize_axes


@pytest.fixture(scope="session")
def small_vae():
    """Return a function that makes a small model that has seen a sound, so that it decodes to one."""
    sizes = attrs.evolve(
        ModelSettings(),
        width=16,
        fine_width=8,
        latents_per_second=250,
        joint_frames=2,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 1),
    )

    def make(representation, waveform):
        model = make_model(sizes, representation, seed=0)
        initialize_axes(model, representation(waveform))
        return model

    return make


@pytest.fixture(scope="session")
def sounds():
    """Return a tone, one that dies away and noise at 8 kHz, a second of each: `[3, N]`; not to be changed."""
    time = torch.arange(8000) / 8000
    tone = torch.sin(2 * torch.pi * 440 * time)
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    return torch.stack([tone, tone * torch.exp(-4 * time), 0.2 * noise])
