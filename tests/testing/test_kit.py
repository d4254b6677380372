"""Tests of distill.testing.kit: every check on one term, what it gives and what it raises."""

import re
from types import SimpleNamespace

import pytest
import torch
from attrs import field, frozen, validators
from torch import nn

import distill
from distill import MagnitudeIF, Registry, TermConfig, TermSpec, hookimpl
from distill.errors import ConfigError, TermError
from distill.testing import Outcome, TermCheckError, check_term, registry_with, run_checks
from distill.views import LogMagnitude, Waveform


@frozen(kw_only=True)
class Config(TermConfig):
    """Options of the term below."""

    power: int = field(default=1, validator=validators.ge(1))


HOME = __name__.partition(".")[0]
"""What stands for the distribution of a spec that is checked by itself."""

UNCOMPILED = {"compiled": "it takes longer than all other checks, and the built-in terms are compiled"}


def spec_of(loss, **others):
    """Declare a term: a function of its options and of two log-magnitudes."""

    class Term(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config

        def forward(self, inputs):
            return loss(self.config, *inputs.view(LogMagnitude()))

    declared = {"name": "mine", "config": Config, "build": Term, "summary": "", "waivers": UNCOMPILED}
    return TermSpec(**declared | others)


def distance(config, prediction, target):
    """Return a right loss."""
    return (prediction - target).abs().pow(config.power).mean()


def negative(config, prediction, target):
    """Return one that is wrong."""
    return -distance(config, prediction, target)


def plugin_of(*specs):
    """Make a plugin."""
    return SimpleNamespace(__name__="my_loop", distill_loss_terms=hookimpl(lambda: specs))


def message(kind, call, *arguments, **options):
    """Return the whole message of the error that a call raises."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_a_term_is_checked_on_one_thread():
    """The sounds are short, and threads would wait for each other. As many as before are used afterwards."""
    threads = set()

    def counted(config, prediction, target):
        threads.add(torch.get_num_threads())
        return distance(config, prediction, target)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check_term(spec_of(counted))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == {1}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stft", {}),
        ("stft", {"per_example": True}),
        ("recon", {}),
        ("kl", {}),
        ("waveform", {}),
        ("waveform", {"per_example": True, "share": 0.3}),
    ],
)
def test_every_built_in_term_passes(name, options):
    """Every built-in term passes all checks without a waiver, whatever its options are."""
    (term,) = Registry(discover=False).choose(name)
    outcomes = check_term(term, **options)
    assert {outcome.status for outcome in outcomes} <= {"passed", "not applicable"}
    assert sum(outcome.status == "passed" for outcome in outcomes) >= 20


def test_what_looks_at_the_posterior_alone_is_not_asked_about_sounds():
    """The term `kl` gets only the checks that apply to a term of the posterior."""
    (term,) = Registry(discover=False).choose("kl")
    inapplicable = {
        outcome.check: outcome.detail for outcome in run_checks(term) if outcome.status != "passed"
    }
    deaf = "the term does not depend on the prediction"
    assert inapplicable == {
        **dict.fromkeys(["minimum", "silence", "gain", "short_input", "strict_shapes", "phase_turn"], deaf),
        "objective": "the term is not trained",
    }


def test_options_are_those_of_a_recipe():
    """Options are read as a recipe's are, and the term is built with them."""
    seen = []

    def noting(config, prediction, target):
        seen.append(config)
        return distance(config, prediction, target)

    check_term(spec_of(noting), power=2)
    assert {config.power for config in seen} == {2}
    assert message(ConfigError, check_term, spec_of(distance), powr=2) == (
        "loss.mine.powr: unknown option, got 2; did you mean 'power'?"
    )
    assert message(ConfigError, check_term, spec_of(distance), power=0) == (
        "loss.mine.power: must be >= 1, got 0"
    )


def test_sounds_may_be_of_another_representation():
    """A term made for a sample rate is checked at that rate."""
    seen = []

    def noting(config, prediction, target):
        seen.append(prediction.shape[1])
        return distance(config, prediction, target)

    check_term(spec_of(noting), MagnitudeIF(16_000, n_fft=512, hop=128))
    assert set(seen) == {257}


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), KeyboardInterrupt()])
def test_a_term_that_would_end_the_command_has_not_passed(error):
    """What a term raises to end the process is one failed check, in a backward pass, too."""

    class Leaving(torch.autograd.Function):
        @staticmethod
        def forward(_, value):
            return value.clone()

        @staticmethod
        def backward(*_):
            raise error

    def leave(*_):
        raise error

    for loss, check in ((leave, "scalar"), (lambda *each: Leaving.apply(distance(*each)), "finite")):
        (failed,) = [each for each in run_checks(spec_of(loss)) if each.status == "failed"]
        assert failed.check == check
        assert failed.detail.startswith(f"raised {type(error).__name__}")


