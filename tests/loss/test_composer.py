"""Tests of distill.loss.composer: terms in, one dict of components out."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from attrs import evolve, frozen
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distill import TermConfig, TermSpec, TrainedTermConfig, hookimpl
from distill.errors import ConfigError, InputError, TermError
from distill.loss.composer import compose
from distill.plugin.registry import Registry
from distill.spectral.representation import MagnitudeIF
from distill.views import (
    LogMagnitude,
    LossInputs,
    Posterior,
    Signal,
    Stft,
    StftMagnitude,
    View,
    Waveform,
)

SIZES = {"fft_sizes": [32, 64], "hop_sizes": [8, 16], "win_lengths": [32, 50]}
STFT = {f"stft.{option}": value for option, value in SIZES.items()}
WAVEFORM = {f"waveform.{option}": value for option, value in SIZES.items()}


class CountingIF(MagnitudeIF):
    """A representation that counts how often it is used, each way."""

    def __init__(self):
        super().__init__(8000, 64, 16)
        self.forths = self.backs = 0

    def forward(self, waveform):
        """Count and transform."""
        self.forths += 1
        return super().forward(waveform)

    def inverse(self, spectrogram, length=None, iterations=0):
        """Count and go back."""
        self.backs += 1
        return super().inverse(spectrogram, length, iterations)


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def constant(value):
    """Make what a term may return: a scalar that a gradient could flow through."""
    return torch.tensor(float(value), requires_grad=True)


class Learned(nn.Module):
    """A term with a parameter."""

    def __init__(self, _):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs):
        """Scale the mean log-magnitude."""
        return self.factor * inputs.view(LogMagnitude())[0].mean()


class Step:
    """One step of a training: a predicted spectrogram, a target waveform and a posterior."""

    def __init__(self, samples=150, *, progress=0.5):
        self.representation = CountingIF()
        self.prediction = self.representation(noise(2, samples)).requires_grad_()
        self.mu, self.logvar = (noise(2, 4, 3, seed=seed).requires_grad_() for seed in (2, 3))
        self.representation.forths = 0
        self.inputs = LossInputs(
            prediction=Signal.from_spectrogram(self.prediction, self.representation),
            target=Signal.from_waveform(noise(2, samples, seed=1), self.representation),
            posterior=Posterior(mu=self.mu, logvar=self.logvar),
            progress=progress,
        )


def composed(*terms, options=None, built_in=(), names=("a", "b", "c"), last=()):
    """Compose terms a, b, c (aliases aa, bb, cc), given as functions of the inputs or as classes."""

    def builder(term):
        class Term(nn.Module):
            def forward(self, inputs):
                return term(inputs)

        return term if isinstance(term, type) else lambda _: Term()

    names = names[: len(terms)]
    specs = [
        TermSpec(
            name=name,
            aliases=(name * 2,),
            config=TermConfig,
            build=builder(term),
            summary="",
            last=name in last,
        )
        for name, term in zip(names, terms, strict=True)
    ]
    plugin = SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs))
    registry = Registry(discover=False)
    registry.register(plugin, name="my-loop", version="1")
    return compose([*built_in, *names], options, registry=registry)


def numbers(components):
    """Return components as numbers."""
    return {name: value.item() for name, value in components.items()}


def test_the_components_and_their_names():
    """Total first, then terms and parts unweighted, then what is weighted, then the weights."""
    components = compose("stft,recon,kl,waveform", STFT | WAVEFORM)(Step().inputs)
    assert list(components) == [
        "total",
        "stft",
        "reconstruction",
        "reconstruction/magnitude",
        "reconstruction/instantaneous_frequency",
        "kl",
        "waveform",
        "weighted/stft",
        "weighted/reconstruction",
        "weighted/kl",
        "weighted/waveform",
        "weight/stft",
        "weight/reconstruction",
        "weight/kl",
        "weight/waveform",
    ]
    assert all(value.ndim == 0 and value.dtype == torch.float32 for value in components.values())
    json.dumps(numbers(components), allow_nan=False)


@pytest.mark.parametrize("name", ["keys", "forward", "training", "terms", "config", "requires_grad"])
def test_a_term_may_be_named_as_a_method_of_a_module(name):
    """Whatever torch calls its own things, the component and the state of a term have its name."""
    loss = composed(Learned, names=(name,), options={f"{name}.weight": 0.5})
    components = loss(Step().inputs)
    assert list(components) == ["total", name, f"weighted/{name}", f"weight/{name}"]
    assert list(loss.state_dict()) == [f"terms.{name}.factor"]


def test_weights_apply_once():
    """Terms of 3 and 5 with weights 2 and 0.5 total 8.5."""
    loss = composed(
        lambda _: constant(3.0), lambda _: constant(5.0), options={"a.weight": 2.0, "b.weight": 0.5}
    )
    assert numbers(loss(Step().inputs)) == {
        "total": 8.5,
        "a": 3.0,
        "b": 5.0,
        "weighted/a": 6.0,
        "weighted/b": 2.5,
        "weight/a": 2.0,
        "weight/b": 0.5,
    }


def test_schedules_apply_once():
    """Halfway up its ramp a term of 3 with weight 2 counts 3 * 2 * 0.5; after it 3 * 2."""
    loss = composed(
        lambda _: constant(3.0), options={"a.weight": 2.0, "a.schedule": [[0.0, 0.0], [0.4, 1.0]]}
    )
    totals = [loss(Step(progress=p).inputs)["total"].item() for p in (0.0, 0.2, 0.4, 1.0)]
    assert totals == pytest.approx([0.0, 3.0, 6.0, 6.0])
    assert loss.weights_at(0.2) == pytest.approx({"a": 1.0})


def test_the_kl_warms_up():
    """By default it has half of its 0.01 at half of its warm-up."""
    assert compose("kl")(Step(progress=0.15).inputs)["weight/kl"].item() == pytest.approx(0.005)


def test_the_parts_of_a_term_add_up_to_it():
    """A dict of named parts is their sum, and each is logged."""
    loss = composed(lambda _: {"x": constant(1.0), "y": constant(2.5)}, options={"a.weight": 2.0})
    components = numbers(loss(Step().inputs))
    assert components["a"] == 3.5
    assert (components["a/x"], components["a/y"]) == (1.0, 2.5)
    assert components["total"] == 7.0


def test_the_gradient_of_the_total_is_the_weighted_sum():
    """Each term pulls with its weight, and nothing else has a gradient to go back on by mistake."""
    step = Step()
    loss = composed(
        lambda i: i.view(LogMagnitude())[0].mean(),
        lambda i: i.view(LogMagnitude())[0].square().mean(),
        options={"a.weight": 3.0, "b.weight": 0.5},
    )
    components = loss(step.inputs)
    components["total"].backward()
    magnitude = step.prediction.detach()[:, 0]
    torch.testing.assert_close(step.prediction.grad[:, 0], (3 + magnitude) / magnitude.numel())
    assert not components["weight/a"].requires_grad


def test_a_view_is_computed_once_per_side():
    """Two terms that ask for equal views share one."""
    computed = []

    @frozen
    class Counting(View):
        def compute(self, signal):
            computed.append(signal)
            return signal.view(LogMagnitude()).square()

    def term(inputs):
        prediction, target = inputs.view(Counting())
        return (prediction - target).abs().mean()

    composed(term, term)(Step().inputs)["total"].backward()
    assert len(computed) == 2


@pytest.fixture
def transforms(monkeypatch):
    """Return the list of the FFT sizes that are transformed from now on."""
    sizes = []

    def counting(frames):
        sizes.append(frames.shape[-1])
        return rfft(frames)

    rfft = torch.fft.rfft
    monkeypatch.setattr("torch.fft.rfft", counting)
    return sizes


def size_of(view):
    """Make a term: the mean size of the prediction in a view."""
    return lambda inputs: inputs.view(view)[0].abs().mean()


@pytest.mark.parametrize("weight", [1, 0])
@pytest.mark.parametrize("view", [Stft(n_fft=32, hop=8), StftMagnitude(n_fft=32, hop=8)])
@pytest.mark.parametrize("first", ["waveform", "custom"])
def test_two_terms_on_one_stft_compute_it_once(transforms, first, view, weight):
    """`waveform` and a third party's term share either side's transform, and the inverse, in any order."""
    step = Step()
    loss = composed(size_of(view), built_in=["waveform"], options=WAVEFORM | {"a.weight": weight})
    if first == "custom":
        loss.origins = dict(reversed(loss.origins.items()))
    transforms.clear()
    loss(step.inputs)["total"].backward()
    assert transforms.count(32) == 2
    assert step.representation.backs == 1


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_magnitude_and_its_stft_are_one_transform(transforms, first):
    """Terms of third parties share it as well, whichever of the two is asked for first."""
    step = Step()
    loss = composed(size_of(Stft(n_fft=32, hop=8)), size_of(StftMagnitude(n_fft=32, hop=8)))
    if first == "b":
        loss.origins = dict(reversed(loss.origins.items()))
    transforms.clear()
    loss(step.inputs)["total"].backward()
    assert transforms.count(32) == 2


def test_waveform_is_the_same_shared_or_not():
    """Alone it goes straight from the samples, beside a term on its magnitudes from those."""
    alone, shared = Step(), Step()
    other = size_of(StftMagnitude(n_fft=32, hop=8))
    expected = compose("waveform", WAVEFORM)(alone.inputs)
    actual = composed(other, built_in=["waveform"], options=WAVEFORM).differentiable(shared.inputs)
    torch.testing.assert_close(actual["waveform"], expected["waveform"], rtol=1e-6, atol=0)
    expected["total"].backward()
    actual["waveform"].backward()
    error = (shared.prediction.grad - alone.prediction.grad).norm()
    assert error <= 1e-5 * alone.prediction.grad.norm()


def test_waveform_makes_no_views_that_nobody_shares(monkeypatch):
    """Beside terms on other things it has no magnitudes computed, wherever it stands in the list."""

    def refuse(*_):
        pytest.fail("magnitudes were computed")

    monkeypatch.setattr(StftMagnitude, "compute", refuse)
    for terms in ("waveform", "waveform,recon,kl", "recon,waveform"):
        assert compose(terms, WAVEFORM)(Step().inputs)["waveform"] > 0


def test_a_term_may_look_at_other_things_in_every_step(transforms):
    """What `waveform` can leave out in one step it shares in the next."""
    views = [Waveform(), Stft(n_fft=32, hop=8), Waveform(), StftMagnitude(n_fft=64, hop=16, win_length=50)]
    steps = iter(views)

    def restless(inputs):
        return size_of(next(steps))(inputs)

    loss = composed(restless, built_in=["waveform"], options=WAVEFORM)
    values = []
    for _ in views:
        step = Step()
        transforms.clear()
        values.append(loss(step.inputs)["waveform"].item())
        assert [transforms.count(size) for size in (32, 64)] == [2, 2]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)


def test_the_order_of_the_terms():
    """Those that plugins declare last run after the others, monitored ones after all; one is the last."""
    order = []

    def noting(name):
        def term(inputs):
            order.append((name, inputs.last))
            return constant(0)

        return term

    names = ["a", "b", "c", "d"]
    options = {"b.weight": 0.0, "d.weight": 0.0}
    with pytest.warns(DeprecationWarning, match="last=True"):
        loss = composed(*map(noting, names), names=names, last=["a", "b"], options=options)
    assert list(loss(Step().inputs))[1:5] == names
    assert order == [("c", False), ("a", False), ("d", False), ("b", True)]


def test_no_spec_says_when_its_term_is_called():
    """That `waveform` is called last is not in its spec, and its plugin contract is that of others."""
    terms = Registry(discover=False).terms()
    assert [term.name for term in terms if term.spec.last] == []


def test_what_no_term_asks_for_is_not_computed():
    """Without a term on the waveform, no inverse; without one on the spectrogram, no transform."""
    step = Step()
    compose("stft,recon,kl", STFT)(step.inputs)["total"].backward()
    assert (step.representation.forths, step.representation.backs) == (1, 0)
    step = Step()
    compose("waveform", WAVEFORM)(step.inputs)["total"].backward()
    assert (step.representation.forths, step.representation.backs) == (0, 1)
    step = Step()
    compose("kl")(step.inputs)
    assert (step.representation.forths, step.representation.backs) == (0, 0)


def test_the_memo_dies_with_the_step():
    """Called again after the prediction has changed in place, the loss is new and goes back again."""
    step = Step()
    loss = compose("stft,recon", STFT)
    first = loss(step.inputs)
    first["total"].backward()
    with torch.no_grad():
        step.prediction[:, 0] *= 0.5
    second = loss(step.inputs)
    second["total"].backward()
    assert second["stft"] != first["stft"]
    assert numbers(second) == numbers(loss(step.inputs))


def test_a_predicted_waveform_is_cut_to_the_length_of_the_target():
    """160 samples are in 11 frames; beside a target of 150, the loss sees 150 of either."""
    shapes = []

    def term(inputs):
        shapes.extend(list(side.shape) for side in inputs.view(Waveform()))
        return constant(0)

    composed(term)(Step(samples=150).inputs)
    assert shapes == [[2, 150], [2, 150]]


def test_a_term_of_weight_0_is_monitored():
    """It is computed and logged, and neither the prediction nor its own parameters get a gradient."""
    step = Step()
    loss = composed(Learned, lambda i: i.posterior.mu.square().mean(), options={"a.weight": 0.0})
    components = loss(step.inputs)
    components["total"].backward()
    expected = 2 * step.prediction[:, 0].mean().item()
    assert components["a"].item() == pytest.approx(expected)
    assert list(components)[:3] == ["total", "a", "b"]
    assert components["weighted/a"] == components["weight/a"] == 0
    assert components["total"] == components["b"]
    assert not components["a"].requires_grad
    assert loss.terms["a"].factor.grad is None
    assert step.prediction.grad is None
    assert step.mu.grad.abs().sum() > 0


def test_a_monitored_term_does_not_cut_the_gradient_of_what_it_shares():
    """A view that it looks at first still has a gradient for the next term."""
    step, alone = Step(), Step()
    compose("stft,recon", STFT | {"stft.weight": 0.0})(step.inputs)["total"].backward()
    compose("recon")(alone.inputs)["total"].backward()
    assert torch.equal(step.prediction.grad, alone.prediction.grad)


def test_a_monitored_term_that_overflows_leaves_the_total_alone():
    """Infinity times 0 is no number, but it is not in the sum."""
    loss = composed(lambda _: constant(torch.inf), lambda _: constant(1.0), options={"a.weight": 0})
    components = loss(Step().inputs)
    assert components["a"] == torch.inf
    assert components["total"] == 1


def test_components_can_be_kept():
    """Only the total, and the objective, hold on to what they were computed of."""
    components = judged(terms="recon,kl,judge", balancer="gradient")(Step().inputs)
    assert {name for name, value in components.items() if value.grad_fn} == {"total", "objective"}


def test_a_call_gives_the_total_of_all_components_with_gradients():
    """Bit by bit the same values, and the same gradient of the total, which the weighted terms add up to."""
    steps, loss = [Step() for _ in range(3)], compose("stft,recon,kl,waveform", STFT | WAVEFORM)
    called, whole, parts = loss(steps[0].inputs), *(loss.differentiable(step.inputs) for step in steps[1:])
    assert numbers(called) == numbers(whole) == numbers(parts)
    called["total"].backward()
    whole["total"].backward()
    for name in ("prediction", "mu", "logvar"):
        one, other = (getattr(step, name).grad for step in steps[:2])
        assert torch.equal(one, other)
    sum(value for name, value in parts.items() if name.startswith("weighted/")).backward()
    torch.testing.assert_close(steps[2].prediction.grad, steps[0].prediction.grad)


def test_nothing_has_a_gradient_without_grad():
    """An evaluation stays one."""
    with torch.no_grad():
        components = compose("stft,recon,kl", STFT)(Step().inputs)
    assert not any(value.requires_grad for value in components.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    """Under autocast every component is computed in float32, of whatever precision the inputs are."""

    class Multiplying(nn.Module):
        def __init__(self, _):
            super().__init__()
            self.matrix = nn.Parameter(noise(33, 33, seed=9))

        def forward(self, inputs):
            prediction, target = inputs.view(LogMagnitude())
            return (self.matrix @ (prediction - target)).square().mean()

    step = Step()

    def inputs_as(*dtypes):
        def cast(tensor):
            return tensor.to(dtypes[0]).to(dtypes[-1])

        return LossInputs(
            prediction=Signal.from_spectrogram(cast(step.prediction), step.representation),
            target=step.inputs.target,
            posterior=Posterior(mu=cast(step.mu), logvar=cast(step.logvar)),
        )

    built_in = ["stft", "recon", "kl", "waveform"]
    loss = composed(Multiplying, built_in=built_in, options=STFT | WAVEFORM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        components = loss(inputs_as(dtype))
    assert numbers(components) == numbers(loss(inputs_as(dtype, torch.float32)))
    assert components["total"].dtype == torch.float32


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (torch.zeros(2), "a torch.float32 tensor of shape [2]"),
        (torch.zeros(1), "a torch.float32 tensor of shape [1]"),
        (torch.tensor(1), "a torch.int64 tensor of shape []"),
        (torch.tensor(1j), "a torch.complex64 tensor of shape []"),
        (3, "3"),
        (0.5, "0.5"),
        (None, "None"),
        ({}, "{}"),
        ({"fine": constant(1.0), "x": torch.zeros(2)}, "a torch.float32 tensor of shape [2] as part 'x'"),
        ({"x": None}, "None as part 'x'"),
    ],
)
def test_a_term_that_returns_no_loss_is_named(returned, shown):
    """The term, its distribution, what it returned, what was expected, and a remedy."""
    with pytest.raises(TermError) as caught:
        composed(lambda _: returned)(Step().inputs)
    assert str(caught.value) == (
        f"a (my-loop 1): the term returned {shown}; expected a scalar float tensor or a dict of them\n"
        "Reduce the loss to one number, with .mean() for example."
    )


def test_no_part_is_called_as_the_whole_is():
    """A part named `total` could be taken for the loss."""
    with pytest.raises(TermError) as caught:
        composed(lambda _: {"total": constant(1.0)})(Step().inputs)
    assert str(caught.value) == (
        "a (my-loop 1): the term returned a part called 'total', which is the name of the whole loss\n"
        "Call the part something else, or leave it out: a term is the sum of its parts."
    )


def test_a_term_in_half_precision_is_summed_in_float32():
    """60000 and 60000 are more than float16 holds."""
    loss = composed(lambda _: {"x": constant(6e4).half(), "y": constant(6e4).half()})
    assert loss(Step().inputs)["total"].item() == 120_000


def test_a_missing_posterior_is_an_error_only_for_who_asks():
    """`recon` does without; `kl` says what is missing."""
    step = Step()
    inputs = LossInputs(prediction=step.inputs.prediction, target=step.inputs.target)
    assert compose("recon")(inputs)["total"].isfinite()
    with pytest.raises(TermError, match=r"^LossInputs: a chosen term needs the posterior"):
        compose("kl")(inputs)


def test_an_extra_is_given_to_the_term_that_asks():
    """A mask, say; where it is missing, the term is named with its distribution."""
    loss = composed(lambda inputs: (inputs.view(LogMagnitude())[0] * inputs.extra("mask")).mean())
    step = Step()
    masked = evolve(step.inputs, extras={"mask": torch.zeros(())})
    assert loss(masked)["a"].item() == 0
    with pytest.raises(TermError) as caught:
        loss(step.inputs)
    assert str(caught.value) == (
        "a (my-loop 1): the term needs the extra 'mask', and the inputs have none\n"
        "Pass LossInputs(..., extras={'mask': ...}), or leave the term out."
    )


def test_options_have_addresses():
    """By canonical name or by alias, in a user's own registry as well."""
    assert compose("stft,recon", {"recon.weight": 1.0}).config.reconstruction.weight == 1.0
    assert compose("recon", {"reconstruction.if_weight": 2.0}).config.reconstruction.if_weight == 2.0
    assert composed(lambda _: torch.zeros(()), options={"aa.weight": 0.3}).config.a.weight == 0.3


