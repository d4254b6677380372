"""Tests of distill.training, trainer and optimization: terms that are trained themselves, and balancers."""

import os
import signal

import pytest
import torch
from attrs import frozen
from torch import nn

from distill import TrainedTermConfig
from distill.errors import TrainingError
from distill.storage.checkpoints import load_latest
from distill.training.trainer import Interrupted
from distill.views import LogMagnitude


@frozen(kw_only=True)
class JudgeConfig(TrainedTermConfig):
    """The options of the term below."""

    start: float = 0.5
    learning_rate: float = 0.01


class Judge(nn.Module):
    """A discriminator of one parameter per bin: the prediction is to look like the target to it."""

    config = JudgeConfig

    def __init__(self, _):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(129))
        self.register_buffer("looks", torch.zeros(()))

    def _judge(self, magnitudes):
        return torch.einsum("bft,f->bt", magnitudes, self.weights).tanh()

    def forward(self, inputs):
        """Let the prediction look good."""
        return (1 - self._judge(inputs.view(LogMagnitude())[0])).mean()

    def objective(self, inputs):
        """Let the target look good, and the prediction bad."""
        self.looks += 1
        prediction, target = inputs.view(LogMagnitude())
        return {"fake": (1 + self._judge(prediction)).mean(), "real": (1 - self._judge(target)).mean()}


class Stumbling(Judge):
    """The same with an objective that is no number at its second look."""

    def objective(self, inputs):
        """Divide by zero the second time."""
        parts = super().objective(inputs)
        return parts | {"bad": parts["fake"] * torch.where(self.looks == 2, torch.nan, 0.0)}


def state_of(trainer):
    """Copy the parameters and buffers of the judge."""
    (term,) = trainer.loss.trained_terms().values()
    return {name: value.clone() for name, value in term.state_dict().items()}


def interrupt_at(step):
    """Return a function that asks the training to stop at a step."""
    return lambda record: os.kill(os.getpid(), signal.SIGINT) if record.step == step else None


def test_a_trained_term_begins_at_its_start_and_learns(make):
    """A trained term is absent until its start, and then learns once per step and is logged."""
    trainer = make(Judge, steps=8, evaluations=1)
    before = state_of(trainer)
    trainer.train()
    after = state_of(trainer)
    assert after["looks"].item() == 4
    assert not torch.equal(before["weights"], after["weights"])
    recorded = [components for _, components in trainer.recorded()]
    assert ["judge" in components for components in recorded] == [False] * 4 + [True] * 4
    logged = {"objective", "objective/judge", "objective/judge/fake", "gradient_norm/judge"}
    assert [logged <= components.keys() for components in recorded] == [False] * 4 + [True] * 4


def test_a_term_that_begins_within_a_window_is_logged_from_there(make):
    """What was logged until then is recorded first: means are of one set of components each."""
    trainer = make(Judge, steps=8, evaluations=1, log_every=3)
    trainer.train()
    assert [(step, "judge" in components) for step, components in trainer.recorded()] == [
        (3, False),
        (4, False),
        (6, True),
        (8, True),
    ]


def test_the_objective_gives_the_model_nothing(make):
    """With a weight of 0 the term is trained all the same, and the model as if it were not there."""
    alone, beside = make(steps=8, evaluations=1), make(Judge, steps=8, evaluations=1, folder="beside")
    object.__setattr__(beside.loss.config.judge, "weight", 0.0)
    alone.train()
    beside.train()
    assert state_of(beside)["looks"].item() == 4
    one, other = alone.model_state(), beside.model_state()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("at", [2, 6])
def test_a_resumed_training_goes_on_with_its_trained_terms(make, at):
    """A run stopped before or after the start equals a straight one, bit by bit."""
    straight = make(Judge, steps=8, folder="straight")
    stopped = make(Judge, steps=8, on_record=interrupt_at(at))
    straight.train()
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = make(Judge, steps=8)
    resumed.train(load_latest(stopped.run.checkpoints).state)
    for state in (state_of, lambda trainer: trainer.model_state()):
        one, other = state(resumed), state(straight)
        assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_an_objective_that_is_not_finite_stops_the_training(make):
    """An objective that is not finite is named in an error before either optimizer moves."""
    trainer = make(Stumbling, steps=8, evaluations=1)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    assert str(caught.value).startswith(
        "step 6: the loss is not finite: objective is nan, objective/stumbling (stumbling-losses 1) is nan, "
    )
    (own,) = trainer.optimization.own_optimizers.values()
    assert {float(state["step"]) for state in own.state.values()} == {1.0}
    assert {float(s["step"]) for s in trainer.optimization.optimizer.state.values()} == {5.0}


def test_the_seed_draws_what_a_term_learns(make):
    """Two runs of a seed begin with the same parameters, whatever was drawn before; another seed, others."""
    first = state_of(make(Judge, steps=1))
    torch.randn(10)
    same, other = (
        state_of(make(Judge, steps=1, folder="b")),
        state_of(make(Judge, steps=1, seed=1, folder="c")),
    )
    assert torch.equal(first["weights"], same["weights"])
    assert not torch.equal(first["weights"], other["weights"])


def test_a_balancers_averages_are_in_the_checkpoint(make):
    """Stopped and resumed, a balanced training equals one that was never stopped, bit by bit."""
    straight = make(steps=8, folder="straight", balance="gradient")
    stopped = make(steps=8, on_record=interrupt_at(4), balance="gradient")
    straight.train()
    with pytest.raises(Interrupted):
        stopped.train()
    resumed = make(steps=8, balance="gradient")
    resumed.train(load_latest(stopped.run.checkpoints).state)
    assert resumed.loss.balancer.counts.tolist() == straight.loss.balancer.counts.tolist()
    one, other = resumed.model_state(), straight.model_state()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert stopped.recorded() + resumed.recorded() == straight.recorded()
