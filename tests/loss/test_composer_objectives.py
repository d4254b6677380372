"""Tests of distill.loss.composer: a term that is trained itself has an objective of its own."""

from types import SimpleNamespace

import pytest
import torch
from attrs import frozen
from torch import nn

from distill import TermSpec, TrainedTermConfig, hookimpl
from distill.loss.composing import compose
from distill.plugin.registry import Registry
from distill.views import LogMagnitude, Waveform


def test_components_can_be_kept(make_step):
    """Only the total and the objective hold a graph."""
    components = judged(terms="recon,kl,judge", balancer="gradient")(make_step().inputs)
    assert {name for name, value in components.items() if value.grad_fn} == {"total", "objective"}


@frozen(kw_only=True)
class JudgeConfig(TrainedTermConfig):
    """The options of the judge below."""


class Judge(nn.Module):
    """A term that is trained itself: it learns the level of the target, and pulls the prediction there."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.level = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs):
        """Compare the prediction's mean with the level learnt."""
        return (inputs.view(LogMagnitude())[0].mean() - self.level).square()

    def objective(self, inputs):
        """Compare the level with both sides' means."""
        prediction, target = inputs.view(LogMagnitude())
        return {
            "target": (self.level - target.mean()).square(),
            "prediction": 0 * prediction.mean() * self.level,
        }


def judged(options=None, *, terms="recon,judge", **others):
    """Compose `terms`, the judge of above being one that can be named."""
    specs = [TermSpec(name="judge", config=JudgeConfig, build=Judge, summary="")]
    registry = Registry(discover=False)
    registry.register(
        SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs)), name="my-loop", version="1"
    )
    return compose(terms, options, registry=registry, **others)


def test_a_trained_term_has_an_objective_of_its_own(make_step):
    """The total trains the model alone, and the objective the term alone; it is the sum of its parts."""
    step, loss = make_step(), judged()
    components = loss(step.inputs)
    components["total"].backward(retain_graph=True)
    assert step.prediction.grad.abs().sum() > 0
    assert loss.trained_terms()["judge"].level.grad is None
    step.prediction.grad = None
    components["objective"].backward()
    assert step.prediction.grad is None
    assert loss.trained_terms()["judge"].level.grad.abs() > 0
    assert components["objective"].item() == components["objective/judge"].item()
    assert components["objective/judge"].item() == pytest.approx(
        components["objective/judge/target"].item() + components["objective/judge/prediction"].item()
    )


def test_an_objective_shares_the_views_of_the_step(make_step):
    """It looks at the waveform that the terms have heard: the inverse is not done again."""

    class Hearing(Judge):
        def forward(self, inputs):
            return (inputs.view(Waveform())[0].mean() - self.level).square()

        def objective(self, inputs):
            waveforms = inputs.view(Waveform())
            assert not any(waveform.requires_grad for waveform in waveforms)
            return (self.level - waveforms[1].mean()).square()

    specs = [TermSpec(name="judge", config=JudgeConfig, build=Hearing, summary="")]
    registry = Registry(discover=False)
    registry.register(SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs)), name="my-loop")
    step = make_step()
    compose("judge", registry=registry)(step.inputs)
    assert step.representation.backs == 1


def test_a_term_that_has_not_begun_is_not_computed(make_step):
    """A trained term has no component and no objective before its start, and has both from then on."""
    loss = judged({"judge.start": 0.5})
    before, after = (loss(make_step(progress=progress).inputs) for progress in (0.49, 0.5))
    assert not [name for name in before if "judge" in name or "objective" in name]
    assert {"judge", "weighted/judge", "weight/judge", "objective", "objective/judge"} <= after.keys()


def test_in_evaluation_a_trained_term_is_left_out(make_step):
    """It judges differently at each step, so that totals with it could not be compared."""
    loss = judged().eval()
    assert not [name for name in loss(make_step().inputs) if "judge" in name or "objective" in name]


def test_only_trained_terms_may_be_left(make_step):
    """A total of nothing is 0."""
    assert judged(terms="judge").eval()(make_step().inputs)["total"].item() == 0


def test_parameters_that_a_term_holds_still_stay_so(make_step):
    """Parameters of a term that need no gradient do not come to need one."""
    loss = judged()
    loss.trained_terms()["judge"].level.requires_grad_(False)
    loss(make_step().inputs)
    assert not loss.trained_terms()["judge"].level.requires_grad


def test_a_trained_term_by_itself_gives_its_own_parameters_no_gradient(make_step):
    """A trained term alone gives the prediction a gradient and its parameters none, as in the total."""
    step, loss = make_step(), judged()
    (judge,) = loss.trained_terms().values()
    sources = step.prediction, judge.level
    prediction, own = torch.autograd.grad(loss.unweighted("judge", step.inputs), sources, allow_unused=True)
    assert prediction.abs().sum() > 0
    assert own is None
    assert judge.level.requires_grad