def test_an_unknown_option_is_an_error_with_a_suggestion():
    """A misspelt weight is not ignored."""
    with pytest.raises(ConfigError) as caught:
        compose("stft,recon", {"recon.wieght": 1.0, "stft.hop": 3})
    assert caught.value.problems == (
        (
            "loss.stft.hop: unknown option, got 3; expected one of "
            "weight, schedule, fft_sizes, hop_sizes, win_lengths, per_example, engine"
        ),
        "loss.reconstruction.wieght: unknown option, got 1.0; did you mean 'weight'?",
    )


def test_the_state_of_a_term_is_the_losss():
    """A term's parameters are trained, saved and loaded with the loss."""
    step, loss, restored = Step(), composed(Learned), composed(Learned)
    loss(step.inputs)["total"].backward()
    torch.optim.SGD(loss.parameters(), lr=0.1).step()
    assert list(loss.state_dict()) == ["terms.a.factor"]
    restored.load_state_dict(loss.state_dict())
    assert restored.terms["a"].factor.item() != 2
    assert numbers(restored(step.inputs)) == numbers(loss(step.inputs))


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


def test_a_trained_term_has_an_objective_of_its_own():
    """The total trains the model alone, and the objective the term alone; it is the sum of its parts."""
    step, loss = Step(), judged()
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


