"""Tests of distill.testing.checks: each is proven by a wrong term that it alone catches."""

import re

import pytest
import torch
from attrs import field, frozen
from torch import nn

from distill import TermConfig, TermSpec, TrainedTermConfig
from distill.testing import run_checks
from distill.testing.checks import CHECKS
from distill.views import InstantaneousFrequency, LogMagnitude, Magnitude, Waveform

NAMES = [check.__name__ for check in CHECKS]


class Right(nn.Module):
    """A term that is right: the mean distance of the log-magnitudes. The wrong ones differ by little."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, inputs):
        """Compare two log-magnitudes."""
        return self.compare(*inputs.view(LogMagnitude()))

    def compare(self, prediction, target):
        """Give the loss."""
        return (prediction - target).abs().mean()


class Vector(Right):
    """Gives a loss for each example."""

    def compare(self, prediction, target):
        """Leave the batch as it is."""
        return (prediction - target).abs().mean((1, 2))


class Undefined(Right):
    """Takes the logarithm of a number below 0."""

    def compare(self, prediction, target):
        """Give NaN."""
        return ((prediction - target).abs() - 1e3).mean().log()


class Detached(Right):
    """Lets no gradient through."""

    def compare(self, prediction, target):
        """Cut the gradient off."""
        return super().compare(prediction.detach(), target)


class InPlace(Right):
    """Changes a view that other terms look at."""

    def compare(self, prediction, target):
        """Clamp one side in place."""
        return super().compare(prediction.clamp(min=1), target.clamp_(min=1))


class Random(Right):
    """Draws a number at each call."""

    def compare(self, prediction, target):
        """Add noise."""
        return super().compare(prediction, target) * (1 + 0.01 * torch.rand(()))


class Negative(Right):
    """Rewards what it should punish."""

    def compare(self, prediction, target):
        """Turn the sign."""
        return -super().compare(prediction, target)


class Uphill(Right):
    """Has the right value, and a gradient that points the other way."""

    def compare(self, prediction, target):
        """Turn the gradient only."""
        distance = super().compare(prediction, target)
        return 2 * distance.detach() - distance


class Relative(Right):
    """Divides by the level of the target, which may be 0."""

    def compare(self, prediction, target):
        """Give the distance in shares of the target."""
        return ((prediction - target).abs().mean((1, 2)) / target.mean((1, 2))).mean()


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


class Summed(Right):
    """Costs more with more examples."""

    def compare(self, prediction, target):
        """Sum over the batch."""
        return (prediction - target).abs().mean((1, 2)).sum()


class Ordered(Right):
    """Prefers the last examples."""

    def compare(self, prediction, target):
        """Weight the examples by their place."""
        place = torch.arange(1.0, 1.0 + len(target))
        return ((prediction - target).abs().mean((1, 2)) * place / place.sum()).sum()


class BatchNorm(Right):
    """Divides by the level of all examples, so that loud ones drown quiet ones."""

    def compare(self, prediction, target):
        """Give the spectral convergence over the batch."""
        return (prediction - target).norm() / (target.norm() + 1e-3)


class Halved(Right):
    """Rounds to half precision."""

    def compare(self, prediction, target):
        """Compare rounded numbers."""
        return super().compare(prediction.half().float(), target.half().float())


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


class Branching(Right):
    """Looks at the value while it is computed."""

    def compare(self, prediction, target):
        """Cap the distance by a branch."""
        distance = super().compare(prediction, target)
        return distance if distance < 1e9 else distance.clamp(max=1e9)


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
        """Give a mark for each frame."""
        return (self.factor * spectrum).mean(1) + self.bias

    def forward(self, inputs):
        """Give what the model lowers."""
        return -self.judged(inputs.view(LogMagnitude())[0]).mean()

    def objective(self, inputs):
        """Give what the term lowers itself."""
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


def spec_of(term, config=TermConfig, **others):
    """Declare a term."""
    return TermSpec(name="mine", config=config, build=term, summary="", **others)


TRAINED = {"config": TrainedTermConfig}
BATCH = {"per_example": False}

WRONG = {
    "config": (
        spec_of(Right, Doubled),
        (
            "written as TOML and read again, Doubled(weight=1.0, schedule=(), share=0.5) is "
            "Doubled(weight=1.0, schedule=(), share=0.25); leave out converters that change what they "
            "have converted already"
        ),
    ),
    "scalar": (
        spec_of(Vector),
        (
            "it returned a torch.float32 tensor of shape [2]; return a scalar float tensor, by .mean() for "
            "example, or a dict of them"
        ),
    ),
    "finite": (
        spec_of(Undefined),
        (
            "given a predicted spectrogram, the value is nan; keep logarithms, roots and divisors away "
            "from 0 by a small floor"
        ),
    ),
    "gradient": (
        spec_of(Detached),
        (
            "given a predicted spectrogram, no gradient reaches the prediction or the posterior; compute "
            "the loss of inputs.view(...) without detach(), item() or no_grad()"
        ),
    ),
    "inputs_unchanged": (
        spec_of(InPlace),
        (
            "the target is changed in place; other terms look at the same tensors: use add, mul or "
            "clamp, not add_, mul_ or clamp_"
        ),
    ),
    "deterministic": (
        spec_of(Random),
        (
            "the same inputs give # and then #; draw random numbers when the term is built, and remember "
            "nothing from call to call"
        ),
    ),
    "minimum": (
        spec_of(Negative),
        (
            "at a spectrogram equal to the target's, the value is 0, but # where the prediction is near "
            "the target only; compare both sides alike, and return what is to be lowered, not raised"
        ),
    ),
    "descent": (
        spec_of(Uphill),
        (
            "no step against the gradient, from 0.03 to 1e-05 of what is moved, lowers it; look for a "
            "gradient of one's own making, a detach() or a sign that is wrong"
        ),
    ),
    "silence": (
        spec_of(Relative),
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
            "size is 1024; pad it, as distill.views.Stft does, or raise a distill.errors.ShapeError that "
            "says what is needed"
        ),
    ),
    "strict_shapes": (
        spec_of(Broadcasting),
        (
            "1 predicted example beside 2 was taken without an error; look at both sides by "
            "inputs.view(...), which compares their shapes"
        ),
    ),
    "phase_turn": (
        spec_of(Unwrapped),
        (
            "IFs that are whole turns off cost #, not # as without; compare them by 1 - cos(pi * "
            "difference), or bring the difference to [-1, 1) first"
        ),
    ),
    "dual_mono": (
        spec_of(Summed, **BATCH),  # declared so, since what sums over a batch is no mean of examples either
        "an example costs #, and twice the same #; take the mean over the batch, not the sum",
    ),
    "permutation": (
        spec_of(Ordered, **BATCH),  # as above
        "the value is #, and # with the examples in another order; treat them all alike",
    ),
    "batch_split": (
        spec_of(BatchNorm),
        (
            "a batch costs #, its examples # on average; reduce each example for itself and take the "
            "mean of these, or declare TermSpec(..., per_example=False)"
        ),
    ),
    "float32": (
        spec_of(Halved),
        (
            "aten._to_copy gives a torch.float16 tensor; leave out .half(), .bfloat16() and autocast of "
            "the term's own"
        ),
    ),
    "state": (
        spec_of(Forgetful),
        (
            "the value is #, and # of a term built anew with its state; keep in parameters what is "
            "learnt, and in buffers, by self.register_buffer(), what is drawn"
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
        spec_of(Branching),
        (
            ".item(), a branch on a tensor, or a number made of one waits for the accelerator at each "
            "step; keep to tensors: torch.where(...) for a branch, a product with the mask for a "
            "selection"
        ),
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
        "it gives no gradient to 'bias'; let it depend on every parameter, or leave that out",
    ),
}


def statuses(spec, **options):
    """Give the status of each check of a term."""
    return {outcome.check: outcome.status for outcome in run_checks(spec, **options)}


def failures(spec, **options):
    """Give what each check that fails has to say."""
    return {o.check: o.detail for o in run_checks(spec, **options) if o.status == "failed"}


def test_every_check_is_proven():
    """There is a wrong term for each, and no check is there twice."""
    assert list(WRONG) == NAMES
    assert all(check.__doc__ for check in CHECKS)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_term_is_caught_by_its_check_alone(name):
    """The check that it is made for fails, saying what to do; no other one does."""
    spec, message = WRONG[name]
    caught = failures(spec)
    assert list(caught) == [name]
    pattern = re.escape(message).replace(r"\#", r"-?\d[\d.e+-]*")
    assert re.fullmatch(pattern, caught[name]), caught[name]


@pytest.mark.parametrize("spec", [spec_of(Right), spec_of(Judge, **TRAINED)], ids=["Right", "Judge"])
def test_a_right_term_passes(spec):
    """What the wrong terms differ from is right, so that it is the difference that is caught."""
    assert failures(spec) == {}
