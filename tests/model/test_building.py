"""Tests of distill.model.building: a model of the settings of its recipe."""

import attrs
import torch

from distill.config.settings import ModelSettings, RepresentationSettings
from distill.model.building import make_model, make_representation


def test_a_representation_has_the_settings_of_its_recipe():
    """Each setting reaches the representation."""
    settings = RepresentationSettings(sample_rate=8000, n_fft=256, hop=64, floor=1e-3)
    representation = make_representation(settings)
    assert {name: getattr(representation, name) for name in attrs.asdict(settings)} == attrs.asdict(settings)


def test_a_seed_draws_the_weights():
    """The same seed draws the same, another one others, and the caller's generator stands still."""
    representation = make_representation(RepresentationSettings(sample_rate=8000, n_fft=64, hop=32))
    settings = ModelSettings(
        width=8, fine_width=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1), latents_per_second=500
    )
    state = torch.get_rng_state()
    one, same, other = (
        torch.cat([p.flatten() for p in make_model(settings, representation, seed).parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