def test_an_objective_shares_the_views_of_the_step():
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
    step = Step()
    compose("judge", registry=registry)(step.inputs)
    assert step.representation.backs == 1


def test_a_term_that_has_not_begun_is_not_computed():
    """Before its start there is no component of it, and no objective; from then on there is."""
    loss = judged({"judge.start": 0.5})
    before, after = (loss(Step(progress=progress).inputs) for progress in (0.49, 0.5))
    assert not [name for name in before if "judge" in name or "objective" in name]
    assert {"judge", "weighted/judge", "weight/judge", "objective", "objective/judge"} <= after.keys()


def test_in_evaluation_a_trained_term_is_left_out():
    """It judges differently at each step, so that totals with it could not be compared."""
    loss = judged().eval()
    assert not [name for name in loss(Step().inputs) if "judge" in name or "objective" in name]


def test_only_trained_terms_may_be_left():
    """A total of nothing is 0."""
    assert judged(terms="judge").eval()(Step().inputs)["total"].item() == 0


def test_parameters_that_a_term_holds_still_stay_so():
    """Those that need no gradient are not given one by the way."""
    loss = judged()
    loss.trained_terms()["judge"].level.requires_grad_(False)
    loss(Step().inputs)
    assert not loss.trained_terms()["judge"].level.requires_grad


