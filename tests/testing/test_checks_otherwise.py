"""Tests of distill.testing.checks: what else a check catches, and what it lets pass."""

import re

import pytest
import torch
from attrs import evolve, field, frozen, validators
from checked_terms import TRAINED, Judge, Learning, Right, comparing, failures, held, spec_of

from distill import TermConfig
from distill.errors import ShapeError
from distill.testing import run_checks
from distill.testing.checks import CHECKS
from distill.views import LogMagnitude, Magnitude

NAMES = [check.__name__ for check in CHECKS]


def statuses(spec, **options):
    """Return the status of each check of a term."""
    return {outcome.check: outcome.status for outcome in run_checks(spec, **options)}


def asking(check, spec):
    """Waive all checks but one, where the others are not what is asked."""
    return evolve(spec, waivers=dict.fromkeys([name for name in NAMES if name != check], "not asked here"))


class Judging(Judge):
    """A trained term whose objective is another."""

    def __init__(self, config, wrong):
        super().__init__(config)
        self.wrong = wrong

    def objective(self, inputs):
        """Return what the function makes of the marks of both sides."""
        return self.wrong(*(self.judged(side) for side in inputs.view(LogMagnitude())))


def judging(wrong):
    """Declare a trained term whose objective is a function of the marks of both sides."""
    return spec_of(lambda config: Judging(config, wrong), **TRAINED)


class Unjudged(Learning):
    """A trained term without an objective."""


class Listening(Right):
    """Changes a view that was computed, and no source."""

    def forward(self, inputs):
        """Compare amplitudes, those of the target clamped in place."""
        prediction, target = inputs.view(Magnitude())
        return self.compare(prediction, target.clamp_(max=0.1))


class Raw(Right):
    """Looks past the views at what a model gave, of whatever precision that is."""

    def forward(self, inputs):
        """Sum up in the precision of the source."""
        return inputs.prediction.sources[0].exp().cumsum(-1).log().mean()


class Split(Right):
    """Compares the sides without having their shapes compared."""

    def forward(self, inputs):
        """Compare magnitudes frame by frame."""
        return self.compare(*(side.view(LogMagnitude()) for side in (inputs.prediction, inputs.target)))

    def compare(self, prediction, target):
        """Refuse another batch."""
        if len(prediction) != len(target):
            raise ShapeError("the batches differ")
        return super().compare(prediction, target)


