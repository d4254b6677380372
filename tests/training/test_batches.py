"""Tests of distill.training.batches: what is drawn for a step, and what a training begins with."""

from contextlib import nullcontext

import pytest
import torch
from attrs import evolve

from distill.audio.corpus import open_corpus
from distill.model.building import make_model, make_representation
from distill.model.initialization import code_statistics, windows
from distill.model.spread import negative_log_likelihood
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.training.batches import begin, calibrate, clip_samples, draw_clips, draw_noise, predict
from distill.training.building import make_loss
from distill.views import Spectrogram, Waveform


@pytest.fixture
def recipe(tiny_tree):
    """Return the tiny recipe, with four clips in a step."""
    tree = {**tiny_tree, "training": {**tiny_tree["training"], "batch_size": 4}}
    return read_recipe(tree, Registry(discover=False)).recipe


@pytest.fixture
def parts(recipe):
    """Return the representation and the model of the recipe."""
    representation = make_representation(recipe.representation)
    return representation, make_model(recipe.model, representation, seed=0)


@pytest.fixture
def train(recordings, tmp_path):
    """Return the tiny recordings, all of them to train on."""
    return open_corpus(recordings, sample_rate=8000, cache=tmp_path, heldout_fraction=0.0).train


def generator():
    """Return a generator that always begins alike."""
    return torch.Generator().manual_seed(0)


def test_a_clip_fills_whole_latents(recipe, parts):
    """0.2 s at 8 kHz are 26 frames of 64 samples, and eight frames make a latent: 32 frames."""
    representation, model = parts
    samples = clip_samples(recipe.training, representation, model)
    assert samples >= 1600
    assert representation.frames(samples) % model.stride == 0
    assert representation.frames(samples) - representation.frames(1600) < model.stride


@pytest.mark.parametrize("rows", [[0, 1], [2, 3], [1]])
def test_rows_are_those_of_all_clips(recipe, train, rows):
    """A part of a step's clips equals the same rows of the whole step."""
    clips = draw_clips(train, recipe.training, 1600, generator())
    assert clips.shape == (4, 1600)
    torch.testing.assert_close(draw_clips(train, recipe.training, 1600, generator(), rows), clips[rows])


def test_noise_has_the_shape_of_the_latents(recipe, parts):
    """The noise has as many numbers for each clip as its posterior."""
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


def test_a_step_stays_on_its_device_and_never_waits_for_it(monkeypatch):
    """Where tensors have no values, none can be asked for, and none may meet a tensor elsewhere.

    So the part of the code that is for GPUs runs where there is none, with all installed terms.
    """
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # such a device has none
    registry = Registry()
    # torch 2.8 cannot differentiate weight normalization without values.
    without = {"adversarial"} if torch.__version__.startswith("2.8.") else set()
    every = ",".join(term.name for term in registry.terms() if term.name not in without)
    draft = read_recipe({}, registry, loss=every)
    representation = make_representation(draft.recipe.representation).to("meta")
    model = make_model(draft.recipe.model, representation, seed=0).to("meta")
    loss = make_loss(draft, seed=0).to("meta")
    samples = clip_samples(draft.recipe.training, representation, model)
    waveform = torch.empty(2, samples, device="meta")
    latent_frames = model.latent_frames(representation.frames(samples))
    noise = torch.empty(2, model.latent_size, latent_frames, device="meta")
    components = loss(predict(model, representation, waveform, noise, iterations=2, progress=0.9))
    assert {value.device.type for value in components.values()} == {"meta"}
    sum(components[name] for name in ("total", "objective") if name in components).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def compact(recipe, representation):
    """Make a model whose code is cut to its principal axes."""
    return make_model(evolve(recipe.model, latents_per_second=128), representation, seed=0)


@torch.no_grad()
@pytest.mark.parametrize("most", [512, 2])
def test_a_compact_code_begins_with_the_beginnings_of_recordings(recipe, parts, train, monkeypatch, most):
    """The initial mean is that of a channel of each recording, evenly spread over them if there are many."""
    monkeypatch.setattr("distill.training.batches._RECORDINGS_TO_BEGIN_WITH", most)
    model = compact(recipe, parts[0])
    some = train.recordings if most == 512 else train.recordings[:: -(-len(train.recordings) // 2)]
    waveforms = [train.read(each) for each in some]
    cut = [windows(model, parts[0], each[number % len(each)]) for number, each in enumerate(waveforms)]
    expected = code_statistics(model, cut, 1).mean.float()
    begin(model, parts[0], train)
    assert model.axes.begun
    torch.testing.assert_close(model.axes.outwards.bias, expected.repeat(model.code.joint))


def test_a_model_begins_once(recipe, parts, train):
    """A training that goes on keeps what was trained since its beginning."""
    model = compact(recipe, parts[0])
    begin(model, parts[0], train)
    with torch.no_grad():
        model.axes.inwards.weight.fill_(0.5)
    begin(model, parts[0], train)
    assert (model.axes.inwards.weight == 0.5).all()


def test_a_rich_code_has_nothing_to_begin_with(recipe, parts, train):
    """A rich code is whole, so that nothing of it needs to be initialized."""
    representation, _ = parts
    model = make_model(evolve(recipe.model, latents_per_second=None), representation, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    begin(model, representation, train)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.usefixtures("calibrated")
def test_a_calibrated_model_tells_how_far_off_it_is(recipe, parts, train):
    """The spread rises towards the mean error, and nothing but its layer has learnt."""
    representation, model = parts
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibrate(model, representation, train, recipe.training)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"spread_out.weight", "spread_out.bias"}
    samples = clip_samples(recipe.training, representation, model)
    told, wrong = [], []
    for seed in range(4):
        clips = draw_clips(train, recipe.training, samples, torch.Generator().manual_seed(100 + seed))
        with torch.no_grad():
            features, error = model.errors(representation(clips))
            spread = model.spread_of(features)
        likelihood = negative_log_likelihood(error, spread).mean()
        alike = negative_log_likelihood(error, torch.full_like(error, 0.7131)).mean()
        assert likelihood < alike
        told.append(spread.mean())
        wrong.append(error.mean())
    told, wrong = sum(told) / 4, sum(wrong) / 4
    assert 0.7131 < told < wrong
