"""Tests of distill.training.profiling: terms whose gradients are known, on a tiny model."""

import math
from types import SimpleNamespace

import pytest
import torch
from attrs import frozen
from torch import nn

from distill import TermConfig, TermSpec, TrainedTermConfig, hookimpl
from distill.audio.corpus import open_corpus
from distill.errors import TermError
from distill.loss.composer import CombinedLoss
from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.training.batches import clip_samples, draw_clips, draw_noise, predict
from distill.training.devices import make_accelerator
from distill.training.profiling import profile
from distill.views import Spectrogram


@frozen(kw_only=True)
class Options(TermConfig):
    """The options of any term here."""


class Plain(nn.Module):
    """The sum over the prediction, whose gradient is 1 everywhere."""

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Add up."""
        return inputs.view(Spectrogram())[0].sum()


class Inner(Plain):
    """A sum over the posterior, whose gradient is 2 for each `mu` and 1 for each `logvar`."""

    def forward(self, inputs):
        """Add up."""
        return 2 * inputs.posterior.mu.sum() + inputs.posterior.logvar.sum()


class Watched(Plain):
    """A term that can only be monitored."""

    def forward(self, inputs):
        """Count, without gradient."""
        return (inputs.posterior.mu.detach() > 0).float().sum()


class Broken(Plain):
    """A term whose gradient is not finite, though its value is."""

    def forward(self, inputs):
        """Take a root at 0."""
        return inputs.view(Spectrogram())[0].mul(0).sum().sqrt()


class Judge(nn.Module):
    """A term with a parameter and an objective of its own."""

    def __init__(self, _):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(3.0))

    def forward(self, inputs):
        """Judge the prediction."""
        return self.factor * inputs.view(Spectrogram())[0].sum()

    def objective(self, inputs):
        """Never asked for here."""
        raise NotImplementedError


class Plugin:
    """All of them."""

    @hookimpl
    def distill_loss_terms(self):
        """Yield each under the name of its class."""
        for term in (Plain, Inner, Watched, Broken):
            yield TermSpec(name=term.__name__.lower(), config=Options, build=term, summary="")
        yield TermSpec(name="judge", config=TrainedTermConfig, build=Judge, summary="")


class Bench:
    """A tiny model on tiny recordings, to profile terms at."""

    def __init__(self, tree, recordings, cache):
        self.tree = tree
        recipe = read_recipe(tree, Registry(discover=False)).recipe
        self.settings = recipe.training
        self.accelerator = make_accelerator(recipe.training)
        self.representation = make_representation(recipe.representation)
        self.model = make_model(recipe.model, self.representation, seed=0)
        self.samples = clip_samples(self.settings, self.representation, self.model)
        corpus = open_corpus(recordings, sample_rate=8000, cache=cache, heldout_fraction=0.0)
        self.recordings = corpus.train

    def loss(self, names, **weights):
        """Compose a loss."""
        registry = Registry(discover=False)
        registry.register(Plugin(), name="ours")
        assignments = [(f"loss.{name}.weight", weight) for name, weight in weights.items()]
        draft = read_recipe(self.tree, registry, loss=names, assignments=assignments)
        return CombinedLoss(draft.terms, draft.recipe.loss)

    def profile(self, loss, batches=3):
        """Profile its terms."""
        return profile(
            loss,
            model=self.model,
            representation=self.representation,
            recordings=self.recordings,
            settings=self.settings,
            accelerator=self.accelerator,
            batches=batches,
        )

    def batches(self, count):
        """Draw batches as a training that begins with these settings does, and return what the loss sees."""
        clips, noise = (torch.Generator().manual_seed(self.settings.seed) for _ in range(2))
        for _ in range(count):
            waveform = draw_clips(self.recordings, self.settings, self.samples, clips)
            drawn = draw_noise(self.model, self.representation, len(waveform), self.samples, noise)
            yield predict(self.model, self.representation, waveform, drawn, iterations=2, progress=1.0)


@pytest.fixture
def bench(tiny_tree, recordings, tmp_path):
    """Return one whose clips are of two in a batch."""
    return Bench(tiny_tree, recordings, tmp_path)


def test_norms_are_of_the_gradient_in_each_clip(bench):
    """A gradient of 1 has the root of its elements for norm; at the posterior 2 and 1 make root 5."""
    measured = bench.profile(bench.loss("plain,inner"))
    frames = bench.representation.frames(bench.samples)
    latents = bench.model.latent_size * bench.model.latent_frames(frames)
    norms = {"plain": math.sqrt(2 * 129 * frames), "inner": math.sqrt(5 * latents)}
    assert measured.gradients.norms() == pytest.approx(norms)
    assert measured.gradients.reaching == ("plain",)
    assert len(measured.gradients.output) == 3 * 2


def test_what_reaches_the_output_is_carried_back_through_the_decoder(bench):
    """Gradients reach the posterior of the same clips and noise, without the warm-up."""
    measured = bench.profile(bench.loss("plain"))
    expected = []
    for inputs in [*bench.batches(4)][1:]:
        posterior = inputs.posterior.mu, inputs.posterior.logvar
        gradients = torch.autograd.grad(inputs.prediction.spectrogram.sum(), posterior)
        expected += sum(gradient.flatten(1).double().square().sum(1) for gradient in gradients).tolist()
    assert measured.gradients.posterior.flatten().tolist() == pytest.approx(expected, rel=1e-4)


def test_values_are_means_and_times_are_taken(bench):
    """Values are means of the unweighted term, and every measured time is positive."""
    cost = bench.profile(bench.loss("plain", plain=0.5)).costs["plain"]
    sums = [inputs.prediction.spectrogram.sum().item() for inputs in bench.batches(4)][1:]
    assert cost.value == pytest.approx(sum(sums) / 3, rel=1e-4)
    assert min(cost.forward, cost.backward) > 0


def test_times_are_medians(bench, monkeypatch):
    """Times are the medians of 10, 2, 30 ms forward and 1, 5, 4 ms backward, without the warm-up."""
    ticks = [0, 500, 0, 600, 0, 10, 0, 1, 0, 2, 0, 5, 0, 30, 0, 4]
    clock = SimpleNamespace(perf_counter=iter([tick / 1e3 for tick in ticks]).__next__)
    monkeypatch.setattr("distill.training.profiling.time", clock)
    cost = bench.profile(bench.loss("plain")).costs["plain"]
    assert (cost.forward, cost.backward) == pytest.approx((10, 4))


def test_a_weight_of_0_hides_nothing(bench):
    """A term of weight 0 is measured as any other."""
    one, other = (bench.profile(bench.loss("plain,inner", plain=weight)) for weight in (0, 1))
    assert one.gradients.norms() == other.gradients.norms()


def test_a_term_that_can_only_be_monitored_has_no_gradient(bench):
    """It has a value all the same."""
    measured = bench.profile(bench.loss("plain,watched", watched=0))
    assert measured.gradients.norms()["watched"] == 0
    assert measured.costs["watched"].value > 0


def test_trained_terms_are_measured_like_others(bench):
    """Three times the sum has three times its gradient, and the term's own parameters get none."""
    loss = bench.loss("plain,judge")
    norms = bench.profile(loss).gradients.norms()
    assert norms["judge"] == pytest.approx(3 * norms["plain"])
    assert loss.trained_terms()["judge"].factor.grad is None


def test_nothing_is_learnt_and_every_time_the_same_is_measured(bench):
    """Neither weights nor gradients change, and the settings' seed draws the clips."""
    loss = bench.loss("stft,recon,kl")
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    one, other = bench.profile(loss), bench.profile(loss)
    assert torch.equal(one.gradients.posterior, other.gradients.posterior)
    assert all(torch.equal(value, before[name]) for name, value in bench.model.state_dict().items())
    assert all(parameter.grad is None for parameter in bench.model.parameters())


def test_a_gradient_that_is_not_finite_is_named(bench):
    """The message names the term, its distribution and the command that finds the cause."""
    with pytest.raises(TermError) as caught:
        bench.profile(bench.loss("plain,broken"))
    assert str(caught.value) == (
        "broken (ours): its value or its gradient is not finite on clips of this corpus\n"
        "See what breaks it: distill losses check broken"
    )
