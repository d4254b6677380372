"""What the tests of the model share: a small model."""

import attrs
import pytest

from distill.model.building import make_model
from distill.model.initialization import initialize_axes
from distill.settings import ModelSettings


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