class Growing(Right):
    """Has a state of a shape that depends on chance."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("drawn", torch.zeros(int(torch.randint(1, 10**6, ()))))


@frozen(kw_only=True)
class Bounded(TermConfig):
    """Options that can be set to what TOML has no word for."""

    limit: float | None = 1.0


@frozen(kw_only=True)
class Positive(TermConfig):
    """A weight that may not be 0."""

    weight: float = field(default=1.0, validator=validators.gt(0))


ALSO_WRONG = {
    "a gradient of 0": (
        "gradient",
        comparing(lambda prediction, target: (prediction - target).round().abs().mean()),
        "given a predicted spectrogram, the gradient is 0 everywhere; avoid functions without a gradient: ",
    ),
    "a root at 0": (
        "minimum",
        comparing(lambda prediction, target: (prediction - target).square().sum((1, 2)).sqrt().mean()),
        "at a spectrogram equal to the target's, the gradient is not finite; ",
    ),
    "a bias": (
        "minimum",
        comparing(lambda prediction, target: (prediction - 1.05 * target).abs().mean()),
        "at a spectrogram equal to the target's, the value is ",
    ),
    "a view changed": (
        "inputs_unchanged",
        spec_of(Listening),
        "the view Magnitude() of the target is changed in place; ",
    ),
    "an error of torch's": (
        "strict_shapes",
        spec_of(Split),
        "a prediction shorter than the target raised RuntimeError: ",
    ),
    "a state of another shape": (
        "state",
        spec_of(Growing),
        "its state cannot be loaded into a new term: ",
    ),
    "a source in half precision": (
        "float32",
        spec_of(Raw),
        "for a prediction in bfloat16 the value is ",
    ),
    "a gradient that leaves something out": (
        "float64",
        comparing(held),
        "in float64 the slope is ",
    ),
    "a weight that cannot be 0": (
        "weight_zero",
        spec_of(Right, Positive),
        "'weight' cannot be 0: ",
    ),
    "nothing to train": (
        "parameters",
        spec_of(Right, **TRAINED),
        "declared trained, but has no parameter to train; let its config be a TermConfig",
    ),
    "no objective": (
        "objective",
        spec_of(Unjudged, **TRAINED),
        "there is none; give the module a method objective(inputs) beside forward",
    ),
    "an objective per example": (
        "objective",
        judging(lambda prediction, target: (prediction - target).mean(1)),
        "it is a torch.float32 tensor of shape [2]; return a scalar float tensor or a dict of them",
    ),
    "an objective that is not finite": (
        "objective",
        judging(lambda prediction, target: (prediction - target).mean() / 0),
        "it is ",
    ),
    "an objective that goes up": (
        "objective",
        judging(
            lambda prediction, target: (
                2 * (prediction + target).mean().detach() - (prediction + target).mean()
            )
        ),
        "no step of the term's parameters against its gradient lowers it; look for a wrong sign",
    ),
}


@pytest.mark.parametrize(("check", "spec", "message"), ALSO_WRONG.values(), ids=ALSO_WRONG)
def test_what_else_a_check_catches(check, spec, message):
    """Other faults of a term are caught, each with a message of its own."""
    assert failures(asking(check, spec))[check].startswith(message)


def test_options_that_cannot_be_written():
    """A value that a recipe cannot hold is caught where it is set."""
    assert failures(spec_of(Right, Bounded)) == {}
    (detail,) = failures(spec_of(Right, Bounded), limit=None).values()
    assert detail.startswith(
        "the options cannot be written as TOML and read again: limit: None cannot be written as TOML"
    )


def test_a_term_may_refuse_short_clips():
    """An error of Distill's own for clips that are too short counts as an answer, and is shown."""

    def long_only(prediction, target):
        if target.shape[-1] < 10:
            raise ShapeError("needs 10 frames")
        return (prediction - target).abs().mean()

    outcomes = run_checks(asking("short_input", comparing(long_only)))
    (outcome,) = (each for each in outcomes if each.check == "short_input")
    assert (outcome.status, outcome.detail) == ("passed", "refused: needs 10 frames")


class Monitor(Right):
    """Counts the latents that are in use, which has no gradient."""

    def forward(self, inputs):
        """Count those whose mean varies."""
        mu = inputs.posterior.mu
        return (mu.transpose(0, 1).flatten(1).var(1) > 0.01).to(mu.dtype).sum()


@frozen(kw_only=True)
class Monitored(TermConfig):
    """Options of a term that is only looked at."""

    weight: float = 0.0


def test_a_monitor_waives_its_gradient():
    """Checks that need the waived gradient are not applicable; those of weight 0 and float32 still run."""
    waivers = {"gradient": "a count has none", "dual_mono": "a variance needs more than one example"}
    monitor = spec_of(Monitor, Monitored, per_example=False, waivers=waivers)
    found = statuses(monitor)
    assert "failed" not in found.values()
    assert found["descent"] == "not applicable"
    assert found["weight_zero"] == found["float32"] == "passed"


class Stationary(Right):
    """Gives another value once it was moved."""

    moved = False

    def _apply(self, function, recurse=True):  # noqa: FBT002  # as torch has it
        self.moved = True
        return super()._apply(function, recurse)

    def compare(self, prediction, target):
        """Double what was moved."""
        return super().compare(prediction, target) * (2 if self.moved else 1)


@pytest.mark.parametrize(("term", "status"), [(Right, "passed"), (Stationary, "failed")])
def test_another_device_must_agree(monkeypatch, term, status):
    """The value is compared where there is an accelerator; here the processor stands for one."""
    monkeypatch.setattr("distill.testing.checks.machine.accelerator", lambda: torch.device("cpu"))
    outcomes = run_checks(asking("device", spec_of(term)))
    (outcome,) = (each for each in outcomes if each.check == "device")
    assert outcome.status == status
    said = r"agrees on cpu" if status == "passed" else r"the value is [\d.]+ on cpu and [\d.]+ on cpu"
    assert re.fullmatch(said, outcome.detail)
