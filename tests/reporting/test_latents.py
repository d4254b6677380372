"""Tests of the statistics of latents, with formulas of another source."""

import numpy as np
import pytest
import torch

import distill
from distill.audio.soundfiles import read_audio
from distill.reporting.latents import ACTIVE, measure_latents


@pytest.fixture(scope="module")
def model(trained):
    """Return the model of a trained run."""
    return distill.load(trained.folder)


@pytest.fixture(scope="module")
def original(trained):
    """Return its held-out original."""
    (path,) = trained.folder.glob("audio/*.original.wav")
    return read_audio(path)[0]


@pytest.fixture(scope="module")
def latents(model, original):
    """Return its statistics."""
    return measure_latents(model, [original])


def test_a_unit_is_active_by_the_variance_of_its_mean(model, latents):
    """A unit is active by the variance of its mean over all frames of all recordings (Burda et al., 2016)."""
    frames = torch.cat([each.latents.permute(0, 2, 1).reshape(-1, model.vae.latent_size)
                        for each in model.latents.values()])  # fmt: skip
    expected = frames.double().var(dim=0, correction=0)
    assert np.allclose(latents.variance, expected)
    assert latents.active == int((expected > ACTIVE).sum())


def test_the_divergence_is_that_of_torch(model, latents, original):
    """The divergence from a standard normal is torch's, averaged over the frames of held-out sounds."""
    mu, logvar = model.vae.encode(model.representation(original))
    posterior = torch.distributions.Normal(mu.double(), (0.5 * logvar.double()).exp())
    standard = torch.distributions.Normal(torch.zeros(1).double(), torch.ones(1).double())
    expected = torch.distributions.kl_divergence(posterior, standard).mean(dim=(0, 2)).detach()
    assert np.allclose(latents.divergence, expected)
    assert measure_latents(model, []).divergence is None


def test_the_map_has_every_recording(model, latents):
    """The map has every recording by name, with a sound; the axes show no more than the whole."""
    assert [point.name for point in latents.points] == [*model.latents]
    assert all(point.sound for point in latents.points)


def test_the_sounds_of_the_map_are_counted(model):
    """Progress is told after each sound that is made, up to the number of recordings."""
    told = []
    measure_latents(model, [], on_progress=told.append)
    names = [*model.latents]
    assert [(each.stage, each.done, each.total, each.item) for each in told] == [
        ("map", number, len(names), name) for number, name in enumerate(names, start=1)
    ]


def test_the_axes_of_the_map_show_no_more_than_there_is(latents):
    """The shares of the variance add up to 1 at most."""
    assert 0 < sum(latents.explained) <= 1 + 1e-9


def test_the_map_keeps_distances(model, latents):
    """Its axes are principal components: no other two show more of the differences."""
    means = np.stack([each.latents.double().mean(dim=(0, 2)).numpy() for each in model.latents.values()])
    spread = np.linalg.eigvalsh(np.cov(means.T, bias=True))[::-1]
    shown = np.array([(point.x, point.y) for point in latents.points]).var(axis=0)
    assert np.allclose(shown, spread[:2], atol=1e-9)
    assert np.allclose(latents.explained, spread[:2] / spread.sum(), atol=1e-6)
