"""Tests of distill.testing.checks: each is proven by a wrong term that it alone catches."""

import re
import sys

import pytest
import torch
from attrs import evolve, field, frozen, validators
from torch import nn

from distill import TermConfig, TermSpec, TrainedTermConfig
from distill.errors import ShapeError
from distill.testing import run_checks
from distill.testing.checks import CHECKS
from distill.views import InstantaneousFrequency, LogMagnitude, Magnitude, Waveform

NAMES = [check.__name__ for check in CHECKS]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """Let the classes of this module be pickled by their names, as those of a plugin are."""
    monkeypatch.setitem(sys.modules, Right.__module__, sys.modules[__name__])


def distance(prediction, target):
    """Return a loss that is right, the mean distance; the wrong ones differ by little."""
    return (prediction - target).abs().mean()


class Right(nn.Module):
    """A term that compares two log-magnitudes, rightly unless told how."""

    def __init__(self, config, function=distance):
        super().__init__()
        self.config, self.function = config, function

    def forward(self, inputs):
        """Look at both sides."""
        return self.compare(*inputs.view(LogMagnitude()))

    def compare(self, prediction, target):
        """Return the loss."""
        return self.function(prediction, target)


def vector(prediction, target):
    """Leave a loss for each example."""
    return (prediction - target).abs().mean((1, 2))


def undefined(prediction, target):
    """Take the logarithm of a number below 0."""
    return ((prediction - target).abs() - 1e3).mean().log()


def detached(prediction, target):
    """Let no gradient through."""
    return distance(prediction.detach(), target)


def in_place(prediction, target):
    """Change a tensor that other terms look at."""
    return distance(prediction.clamp(min=1), target.clamp_(min=1))


def random(prediction, target):
    """Draw a number at each call."""
    return distance(prediction, target) * (1 + 0.01 * torch.rand(()))


def negative(prediction, target):
    """Reward what should be punished."""
    return -distance(prediction, target)


def uphill(prediction, target):
    """Return the right value, and a gradient that points the other way."""
    return 2 * distance(prediction, target).detach() - distance(prediction, target)


def relative(prediction, target):
    """Divide by the level of the target, which may be 0."""
    return ((prediction - target).abs().mean((1, 2)) / target.mean((1, 2))).mean()


def summed(prediction, target):
    """Cost more with more examples."""
    return (prediction - target).abs().mean((1, 2)).sum()


def ordered(prediction, target):
    """Prefer the last examples."""
    place = torch.arange(1.0, 1.0 + len(target))
    return ((prediction - target).abs().mean((1, 2)) * place / place.sum()).sum()


def batch_norm(prediction, target):
    """Divide by the level of all examples, so that loud ones drown quiet ones."""
    return (prediction - target).norm() / (target.norm() + 1e-3)


def halved(prediction, target):
    """Round to half precision."""
    return distance(prediction.half().to(prediction.dtype), target.half().to(target.dtype))


def single(prediction, target):
    """Round to single precision."""
    return distance(prediction.float(), target.float())


def held(prediction, target):
    """Keep a factor that depends on the prediction out of the gradient."""
    return distance(prediction, target) * (1 + prediction.mean().detach())


def branching(prediction, target):
    """Look at the value while it is computed."""
    loss = distance(prediction, target)
    return loss if loss < 1e9 else loss.clamp(max=1e9)


class Gated(Right):
    """Does not hear what is quiet."""

    def forward(self, inputs):
        """Compare amplitudes above -40 dB."""
        return self.compare(*(side.clamp(min=1e-2) for side in inputs.view(Magnitude())))


class Framed(Right):
    """Cuts frames of 1024 samples, of which a clip may have none."""

    def forward(self, inputs):
        """Compare frames of samples."""
        return self.compare(*(side.unfold(-1, 1024, 256) for side in inputs.view(Waveform())))


class Broadcasting(Right):
    """Looks at each side for itself, so that nobody compares their shapes."""

    def forward(self, inputs):
        """Compare mean spectra."""
        sides = inputs.prediction, inputs.target
        return self.compare(*(side.view(LogMagnitude()).mean(-1) for side in sides))


class Unwrapped(Right):
    """Takes an IF for a number on a line."""

    def forward(self, inputs):
        """Compare IFs."""
        return self.compare(*inputs.view(InstantaneousFrequency()))


