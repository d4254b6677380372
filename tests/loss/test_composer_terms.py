"""Tests of distill.loss.composer: the terms and the options that `compose` is given, in Python."""

import ast
import pickle
import sys
from types import SimpleNamespace

import pytest
import torch
from attrs import frozen
from torch import nn

from distill import TermConfig, TermSpec, hookimpl
from distill.errors import ConfigError, InputError, TermError
from distill.loss.composing import compose
from distill.testing import check_term, loss_inputs, registry_with
from distill.views import LogMagnitude


@frozen(kw_only=True)
class Options(TermConfig):
    """The options of the term below."""

    gain: float = 1.0


class Mine(nn.Module):
    """A term that is not installed."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, inputs):
        """Compare the log-magnitudes."""
        prediction, target = inputs.view(LogMagnitude())
        return self.config.gain * (prediction - target).abs().mean()


def spec(name="mine", **changes):
    """Specify it."""
    return TermSpec(**{"name": name, "config": Options, "build": Mine, "summary": "", **changes})


def problem(*arguments, **options):
    """Return the whole message with which `compose` refuses."""
    with pytest.raises((TermError, ConfigError)) as caught:
        compose(*arguments, **options)
    return str(caught.value)


def test_a_spec_among_names_is_a_term():
    """It needs no entry point, has options by its name and by its alias, and stands where it was put."""
    options = {"own.gain": 2.0, "loss.own.weight": 0.5}
    loss = compose(["recon", spec(aliases=("own",)), "kl"], options)
    assert list(loss.origins) == ["reconstruction", "mine", "kl"]
    assert (loss.config.mine.gain, loss.config.mine.weight) == (2.0, 0.5)
    components = loss(loss_inputs())
    assert components["mine"].item() == pytest.approx(2 * components["reconstruction/magnitude"].item())
    assert components["weighted/mine"].item() == pytest.approx(0.5 * components["mine"].item())


def test_a_spec_may_stand_alone():
    """A spec outside a list is accepted, as one name is."""
    assert list(compose(spec()).origins) == list(compose([spec()]).origins) == ["mine"]


def test_a_spec_passes_the_kit_and_is_pickled(monkeypatch):
    """It is a term like others, of the package that it is written in."""
    package = Options.__module__.partition(".")[0]
    monkeypatch.setitem(sys.modules, Options.__module__, sys.modules[__name__])
    assert str(compose(spec()).origins["mine"]) == f"mine ({package})"
    check_term(spec())
    loss = pickle.loads(pickle.dumps(compose([spec(), "kl"])))  # noqa: S301  # our own
    assert loss(loss_inputs())["total"] == compose([spec(), "kl"])(loss_inputs())["total"]


def test_terms_of_one_name_are_refused():
    """One message says how either term was chosen, and what to do."""
    remedy = "Leave one out, or give a TermSpec another name."
    own = f"as a TermSpec of {__name__}"
    assert problem([spec(), spec()]) == (
        f"loss term 'mine' is chosen twice in 'mine,mine', {own}; each is expected once\n{remedy}"
    )
    assert problem(["recon", spec("reconstruction")]) == (
        "loss term 'reconstruction' is chosen twice in 'recon,reconstruction', "
        f"as 'recon' and {own}; each is expected once\n{remedy}"
    )
    assert problem([spec(aliases=("recon",)), "recon"]) == (
        "the loss terms 'mine' and 'reconstruction' share the name 'recon'\n"
        "Choose another name or alias for the TermSpec."
    )
    assert problem(["kl", "kl"]) == (
        "loss term 'kl' is chosen twice in 'kl,kl'; each is expected once\n"
        "Leave one out. If it is to count more, set its weight: kl.weight_max"
    )


def test_a_spec_hides_no_term_that_is_not_chosen():
    """A spec may have the name of another term that is not chosen beside it."""
    assert compose([spec("stft"), "kl"]).config.stft == Options()


def test_what_is_neither_a_name_nor_a_spec_is_refused():
    """The class of a term is refused, and the message says what makes a term of it."""
    assert problem(["kl", Mine]) == (
        f"expected the name of a loss term or a TermSpec, got {Mine!r}\n"
        "A TermSpec(name=..., config=..., build=..., summary=...) makes a term of a module."
    )


def test_one_address_everywhere():
    """Options have the addresses of the command line, with `loss.` or not, by name or alias."""
    for address in ("loss.recon.weight", "recon.weight", "loss.reconstruction.weight"):
        assert compose("recon", {address: 2.0}).config.reconstruction.weight == 2.0
    loss = compose("recon", balancer="gradient", balancer_options={"balancing.gradient.decay": 0.5})
    assert loss.balancer.config.decay == 0.5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"stft.weight": 1.0, "loss.stft.weight": 2.0},
            "1.0 as 'stft.weight' and to 2.0 as 'loss.stft.weight'",
        ),
        ({"stft": {"weight": 1.0}, "stft.weight": 2.0}, "1.0 as 'stft' and to 2.0 as 'stft.weight'"),
        (
            {"stft.weight": 2.0, "loss.stft": {"weight": 1.0}},
            "2.0 as 'stft.weight' and to 1.0 as 'loss.stft'",
        ),
        ({"stft.weight": 2.0, "stft": {}}, "2.0 as 'stft.weight' and to {} as 'stft'"),
    ],
)
def test_an_option_has_one_value(options, expected):
    """Neither of two replaces the other silently, wherever it is set."""
    assert problem("stft", options) == f"loss.stft.weight: is set twice, to {expected}; set it once"


def test_options_that_are_given_are_not_changed():
    """A table may be completed by an option of its own address, in a copy."""
    options = {"stft": {"weight": 2.0}, "stft.per_example": True}
    config = compose("stft", options).config.stft
    assert (config.weight, config.per_example) == (2.0, True)
    assert options == {"stft": {"weight": 2.0}, "stft.per_example": True}


def test_all_that_is_wrong_is_said_at_once():
    """Terms, options and the balancer are judged in one call; options of unknown terms are not."""
    options = {
        "stft.weight": 1.0, "loss.stft.weight": 2.0, "stft.wieght": 1, "kl": 3, "kl.free_bits": 4,
        "nope.weight": 1, "loss.nope.x": 1, "mel.weight": 2,
    }  # fmt: skip
    message = problem("stft,nope,kl", options, balancer="gradeint", balancer_options={"decay": 2})
    lines = message.splitlines()
    assert lines[:7] == [
        "unknown loss term 'nope'",
        (
            "loss.stft.weight: is set twice, to 1.0 as 'stft.weight' and to 2.0 as "
            "'loss.stft.weight'; set it once"
        ),
        "loss.kl.free_bits: loss.kl is 3, not a table",
        "loss.mel: the loss has stft, kl; add this term with --loss",
        "loss.stft.wieght: unknown option, got 1; did you mean 'weight'?",
        "loss.kl: expected a table, got 3",
        "unknown balancer 'gradeint'; did you mean 'gradient'?",
    ]
    assert problem("nope", {"stft.weight": 1}, balancer_options={"decay": 2}).splitlines()[:2] == [
        "unknown loss term 'nope'",
        "balancer_options: no balancer is chosen",
    ]


def test_an_unknown_option_is_named_by_its_whole_address():
    """The message gives the whole address, whichever way the option is written."""
    for address in ("stft.wieght", "loss.stft.wieght"):
        assert problem("stft", {address: 1.0}) == (
            "loss.stft.wieght: unknown option, got 1.0; did you mean 'weight'?"
        )
    assert problem("stft", {"loss.sftf.weight": 1.0}) == (
        "loss.sftf: unknown option, got a table; did you mean 'stft'?"
    )


def test_a_term_may_be_named_loss():
    """Options of a term named `loss` have their address below it, and those of others theirs."""
    plugin = SimpleNamespace(distill_loss_terms=hookimpl(lambda: [spec("loss")]))
    options = {"loss.gain": 2.0, "loss.loss.weight": 3.0, "loss.kl.weight_max": 4.0, "kl.free_bits": 5.0}
    config = compose("loss,kl", options, registry=registry_with(plugin)).config
    assert (config.loss.gain, config.loss.weight) == (2.0, 3.0)
    assert (config.kl.weight_max, config.kl.free_bits) == (4.0, 5.0)


def test_a_spec_trains():
    """The prediction gets its gradient."""
    inputs = loss_inputs()
    compose([spec()])(inputs)["total"].backward()
    assert torch.isfinite(inputs.prediction.spectrogram.grad).all()


def test_options_have_addresses(composed):
    """Options are addressed by canonical name or alias, in a user's own registry as well."""
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


