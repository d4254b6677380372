"""Terms that are right or wrong in one way, and what the checks of `distill.testing` say of them."""

import torch
from attrs import field, frozen
from torch import nn

from distill import TermConfig, TermSpec, TrainedTermConfig
from distill.testing import run_checks
from distill.views import InstantaneousFrequency, LogMagnitude, Magnitude, Waveform


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


TRAINED = {"config": TrainedTermConfig}


def failures(spec, **options):
    """Return what each check that fails has to say."""
    return {o.check: o.detail for o in run_checks(spec, **options) if o.status == "failed"}