class Forgetful(Right):
    """Draws a projection that is not saved."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("projection", torch.randn(16, 129), persistent=False)

    def compare(self, prediction, target):
        """Compare projections."""
        return super().compare(self.projection @ prediction, self.projection @ target)


class Rooted(Right):
    """Keeps a tensor where the module does not know it."""

    def __init__(self, config):
        super().__init__(config)
        self.curves = {"weights": [torch.linspace(1, 2, 129)[:, None]]}

    def compare(self, prediction, target):
        """Weight the bins."""
        return super().compare(*(self.curves["weights"][0] * side for side in (prediction, target)))


class Improvised(Right):
    """Keeps a function that was made on the spot."""

    def __init__(self, config):
        super().__init__(config, lambda prediction, target: (prediction - target).abs().mean())


class Remembering(Right):
    """Remembers its last value, and with it all that this was computed of."""

    def compare(self, prediction, target):
        """Keep the value."""
        self.last = super().compare(prediction, target)
        return self.last


class Branched(Right):
    """Is another term where it is compiled."""

    def compare(self, prediction, target):
        """Cost more then."""
        return super().compare(prediction, target) * (2 if torch.compiler.is_compiling() else 1)


class Learning(Right):
    """Has a parameter that nobody was told of."""

    def __init__(self, config):
        super().__init__(config)
        self.factor = nn.Parameter(torch.ones(129, 1))

    def compare(self, prediction, target):
        """Weight the bins by what is learnt."""
        return super().compare(self.factor * prediction, self.factor * target)


class Judge(nn.Module):
    """A trained term that is right: it tells targets from predictions, bin by bin."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.factor = nn.Parameter(torch.linspace(-0.1, 0.1, 129)[:, None])
        self.bias = nn.Parameter(torch.zeros(()))

    def judged(self, spectrum):
        """Return a mark for each frame."""
        return (self.factor * spectrum).mean(1) + self.bias

    def forward(self, inputs):
        """Return what the model lowers."""
        return -self.judged(inputs.view(LogMagnitude())[0]).mean()

    def objective(self, inputs):
        """Return what the term lowers itself."""
        prediction, target = (self.judged(side) for side in inputs.view(LogMagnitude()))
        return {"fake": (1 + prediction).relu().mean(), "real": (1 - target).relu().mean()}


class Deaf(Judge):
    """Does not train its bias."""

    def judged(self, spectrum):
        """Cut the gradient off."""
        return (self.factor * spectrum).mean(1) + self.bias.detach()


@frozen(kw_only=True)
class Doubled(TermConfig):
    """Options that change whenever they are read."""

    share: float = field(default=1.0, converter=lambda share: share / 2)


@frozen(kw_only=True)
class Stubborn(TermConfig):
    """Options whose weight cannot be 0."""

    def weight_at(self, progress):
        """Rise all the same."""
        return self.weight + 0.5 * progress


UNCOMPILED = {"compiled": "it takes longer than all other checks, and is not what is asked here"}


def spec_of(term, config=TermConfig, waivers=UNCOMPILED, **others):
    """Declare a term."""
    return TermSpec(name="mine", config=config, build=term, summary="", waivers=waivers, **others)


def comparing(function, **others):
    """Declare a term of a function of two log-magnitudes."""
    return spec_of(lambda config: Right(config, function), **others)


PLACE = "PLACE"
"""What stands for the place of an error in the messages below."""

TRAINED = {"config": TrainedTermConfig}
BATCH = {"per_example": False}
FLOAT32 = {"waivers": {**UNCOMPILED, "float64": "no gradient that is wrong is that of finite differences"}}

