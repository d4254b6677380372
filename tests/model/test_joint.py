"""Tests of distill.model.joint: the hidden layers of a small code."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from distill.config.settings import ModelSettings
from distill.model.building import make_model
from distill.model.code import BandCode, Levels
from distill.model.joint import JointLayers
from distill.spectral.representation import MagnitudeIF

FLOOR = 1e-5


@pytest.fixture
def layers():
    """Return layers for two frames of two bands with three and one shape numbers, with random weights."""
    made = JointLayers(BandCode((3, 1), kept=5, joint=2), Levels(FLOOR), width=16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for each in made.parameters():
            each.normal_(0, 0.3, generator=generator)
    return made


def drawn(*shape):
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_they_add_nothing_before_they_are_trained():
    """A new model with the layers encodes and decodes as one without them."""
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    options = {"code": "compact", "joint_frames": 2, "width": 16, "fine_width": 8}
    plain, layered = (
        make_model(ModelSettings(**options, joint_width=width), representation, seed=0) for width in (0, 32)
    )
    spectrogram = representation(drawn(1, 4000))
    assert layered.joint is not None
    assert plain.joint is None
    latents, _ = layered.encode(spectrogram)
    assert torch.equal(latents, plain.encode(spectrogram)[0])
    assert torch.equal(layered.decode(latents, 60), plain.decode(latents, 60))


@torch.no_grad()
def test_their_input_is_what_is_audible(layers):
    """Inputs are the level, log(1 + a / h) / 3 and a / (a + h) of each shape number, by numpy.

    Here a is the amplitude of a band, and h 1e-4 of the loudest of two frames plus the floor.
    """
    layers.inwards = nn.Identity()
    level, rest = drawn(1, 1, 4), drawn(1, 6, 4)
    made = layers.encode(level, rest)[0].T.reshape(4, 7).double().numpy()
    levels, numbers = level[0, 0].double().numpy(), rest[0].double().numpy()
    log_magnitude = numbers[:2] * 3 - 3 + levels * 3 + 7
    amplitude = FLOOR * np.expm1(log_magnitude.clip(0, 16))
    heard = 1e-4 * amplitude.reshape(2, 2, 2).max((0, 2)).repeat(2) + FLOOR
    weight = (amplitude / (amplitude + heard))[[0, 0, 0, 1]]
    expected = np.concatenate([levels[None], np.log1p(amplitude / heard) / 3, numbers[2:] * weight])
    np.testing.assert_allclose(made, expected.T, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_what_cannot_be_heard_takes_no_room(layers):
    """The shape of a band 120 dB below the other one hardly changes the latents; that of the other does."""
    level = torch.zeros(1, 1, 2)
    rest = torch.zeros(1, 6, 2)
    rest[:, 1] = -math.log(1e6) / 3
    before = layers.encode(level, rest)
    for number, least, most in ((5, 0.0, 0.2), (2, 0.3, math.inf)):
        changed = rest.clone()
        changed[:, number] = 1.0
        assert least <= float((layers.encode(level, changed) - before).abs().max()) < most


@torch.no_grad()
def test_latent_frames_are_independent(layers):
    """Each latent frame depends on its own frames, and each frame on its own latent frame."""
    level, rest, latents = drawn(2, 1, 6), drawn(2, 6, 6), drawn(2, 5, 3)
    levels = level.unflatten(2, (3, 2))[:, 0].mT
    encoded, decoded = layers.encode(level, rest), layers.decode(levels, latents)
    assert encoded.shape == (2, 5, 3)
    assert decoded.shape == (2, 6, 6)
    torch.testing.assert_close(layers.encode(level[..., 2:4], rest[..., 2:4]), encoded[..., 1:2])
    torch.testing.assert_close(layers.decode(levels[..., 1:2], latents[..., 1:2]), decoded[..., 2:4])
    louder = layers.decode(levels + 1, latents)
    assert not torch.allclose(louder, decoded)
