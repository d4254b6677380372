"""Tests of distill.plugin.selection: which plugins DISTILL_PLUGINS lets in, with real distributions."""

import os
import pickle

import pytest

from distill.errors import TermError
from distill.plugin.registry import Registry
from distill.plugin.selection import no_plugins, select_plugins

PLUGIN = """
from attrs import frozen
from torch import nn
from distill import TermConfig, TermSpec, hookimpl

@frozen(kw_only=True)
class Options(TermConfig):
    pass

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="{name}", config=Options, build=lambda config: nn.Identity(), summary="one of ours")
"""
BUILT_IN = ["stft", "reconstruction", "kl", "waveform"]


@pytest.fixture(autouse=True)
def _installed(install_only, monkeypatch):
    """Install three distributions with a term each, the third one broken, and no others."""
    sources = {name: PLUGIN.format(name=name) for name in ("red", "green")} | {"torn": "raise RuntimeError"}
    install_only({f"our-{name}": (name, source) for name, source in sources.items()})
    monkeypatch.delenv("DISTILL_PLUGINS", raising=False)


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        ("", ["green", "red", "torn"]),
        ("none", []),
        ("our-red", ["red"]),
        (" Our_Red, our.green ,", ["green", "red"]),
        ("-our-torn", ["green", "red"]),
        ("-our-torn,-our-red", ["green"]),
        ("our-red,our-torn,-our-torn", ["red"]),
    ],
)
def test_plugins_are_let_in_by_distribution(monkeypatch, value, loaded):
    """DISTILL_PLUGINS lets in none, some, or all but some distributions, by normalized names."""
    monkeypatch.setenv("DISTILL_PLUGINS", value)
    selection = select_plugins()
    assert sorted(plugin.entry_point.name for plugin in selection.loaded) == loaded
    assert sorted(plugin.entry_point.name for plugin in (*selection.loaded, *selection.left_out)) == [
        "green",
        "red",
        "torn",
    ]


def test_the_registry_has_the_built_in_terms_and_those_let_in(monkeypatch):
    """A broken plugin that is left out is not imported, and is not among the broken ones."""
    monkeypatch.setenv("DISTILL_PLUGINS", "our-red")
    registry = Registry()
    assert [term.name for term in registry.terms()] == [*BUILT_IN, "red"]
    assert registry.broken() == ()
    assert [plugin.origin for plugin in registry.left_out()] == ["our-green 1.5", "our-torn 1.5"]


def test_a_term_that_is_left_out_is_unknown(monkeypatch):
    """The message says which distributions are left out, and by what."""
    monkeypatch.setenv("DISTILL_PLUGINS", "none")
    with pytest.raises(TermError) as caught:
        Registry().choose("stft,red")
    assert str(caught.value) == (
        "unknown loss term 'red'\n"
        "Choose from: stft, reconstruction or recon, kl, waveform\n"
        "Left out by DISTILL_PLUGINS or --no-plugins: our-green 1.5, our-red 1.5, our-torn 1.5"
    )


def test_a_distribution_without_a_plugin_is_an_error(monkeypatch):
    """A name in DISTILL_PLUGINS that has no plugin is refused at once, in one message."""
    monkeypatch.setenv("DISTILL_PLUGINS", "our-rod,elsewhere,-our-red")
    with pytest.raises(TermError) as caught:
        Registry()
    assert str(caught.value) == (
        "DISTILL_PLUGINS: no installed distribution 'our-rod' has a plugin; did you mean 'our-red'?\n"
        "no installed distribution 'elsewhere' has a plugin\n"
        "Choose from: our-green, our-red, our-torn, none"
    )
    assert len(Registry(discover=False).terms()) == 4


def test_a_pickled_term_is_left_out_too(monkeypatch):
    """A pickled term is looked up by name among the plugins that are let in where it is unpickled."""
    data = pickle.dumps(Registry().choose("red"))
    (term,) = pickle.loads(data)  # noqa: S301  # our own
    assert term.origin == "our-red 1.5"
    monkeypatch.setenv("DISTILL_PLUGINS", "-our-red")
    with pytest.raises(TermError) as caught:
        pickle.loads(data)  # noqa: S301  # our own
    assert str(caught.value) == (
        "loss term 'red' of our-red 1.5 is left out by DISTILL_PLUGINS\n"
        "Unset DISTILL_PLUGINS, or let it include our-red."
    )


@pytest.mark.parametrize("before", [None, "our-red"])
def test_no_plugins_ends(monkeypatch, before):
    """`no_plugins` restores the environment at its end."""
    if before:
        monkeypatch.setenv("DISTILL_PLUGINS", before)
    with no_plugins():
        assert os.environ["DISTILL_PLUGINS"] == "none"
        assert [term.name for term in Registry().terms()] == BUILT_IN
    assert os.environ.get("DISTILL_PLUGINS") == before


@pytest.mark.parametrize(
    "words",
    [
        ("--no-plugins", "losses"),
        ("losses", "--no-plugins"),
    ],
)
def test_the_listing_says_what_is_left_out(distill, words):
    """`--no-plugins` works in any position, and for one command only."""
    result = distill(*words)
    assert (result.status, result.err) == (0, "")
    assert "\nred " not in result.out
    assert result.out.endswith(
        "\nPlugins left out by DISTILL_PLUGINS or --no-plugins\n"
        "our-green 1.5\nour-red 1.5\nour-torn 1.5\n"
        "\n'distill losses show NAME' lists the options of a term or balancer.\n"
    )
    again = distill("losses").out
    assert "\nred " in again
    assert "left out" not in again


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--loss", "red"),
        ("recipe", "--loss", "red"),
        ("losses", "show", "red"),
        ("losses", "check", "red"),
        ("losses", "profile", "--loss", "red"),
    ],
)
def test_commands_that_choose_terms_take_no_plugins(distill, words):
    """They end with one message, and status 2."""
    result = distill(*words, "--no-plugins")
    assert result.status == 2
    assert result.err.startswith("Error: unknown loss term 'red'\nChoose from: stft, ")
    assert result.err.endswith(
        "Left out by DISTILL_PLUGINS or --no-plugins: our-green 1.5, our-red 1.5, our-torn 1.5\n"
    )


def test_a_plugin_of_ours_that_is_left_out_is_not_called_missing(install_only, monkeypatch):
    """Its term is unknown because it is left out, and nobody is told to install it."""
    install_only({"distill-mel": ("mel", PLUGIN.format(name="mel"))})
    monkeypatch.setenv("DISTILL_PLUGINS", "none")
    with pytest.raises(TermError) as caught:
        Registry().choose("mel")
    assert str(caught.value) == (
        "unknown loss term 'mel'\n"
        "Choose from: stft, reconstruction or recon, kl, waveform\n"
        "Left out by DISTILL_PLUGINS or --no-plugins: distill-mel 1.5"
    )
