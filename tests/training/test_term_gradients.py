"""Tests of distill.training.term_gradients: what each term does is measured, and changes nothing."""

import math

import attrs
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from distill import TermConfig, TermSpec
from distill.loss.composing import compose
from distill.testing import loss_inputs
from distill.training.term_gradients import Measured, TermGradients
from distill.training.window import Window
from distill.views import LogMagnitude, LossInputs, Posterior


class Listening:
    """A listener that measures no step of its own."""

    measures = False

    def seen(self, inputs, gradients):
        """Receive nothing of interest."""


class Decoder(nn.Module):
    """A model with one weight, which scales a waveform; a posterior comes before it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.shift = nn.Parameter(torch.tensor(2.0))

    def inputs(self, progress=0.5, *, frozen=False):
        """Return the inputs of a loss, on a graph that reaches the weights."""
        given = loss_inputs()
        mu = self.shift + torch.zeros_like(given.posterior.mu)
        mu = mu.detach() if frozen else mu
        made = given.prediction.sources[0].detach() * self.scale
        made = made + 0 * mu.mean() if mu.requires_grad else made
        side = attrs.evolve(given.prediction, spectrogram=made)
        logvar = mu * 0.1
        return LossInputs(
            prediction=side, target=given.target, posterior=Posterior(mu=mu, logvar=logvar), progress=progress
        )


class Opposed(nn.Module):
    """A term whose gradient points against that of `Forward`, and is twice as large."""

    factor = -2.0

    def __init__(self, _):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs):
        """Return a multiple of the mean."""
        value = self.factor * inputs.view(LogMagnitude())[0].mean()
        if value.requires_grad:
            value.register_hook(self.note)
        return value

    def note(self, gradient):
        """Write to a buffer in each backward pass, and draw a random number."""
        self.calls += 1
        torch.rand(())
        return gradient


class Forward(Opposed):
    """The other term."""

    factor = 1.0


class Once(Opposed):
    """A term that can be differentiated with the whole loss only, as with reentrant checkpoints."""

    def note(self, gradient):
        """Refuse if only this term is differentiated."""
        raise NotImplementedError("not compatible with .grad()")


def spec(term):
    """Return the spec of a term."""
    return TermSpec(name=term.__name__.lower(), config=TermConfig, build=term, summary="")


def measured(loss, model=None, step=0, every=1, warn=None, **inputs):
    """Return the gradients of a step."""
    model = model or Decoder()
    gradients = TermGradients(loss, model, every, warn or pytest.fail)
    return gradients.components(model.inputs(**inputs), step, Listening())[1]


def test_shares_and_cosines():
    """Opposite gradients weighted 1 to 2 have shares of 1/3 and 2/3, and a cosine of -1."""
    record = measured(compose([spec(Forward), spec(Opposed)])).record(Accelerator(cpu=True))
    assert record == {
        "shares": pytest.approx({"forward": 1 / 3, "opposed": 2 / 3}, abs=1e-5),
        "parameter_shares": pytest.approx({"forward": 1 / 3, "opposed": 2 / 3}, abs=1e-5),
        "cosines": {"forward": {"opposed": pytest.approx(-1, abs=1e-5)}},
    }
    weighted = compose([spec(Forward), spec(Opposed)], {"forward.weight": 2.0})
    shares = measured(weighted).record(Accelerator(cpu=True))["shares"]
    assert shares == pytest.approx({"forward": 0.5, "opposed": 0.5}, abs=1e-5)


def test_a_balanced_loss_is_measured_with_its_factors():
    """The balancer makes the shares equal, whatever the sizes of the gradients."""
    shares = measured(compose([spec(Forward), spec(Opposed)], balancer="gradient")).record(
        Accelerator(cpu=True)
    )["shares"]
    assert shares == pytest.approx({"forward": 0.5, "opposed": 0.5}, abs=1e-5)


def test_a_term_of_the_posterior():
    """It has a share if the encoder is trained, 0 if it is frozen, and none before its weight rises."""
    loss = compose("stft,kl", {"kl.warmup_fraction": 0.1})
    trained = measured(loss).record(Accelerator(cpu=True))
    assert 0 < trained["shares"]["kl"] < 1
    frozen = measured(loss, frozen=True).record(Accelerator(cpu=True))
    assert frozen["shares"] == {"stft": 1.0, "kl": 0.0}
    assert frozen["parameter_shares"] == {"stft": 1.0, "kl": 0.0}
    assert frozen["cosines"] == {}
    assert measured(loss, progress=0.0).record(Accelerator(cpu=True))["shares"] == {"stft": 1.0}


def test_measuring_changes_nothing():
    """Gradients of the weights, buffers of the terms and random numbers are those of a step without it."""
    found = []
    for every in (0, 1):
        torch.manual_seed(0)
        loss, model = compose([spec(Forward), spec(Opposed)]), Decoder()
        components, _ = TermGradients(loss, model, every, pytest.fail).components(
            model.inputs(), 0, Listening()
        )
        components["total"].backward()
        found.append([model.scale.grad, model.shift.grad, *loss.buffers(), torch.get_rng_state()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_term_that_cannot_be_differentiated_apart():
    """It is left out and told of once, with the reason; the others are measured."""
    told = []
    loss, model = compose([spec(Forward), spec(Once)]), Decoder()
    gradients = TermGradients(loss, model, 1, lambda *said: told.append(said))
    for step in range(2):
        found = gradients.components(model.inputs(), step, Listening())[1]
        assert found.record(Accelerator(cpu=True))["shares"] == {"forward": 1.0}
    ((about, message),) = told
    problem, remedy = message.split("\n")
    assert about == "gradient"
    assert problem.startswith(
        "The gradient of the term 'once' cannot be measured apart from the others: NotImplementedError"
    )
    assert remedy == "The training goes on. Shares and cosines are recorded without this term."


@pytest.mark.parametrize(
    ("every", "due"), [(0, []), (3, [0, 1, 2, 5, 8]), (None, [0, 1, 99, 199])], ids=["off", "3", "default"]
)
def test_when_it_is_measured(every, due):
    """Gradients are measured in the first two steps, then by default every 50 steps for each of two terms."""
    loss = compose(["stft", "recon", "waveform"], {"waveform.weight": 0.0})
    gradients = TermGradients(loss, Decoder(), every, pytest.fail)
    assert [step for step in range(10 if every is not None else 200) if gradients.are_due(step)] == due


def test_a_skipped_step_is_not_recorded():
    """A skipped step leaves the measurement before it, if any, and a checkpoint keeps that."""
    loss = compose([spec(Forward), spec(Opposed)])
    first = measured(loss)
    second = attrs.evolve(first, weights=7 * first.weights)
    window = Window(0, 0.0, torch.device("cpu"))
    components = {"total": torch.tensor(1.0)}
    window.add(components, torch.tensor(1.0), first)
    assert window.more(Accelerator(cpu=True))["gradients"]["shares"] == {"forward": None, "opposed": None}
    window.add(components, torch.tensor(0.0), first)
    window.add(components, torch.tensor(1.0), second, 0.25)
    window = Window.restored(window.state_dict(), torch.device("cpu"))
    assert window.more(Accelerator(cpu=True)) == {
        "learning_rate": 0.25,
        "gradients": first.record(Accelerator(cpu=True)),
    }
    assert isinstance(window.gradients, Measured)
    assert math.isfinite(window.gradients.weights.sum())