WRONG = {
    "config": (
        spec_of(Right, Doubled),
        (
            "written as TOML and read again, Doubled(weight=1.0, schedule=(), share=0.5) is "
            "Doubled(weight=1.0, schedule=(), share=0.25); leave out converters that change values they "
            "have already converted"
        ),
    ),
    "scalar": (
        comparing(vector),
        (
            "it returned a torch.float32 tensor of shape [2]; return a scalar float tensor, by .mean() for "
            "example, or a dict of them"
        ),
    ),
    "finite": (
        comparing(undefined),
        (
            "given a predicted spectrogram, the value is nan; keep logarithms, roots and divisors away "
            "from 0 by a small floor"
        ),
    ),
    "gradient": (
        comparing(detached),
        (
            "given a predicted spectrogram, no gradient reaches the prediction or the posterior; compute "
            "the loss of inputs.view(...) without detach(), item() or no_grad()"
        ),
    ),
    "inputs_unchanged": (
        comparing(in_place),
        (
            "the target is changed in place; other terms use the same tensors: use add, mul or "
            "clamp, not add_, mul_ or clamp_"
        ),
    ),
    "deterministic": (
        comparing(random),
        (
            "the same inputs give # and then #; draw random numbers when the term is built, and keep no "
            "state between calls"
        ),
    ),
    "minimum": (
        comparing(negative),
        (
            "at a spectrogram equal to the target's, the value is 0, but # where the prediction is near "
            "the target only; treat both sides alike, and return a value to be minimized"
        ),
    ),
    "descent": (
        comparing(uphill, **FLOAT32),
        (
            "no step against the gradient, of a relative size from 0.03 to 1e-05, lowers the value; look "
            "for a custom gradient, a detach() or a wrong sign"
        ),
    ),
    "silence": (
        comparing(relative),
        (
            "given a silent target, the prediction being a spectrogram, the value is inf; add a small "
            "floor to divisors and inside of logarithms"
        ),
    ),
    "gain": (
        spec_of(Gated),
        (
            "where both sides are 60 dB quieter, the prediction being a spectrogram, the gradient is 0 "
            "everywhere; lower the floor or the clamp that levels them, or compare logarithms"
        ),
    ),
    "short_input": (
        spec_of(Framed),
        (
            "a clip of 64 samples raised RuntimeError: maximum size for tensor at dimension 1 is 64 but "
            f"size is 1024 ({PLACE}); pad it, as distill.views.Stft does, or raise a "
            "distill.errors.ShapeError that says what is needed"
        ),
    ),
    "strict_shapes": (
        spec_of(Broadcasting),
        (
            "1 predicted example beside 2 was accepted without an error; use inputs.view(...) for both "
            "sides, which compares their shapes"
        ),
    ),
    "phase_turn": (
        spec_of(Unwrapped),
        (
            "IFs that differ by full turns result in # instead of #; compare them by 1 - cos(pi * "
            "difference), or wrap the difference to [-1, 1) first"
        ),
    ),
    "dual_mono": (
        comparing(summed, **BATCH),  # declared so, since what sums over a batch is no mean of examples either
        "the value of an example is #, that of two equal ones #; take the mean over the batch, not the sum",
    ),
    "permutation": (
        comparing(ordered, **BATCH),  # as above
        "the value is #, and # with the examples in another order; treat them all alike",
    ),
    "batch_split": (
        comparing(batch_norm),
        (
            "the value of a batch is #, the mean of its examples' values #; reduce each example "
            "separately and take the mean, or declare TermSpec(..., per_example=False)"
        ),
    ),
    "float32": (
        comparing(halved, **FLOAT32),
        (
            "aten._to_copy gives a torch.float16 tensor; leave out .half(), .bfloat16() and autocast in "
            "the term"
        ),
    ),
    "float64": (
        comparing(single),
        (
            "for inputs in float64 the value is torch.float32; leave out .float(), and convert constants to "
            "the dtype of the inputs"
        ),
    ),
    "state": (
        spec_of(Forgetful),
        (
            "the value is #, and # for a new term with its state; keep learnt values in parameters, and "
            "random ones in buffers: self.register_buffer()"
        ),
    ),
    "pickled": (
        spec_of(Improvised),
        re.compile(
            r"it cannot be pickled: \w+: .*lambda.*; "
            "keep no lambdas, local functions, generators, files or locks in attributes"
        ),
    ),
    "copied": (
        spec_of(Remembering),
        re.compile(
            r"it cannot be copied by copy.deepcopy: RuntimeError: Only Tensors created .*; "
            r"detach\(\) tensors that are kept from a call",
            re.DOTALL,
        ),
    ),
    "device": (
        spec_of(Rooted),
        (
            "self.curves['weights'][0], a tensor of shape [129, 1], stays where it is when the term is "
            "moved; make it a buffer by self.register_buffer(name, tensor, persistent=False)"
        ),
    ),
    "sync": (
        comparing(branching),
        (
            ".item(), a branch on a tensor, or a number made of one waits for the accelerator at each "
            "step; keep to tensors: torch.where(...) for a branch, a product with the mask for a "
            "selection"
        ),
    ),
    "compiled": (
        spec_of(Branched, waivers={}),
        "the value is #, and # compiled; let nothing depend on whether code is compiled",
    ),
    "weight_zero": (
        spec_of(Right, Stubborn),
        (
            "with weight = 0 the weight is 0.125 at a progress of 0.25; let weight_at be proportional to "
            "'weight'"
        ),
    ),
    "parameters": (
        spec_of(Learning),
        (
            "'factor' would be trained, and the term is not declared trained; let its config be a "
            "TrainedTermConfig and give it an objective, or freeze it by requires_grad_(False)"
        ),
    ),
    "objective": (
        spec_of(Deaf, **TRAINED),
        "it gives no gradient to 'bias'; let it depend on every parameter, or remove that one",
    ),
}


def statuses(spec, **options):
    """Return the status of each check of a term."""
    return {outcome.check: outcome.status for outcome in run_checks(spec, **options)}


def failures(spec, **options):
    """Return what each check that fails has to say."""
    return {o.check: o.detail for o in run_checks(spec, **options) if o.status == "failed"}


def asking(check, spec):
    """Waive all checks but one, where the others are not what is asked."""
    return evolve(spec, waivers=dict.fromkeys([name for name in NAMES if name != check], "not asked here"))


def test_every_check_is_proven():
    """Each check has a wrong term that proves it, and no check is listed twice."""
    assert list(WRONG) == NAMES
    assert all(check.__doc__ for check in CHECKS)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_term_is_caught_by_its_check_alone(name):
    """A wrong term fails only the check that it is made for, and the message says what to do."""
    spec, message = WRONG[name]
    caught = failures(spec)
    assert list(caught) == [name]
    if isinstance(message, str):
        pattern = re.escape(message).replace(r"\#", r"-?\d[\d.e+-]*")
        message = re.compile(pattern.replace(PLACE, r"tests/testing/test_checks\.py:\d+"))
    assert message.fullmatch(caught[name]), caught[name]


@pytest.mark.parametrize(
    "spec", [spec_of(Right, waivers={}), spec_of(Judge, waivers={}, **TRAINED)], ids=["Right", "Judge"]
)
def test_a_right_term_passes(spec):
    """A corrected version of each wrong term passes, so the fault alone is what a check catches."""
    assert failures(spec) == {}


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