def halve_mu(inputs):
    """Change the posterior behind autograd's back."""
    inputs.posterior.mu.data.mul_(0.5)
    return inputs.posterior.mu.square().mean()


def halve_the_prediction(inputs):
    """Change a leaf, which torch refuses."""
    prediction, target = inputs.view(Waveform())
    return (prediction.mul_(0.5) - target).square().mean()


@pytest.mark.parametrize("write", [halve_mu, halve_the_prediction])
def test_what_follows_from_writing_to_the_inputs_is_no_other_fault(write):
    """A term that writes to its inputs fails one check, to which the others refer, also if torch refuses."""

    class Writing(nn.Module):
        def __init__(self, _):
            super().__init__()

        def forward(self, inputs):
            return write(inputs)

    outcomes = run_checks(spec_of(distance, build=Writing))
    assert [each.check for each in outcomes if each.status == "failed"] == ["inputs_unchanged"]
    assert "writes to its inputs: see 'inputs_unchanged'" in {each.detail for each in outcomes}


def test_all_failures_are_one_error():
    """One error with status 1 names the term, each check that failed, the remedy and the way to waive."""

    def wrong(config, prediction, target):
        return negative(config, prediction, target).item() * prediction.sum(0)

    with pytest.raises(TermCheckError) as caught:
        check_term(spec_of(wrong))
    listed = {
        outcome.check: outcome.detail for outcome in caught.value.outcomes if outcome.status == "failed"
    }
    assert next(iter(listed)) == "scalar"
    assert "sync" in listed
    assert str(caught.value) == (
        f"mine ({HOME}): {len(listed)} of {len(caught.value.outcomes)} checks failed\n"
        + "".join(f"  {check}: {detail}\n" for check, detail in listed.items())
        + "A check that the term cannot pass by its nature is waived in its spec, with the reason: "
        'TermSpec(..., waivers={"scalar": "because ..."})'
    )
    assert caught.value.exit_status == 1


def test_a_term_of_a_registry_is_named_with_its_distribution():
    """The message names the distribution that an installed term comes from."""
    (term,) = registry_with(plugin_of(spec_of(negative))).choose("mine")
    text = message(TermCheckError, check_term, term)
    assert text.startswith("mine (my_loop): 1 of 27 checks failed\n  minimum: at a spectrogram equal to")


def test_a_check_may_be_waived_with_a_reason():
    """A waived check is not run and its outcome is the reason; other outcomes do not change."""
    waived = spec_of(negative, waivers={**UNCOMPILED, "minimum": "it pushes the two apart"})
    assert Outcome("minimum", "waived", "it pushes the two apart") in check_term(waived)
    before, after = run_checks(spec_of(negative)), run_checks(waived)
    assert [one.check for one, other in zip(before, after, strict=True) if one != other] == ["minimum"]


def test_a_waiver_must_name_a_check():
    """A waiver that names no check is refused."""
    spec = spec_of(distance, waivers={"minimun": "it has none"})
    text = message(TermError, run_checks, spec)
    first, second = text.split("\n")
    assert first == f"mine ({HOME}): a waiver names no check: 'minimun'; did you mean 'minimum'?"
    assert second.startswith("The checks are config, scalar, finite, gradient, ")


