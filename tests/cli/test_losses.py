"""Tests of `distill losses` and `distill losses show`."""

import json

import pytest
from click.testing import CliRunner

import distill
from distill.cli.losses import losses
from distill.errors import TermError

PLUGIN = """
from attrs import field, frozen, validators
from distill import TermConfig, TermSpec, hookimpl

@frozen(kw_only=True)
class Inner:
    size: int = field(default=8, validator=validators.ge(2), metadata={"help": "how large"})

@frozen(kw_only=True)
class Config(TermConfig):
    label: str
    limit: float | None = None
    inner: Inner = Inner()

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="mine", aliases=("own", "my"), config=Config, build="a:B", summary="a term of mine")
"""


@pytest.fixture(autouse=True)
def _installed(install_only, monkeypatch):
    """Install one distribution with a term and one that is broken, and no others."""
    wreck = "raise ImportError('libwreck.so is missing, and without it this plugin cannot do its work')"
    install_only({"our-losses": ("mine", PLUGIN), "our-wreck": ("wreck", wreck)})
    monkeypatch.setenv("COLUMNS", "60")


def run(*arguments, **options):
    """Run the command as a user would, errors passing through; return what it printed."""
    return CliRunner().invoke(losses, arguments, catch_exceptions=False, **options).output


def test_losses_lists_terms_and_what_is_broken():
    """The list names each term with aliases, origin and summary, then each broken plugin with its cause."""
    assert run() == (
        f"""\
stft                   distill {distill.__version__}
    multi-resolution STFT of the flattened magnitude
reconstruction, recon  distill {distill.__version__}
    distance of the magnitudes and of the amplitude-weighted
    IFs
kl                     distill {distill.__version__}
    KL divergence of the posterior from a standard normal,
    with free bits
waveform               distill {distill.__version__}
    multi-resolution STFT of the waveforms, through the
    inverse
mine, own, my          our-losses 1.5
    a term of mine

Balancers, for --balance
gradient               distill {distill.__version__}
    weights are shares of the gradient at the decoder's
    output, as in EnCodec

Plugins that cannot be loaded
our-wreck 1.5, entry point 'wreck'
    ImportError: libwreck.so is missing, and without it this
    plugin cannot do its work

'distill losses show NAME' lists the options of a term or balancer.
"""
    )


def test_losses_says_nothing_of_broken_plugins_when_there_are_none(monkeypatch):
    """A sound installation is not told about trouble."""
    monkeypatch.setattr("distill.plugin.selection.entry_points", lambda **_: [])
    assert "cannot be loaded" not in run()


def test_losses_is_coloured_only_on_a_terminal():
    """What is piped holds no escape codes; a terminal gets bold names."""
    assert "\x1b" not in run()
    assert "\x1b[1mkl" in run(color=True)


def test_losses_as_json():
    """The JSON output holds the records of the list under stable keys, and nothing else."""
    listing = json.loads(run("--json"))
    assert list(listing) == ["terms", "balancers", "broken", "left_out"]
    assert [balancer["name"] for balancer in listing["balancers"]] == ["gradient"]
    assert [term["name"] for term in listing["terms"]] == ["stft", "reconstruction", "kl", "waveform", "mine"]
    assert listing["terms"][-1] == {
        "name": "mine",
        "aliases": ["own", "my"],
        "distribution": "our-losses",
        "version": "1.5",
        "summary": "a term of mine",
    }
    assert listing["broken"] == [
        {
            "distribution": "our-wreck",
            "version": "1.5",
            "entry_point": "wreck",
            "cause": ("ImportError: libwreck.so is missing, and without it this plugin cannot do its work"),
        }
    ]


def test_show_lists_options_with_address_default_bounds_and_help():
    """The command shows each option of a term at the address that sets it, also when given an alias."""
    assert run("show", "own") == (
        """\
mine, own, my  our-losses 1.5
    a term of mine

loss.mine.weight = 1.0
    number, >= 0, finite: factor in the total; 0 only
    monitors the term

loss.mine.schedule = []
    list of pairs of numbers: [progress, factor] points that
    scale the weight; none: constant

loss.mine.label (required)
    string

loss.mine.limit (unset)
    number

loss.mine.inner.size = 8
    whole number, >= 2: how large
"""
    )


@pytest.mark.parametrize("arguments", [("show", "mine", "--json"), ("--json", "show", "mine")])
def test_show_as_json(arguments):
    """The JSON holds the record of the term and its options, wherever `--json` stands."""
    shown = json.loads(run(*arguments))
    assert list(shown) == ["name", "aliases", "distribution", "version", "summary", "options"]
    assert shown["distribution"] == "our-losses"
    assert [option["address"] for option in shown["options"]] == [
        "loss.mine.weight",
        "loss.mine.schedule",
        "loss.mine.label",
        "loss.mine.limit",
        "loss.mine.inner.size",
    ]
    assert shown["options"][-1] == {
        "address": "loss.mine.inner.size",
        "type": "whole number",
        "required": False,
        "default": 8,
        "bounds": ">= 2",
        "help": "how large",
    }
    assert [option["required"] for option in shown["options"]] == [False, False, True, False, False]


def test_show_of_an_unknown_term_is_the_users_error():
    """The command prints the message of the registry unchanged."""
    with pytest.raises(TermError) as caught:
        run("show", "mime")
    assert str(caught.value) == (
        "unknown loss term 'mime'; did you mean 'mine'?\n"
        "Choose from: stft, reconstruction or recon, kl, waveform, mine or own or my\n"
        "It may belong to a plugin that cannot be loaded:\n"
        "  our-wreck 1.5: ImportError: libwreck.so is missing, and without it this plugin cannot do its work"
    )


def test_show_of_a_broken_term_says_why():
    """The message about a broken term names its distribution and the cause."""
    with pytest.raises(
        TermError, match=r"^our-wreck 1\.5: loss term 'wreck' cannot be loaded: ImportError: "
    ):
        run("show", "wreck")


def test_show_of_a_balancer():
    """Its options have their address below `balancing`."""
    assert run("show", "gradient").startswith(
        f"""\
gradient  distill {distill.__version__}
    weights are shares of the gradient at the decoder's
    output, as in EnCodec

balancing.gradient.decay = 0.999
    number, >= 0, < 1: decay of the moving average of each
    term's gradient norm
"""
    )