@pytest.mark.parametrize("options", ["stft.weight=2", 3, {1: 2}, [1]])
@pytest.mark.parametrize(
    ("name", "example"), [("options", '{"stft.weight": 2.0}'), ("balancer_options", '{"decay": 0.99}')]
)
def test_what_are_no_options(options, name, example):
    """What is neither a mapping nor pairs is refused with one message, with an example that is accepted."""
    compose("stft", balancer="gradient", **{name: ast.literal_eval(example)})
    with pytest.raises(InputError) as caught:
        compose("recon", balancer="gradient", **{name: options})
    assert str(caught.value) == (
        f"{name}: expected values by their address, got {options!r}\nPass a dict, such as {example}."
    )


def test_options_may_be_pairs():
    """Options are accepted as pairs, as `distill.train` takes them."""
    assert compose("recon", [("recon.weight", 2.0)]).weights_at(0) == {"reconstruction": 2.0}


@pytest.mark.parametrize(
    ("terms", "shown"),
    [(None, "None"), (3, "3"), (nn.Identity(), "Identity()"), (nn.Linear, repr(nn.Linear))],
)
def test_what_are_no_terms(terms, shown):
    """The message shows what was given, and says how a term is made."""
    with pytest.raises(TermError) as caught:
        compose(terms)
    assert str(caught.value) == (
        f"expected the name of a loss term or a TermSpec, got {shown}\n"
        "A TermSpec(name=..., config=..., build=..., summary=...) makes a term of a module."
    )