LOSS = "return a scalar float tensor, by .mean() for example, or a dict of them"


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (lambda: None, f"returned None; {LOSS}"),
        (lambda: 0.5, f"returned 0.5; {LOSS}"),
        (dict, f"returned an empty dict; {LOSS}"),
        (lambda: torch.tensor(1), f"returned a torch.int64 tensor of shape []; {LOSS}"),
        (lambda: {"x": None}, f"returned None as part 'x'; {LOSS}"),
        (
            lambda: {"total": None},
            (
                "returned a part named 'total', which is the name of the whole loss; "
                "name the part differently, or leave it out: a term is the sum of its parts"
            ),
        ),
        (
            lambda: {"\udc80": None},
            f"returned a part named '\\udc80', which is not text that can be printed; {LOSS}",
        ),
        (
            lambda: 1 / 0,
            (
                "raised ZeroDivisionError: division by zero (tests/testing/test_kit.py:PLACE); "
                "call it with distill.testing.loss_inputs() to debug it"
            ),
        ),
    ],
)
def test_a_term_that_gives_no_number_is_caught_by_scalar_alone(returned, shown):
    """The other checks say that they have nothing to check."""
    outcomes = run_checks(spec_of(lambda *_: returned()))
    failed = {outcome.check: outcome.detail for outcome in outcomes if outcome.status == "failed"}
    assert list(failed) == ["scalar"]
    assert re.sub(r"py:\d+", "py:PLACE", failed["scalar"]) == f"it {shown}"
    inapplicable = {
        outcome.check: outcome.detail for outcome in outcomes if outcome.status == "not applicable"
    }
    assert inapplicable["descent"] == "needs a number: see 'scalar'"


def test_the_place_of_an_error_is_in_the_code_of_the_term():
    """The message names the line of the term, not that of torch at which the operation failed."""
    line = mismatched.__code__.co_firstlineno + 2
    (outcome,) = (o for o in run_checks(spec_of(mismatched)) if o.status == "failed")
    assert outcome.detail.endswith(
        f" (tests/testing/test_kit.py:{line}); call it with distill.testing.loss_inputs() to debug it"
    )


def mismatched(_, prediction, target):
    """Multiply what does not fit."""
    return (prediction @ target).mean()


def test_one_fault_is_one_message():
    """A fault that many checks meet is shown once, by the first of them."""

    class Picky(nn.Module):
        def __init__(self, _):
            super().__init__()

        def forward(self, inputs):
            prediction, target = inputs.view(LogMagnitude())
            return (prediction - target).abs().mean() * inputs.prediction.spectrogram.ndim / 4

    outcomes = run_checks(spec_of(distance, build=Picky))
    assert [outcome.check for outcome in outcomes if outcome.status == "failed"] == ["finite"]
    shown = "raises the error that 'finite' shows"
    met = {outcome.check for outcome in outcomes if outcome.detail == shown}
    assert {"gradient", "minimum", "silence", "gain"} <= met


def test_the_cause_of_a_failure_is_chained():
    """The error is chained to the exception that the term raised."""
    with pytest.raises(TermCheckError) as caught:
        check_term(spec_of(lambda *_: 1 / 0))
    assert isinstance(caught.value.__cause__.__cause__, ZeroDivisionError)


def test_a_term_that_cannot_be_built_is_an_error_of_its_own():
    """A term that cannot be built is one error, which names the term and its module."""
    assert message(TermError, run_checks, spec_of(distance, build=lambda _: 1 / 0)) == (
        f"mine ({HOME}): the loss term cannot be built: ZeroDivisionError: division by zero\n"
        f"If its options are right, report this to the authors of {HOME}."
    )


def test_what_is_random_elsewhere_stays_so():
    """Checks draw the same numbers every time, and leave the generator as they found it."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = run_checks(spec_of(distance))
    assert torch.equal(torch.rand(3), expected)
    assert run_checks(spec_of(distance)) == first


def test_a_registry_with_one_plugin():
    """The registry holds the built-in terms and those of the plugin, and nothing else that is installed."""
    registry = registry_with(plugin_of(spec_of(distance)))
    assert [str(term) for term in registry.terms()] == [
        *(f"{name} (distill {distill.__version__})" for name in ("stft", "reconstruction", "kl", "waveform")),
        "mine (my_loop)",
    ]


def test_a_plugin_whose_name_clashes_is_refused():
    """A clash is refused at once; the message names the distribution, the term and the owner of the name."""
    assert message(TermError, registry_with, plugin_of(spec_of(distance, name="kl"))) == (
        f"plugin 'my_loop': the name 'kl' is taken by kl (distill {distill.__version__})\n"
        "The docstrings in distill.hookspecs show complete plugins."
    )