def test_a_term_without_a_gradient_is_an_error():
    """What is detached would be weighed and learn nothing: one message with distribution, term and remedy."""
    with pytest.raises(TermError) as caught:
        composed(lambda inputs: inputs.view(LogMagnitude())[0].mean().detach())(Step().inputs)
    assert str(caught.value) == (
        "a (my-loop 1): the term has no gradient: its result is detached from the prediction\n"
        "Compute it from inputs.view(...) without detach(), item() or no_grad(), or monitor it with a weight "
        "of 0: loss.a.weight = 0"
    )


def test_a_term_without_a_gradient_may_monitor():
    """With weight 0, without gradients, or of a prediction that nobody learns to make, it is fine."""
    detached = composed(
        lambda inputs: inputs.view(LogMagnitude())[0].mean().detach(), options={"a.weight": 0.0}
    )
    assert detached(Step().inputs)["total"].item() == 0
    loss, step = composed(lambda inputs: inputs.view(LogMagnitude())[0].mean().detach()), Step()
    with torch.no_grad():
        assert loss(step.inputs)["total"].item() != 0
    assert loss(step.inputs.detached())["total"].item() != 0


def test_a_balancer_makes_weights_shares():
    """Two equal weights: the gradients at the prediction are as large as each other, and so is the log."""
    options = {"reconstruction.weight": 1.0, "stft.weight": 1.0, **STFT}
    step, loss = Step(), compose("stft,recon,kl", options, balancer="gradient")
    components = loss.differentiable(step.inputs)
    norms = [
        torch.autograd.grad(components[f"weighted/{name}"], step.prediction, retain_graph=True)[0]
        .flatten(1)
        .norm(dim=1)
        .mean()
        .item()
        for name in ("stft", "reconstruction")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert components["weighted/stft"].item() == pytest.approx(
        components["weight/stft"].item() * components["stft"].item()
    )
    assert components["weight/kl"].item() == pytest.approx(loss.config.kl.weight_at(0.5))


def test_a_balancer_stands_still_in_evaluation():
    """There, weights are factors, and nothing is remembered, so that totals can be compared."""
    loss = compose("recon,kl", balancer="gradient").eval()
    fixed = compose("recon,kl").eval()
    assert loss(Step().inputs)["total"].item() == fixed(Step().inputs)["total"].item()
    loss.train()
    with torch.no_grad():
        assert loss(Step().inputs)["total"].item() == fixed(Step().inputs)["total"].item()
    loss(Step().inputs.detached())
    assert loss.balancer.counts.tolist() == [0, 0]


def test_a_balancers_options_have_an_address():
    """They are checked as a term's are."""
    with pytest.raises(ConfigError) as caught:
        compose("recon", balancer="gradient", balancer_options={"decay": 1.5})
    assert str(caught.value) == "balancing.gradient.decay: must be < 1, got 1.5"


def test_an_unknown_balancer_is_named():
    """With those that there are."""
    with pytest.raises(TermError) as caught:
        compose("recon", balancer="gradiant", registry=Registry(discover=False))
    assert str(caught.value) == "unknown balancer 'gradiant'; did you mean 'gradient'?\nChoose from: gradient"


def test_one_term_by_itself_has_a_gradient_whatever_its_weight():
    """Unweighted, in float32 under autocast, and as the last term to look at its inputs."""
    step, seen = Step(), []

    def watching(inputs):
        seen.append((inputs.last, torch.is_autocast_enabled("cpu")))
        return {"half": inputs.view(LogMagnitude())[0].mean(), "other": constant(1.0)}

    loss = composed(watching, lambda _: constant(5.0), options={"a.weight": 0.0})
    with torch.autocast("cpu"):
        value = loss.unweighted("a", step.inputs)
    (gradient,) = torch.autograd.grad(value, step.prediction)
    assert value.item() == pytest.approx(1 + step.prediction[:, 0].mean().item())
    assert gradient[:, 0].sum().item() == pytest.approx(1)
    assert seen == [(True, False)]


def test_a_trained_term_by_itself_gives_its_own_parameters_no_gradient():
    """As in the total; the prediction has one."""
    step, loss = Step(), judged()
    (judge,) = loss.trained_terms().values()
    sources = step.prediction, judge.level
    prediction, own = torch.autograd.grad(loss.unweighted("judge", step.inputs), sources, allow_unused=True)
    assert prediction.abs().sum() > 0
    assert own is None
    assert judge.level.requires_grad


class RefusingHostTensors(TorchDispatchMode):
    """Lets no operation look at a tensor of the host."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Go on if all tensors are on the device."""
        tensors = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        assert [str(function) for x in tensors if x.device.type == "cpu"] == []
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("balancer", [None, "gradient"])
@pytest.mark.parametrize("iterations", [0, 2])
def test_all_is_done_on_one_device(monkeypatch, balancer, iterations):
    """Forth and back, with all built-in terms: what is not on the CPU is never mixed with what is."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which has no such device
    loss = compose("waveform,stft,recon,kl", balancer=balancer).to("meta")
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    with RefusingHostTensors():
        waveform = torch.empty(2, 4000, device="meta")
        spectrogram = representation(waveform)
        made = spectrogram.detach().requires_grad_()
        mu, logvar = (torch.empty(2, 8, 5, device="meta", requires_grad=True) for _ in range(2))
        inputs = LossInputs(
            prediction=Signal.from_spectrogram(made, representation, iterations=iterations),
            target=Signal.from_waveform(waveform, representation, spectrogram=spectrogram),
            posterior=Posterior(mu=mu, logvar=logvar),
            progress=0.5,
        )
        loss(inputs)["total"].backward()
    assert made.grad.shape == made.shape


@pytest.mark.parametrize("options", ["stft.weight=2", 3, {1: 2}, [1]])
@pytest.mark.parametrize("name", ["options", "balancer_options"])
def test_what_are_no_options(options, name):
    """One message for what is neither a mapping nor pairs."""
    with pytest.raises(InputError) as caught:
        compose("recon", balancer="gradient", **{name: options})
    assert str(caught.value) == (
        f"{name}: expected values by their address, got {options!r}\n"
        'Give a dict, such as {"stft.weight": 2.0}.'
    )


def test_options_may_be_pairs():
    """As `distill.train` takes them."""
    assert compose("recon", [("recon.weight", 2.0)]).weights_at(0) == {"reconstruction": 2.0}


def test_options_of_no_balancer():
    """The whole message."""
    with pytest.raises(InputError) as caught:
        compose("recon", balancer_options={"decay": 0.5})
    assert str(caught.value) == ('balancer_options: no balancer is chosen\nChoose one: balancer="gradient".')


@pytest.mark.parametrize(
    ("terms", "shown"),
    [(None, "None"), (3, "3"), (nn.Identity(), "Identity()"), (nn.Linear, repr(nn.Linear))],
)
def test_what_are_no_terms(terms, shown):
    """The whole message."""
    with pytest.raises(TermError) as caught:
        compose(terms)
    assert str(caught.value) == (
        f"expected the name of a loss term or a TermSpec, got {shown}\n"
        "A TermSpec(name=..., config=..., build=..., summary=...) makes a term of a module."
    )
