"""Tests of distill.batches: what is drawn for a step, and what a training begins with."""

import pytest
import torch
from attrs import evolve

from distill.assembly import make_model, make_representation
from distill.batches import begin, clip_samples, draw_clips, draw_noise, predict
from distill.corpus import open_corpus
from distill.recipe import read_recipe
from distill.registry import Registry
from distill.views import Spectrogram, Waveform


@pytest.fixture
def recipe(tiny_tree):
    """Give the tiny recipe, with four clips in a step."""
    tree = {**tiny_tree, "training": {**tiny_tree["training"], "batch_size": 4}}
    return read_recipe(tree, Registry(discover=False)).recipe


@pytest.fixture
def parts(recipe):
    """Give the representation and the model of the recipe."""
    representation = make_representation(recipe.representation)
    return representation, make_model(recipe.model, representation, seed=0)


@pytest.fixture
def train(recordings, tmp_path):
    """Give the tiny recordings, all of them to train on."""
    return open_corpus(recordings, sample_rate=8000, cache=tmp_path, heldout_fraction=0.0).train


def generator():
    """Give a generator that always begins alike."""
    return torch.Generator().manual_seed(0)


def test_a_clip_fills_whole_latents(recipe, parts):
    """0.2 s at 8 kHz are 26 frames of 64 samples, and two frames make a latent: 1600 samples."""
    representation, model = parts
    samples = clip_samples(recipe.training, representation, model)
    assert samples >= 1600
    assert representation.frames(samples) % model.stride == 0
    assert representation.frames(samples) - representation.frames(1600) < model.stride


@pytest.mark.parametrize("rows", [[0, 1], [2, 3], [1]])
def test_rows_are_those_of_all_clips(recipe, train, rows):
    """Whoever draws a part of a step has the clips that whoever draws all of it has there."""
    clips = draw_clips(train, recipe.training, 1600, generator())
    assert clips.shape == (4, 1600)
    torch.testing.assert_close(draw_clips(train, recipe.training, 1600, generator(), rows), clips[rows])


def test_noise_has_the_shape_of_the_latents(recipe, parts):
    """As many numbers for each clip as its posterior has."""
    representation, model = parts
    samples = clip_samples(recipe.training, representation, model)
    mu, _ = model.encode(representation(torch.randn(3, samples)))
    assert draw_noise(model, representation, 3, samples, generator()).shape == mu.shape


def test_a_prediction_stands_beside_its_target(parts):
    """The waveform is the target, the model's output the prediction, and the posterior is the model's."""
    representation, model = parts
    waveform = 0.1 * torch.randn(2, 1600, generator=generator())
    inputs = predict(model, representation, waveform, None, iterations=3, progress=0.25)
    made, mu, logvar = model(representation(waveform), None)
    torch.testing.assert_close(inputs.prediction.view(Spectrogram()), made)
    assert torch.equal(inputs.target.view(Waveform()), waveform)
    torch.testing.assert_close((inputs.posterior.mu, inputs.posterior.logvar), (mu, logvar))
    assert (inputs.prediction.iterations, inputs.progress) == (3, 0.25)


def test_a_model_begins_with_clips_at_all_speeds(recipe, parts, train):
    """The mean frame that it begins with is another one where clips are played at one speed."""
    representation, model = parts
    frames = []
    for speed in (0.0, 1.0):
        begin(model, representation, train, evolve(recipe.training, speed=speed))
        frames.append(model.mean_frame.clone())
    assert (frames[0] - frames[1]).abs().max() > 0.1
