"""Tests of distill.plugin.registry: the built-in terms, choosing, registering by hand, and building."""

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch

import distill
from distill.errors import TermError
from distill.plugin.builtin_terms import StftConfig
from distill.plugin.hookspecs import TermSpec, hookimpl
from distill.plugin.registry import Registry

BUILT_IN = "stft, reconstruction or recon, kl, waveform"


def spec(**changes):
    """Make a valid spec, but for the changes."""
    build = "torch.nn:Identity"
    return TermSpec(**{"name": "mine", "config": StftConfig, "build": build, "summary": ""} | changes)


def plugin(*specs):
    """Make a plugin that yields what it is given."""
    return SimpleNamespace(distill_loss_terms=hookimpl(lambda: iter(specs)))


def message(call, *arguments):
    """Return the whole message of the TermError that a call raises."""
    with pytest.raises(TermError) as caught:
        call(*arguments)
    return str(caught.value)


def test_built_in_terms_are_registered_with_their_provenance():
    """The terms of the first release come from distill itself."""
    assert [str(term) for term in Registry(discover=False).terms()] == [
        f"{name} (distill {distill.__version__})" for name in ("stft", "reconstruction", "kl", "waveform")
    ]


def test_listing_built_in_terms_loads_no_torch():
    """Listing the terms does not import torch."""
    code = """
        import sys
        from distill.plugin.registry import Registry
        assert len(Registry(discover=False).terms()) == 4
        Registry().choose("stft,recon,kl,waveform")
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("stft,recon,kl", ["stft", "reconstruction", "kl"]),
        (" kl , stft ", ["kl", "stft"]),
        (["waveform", "reconstruction"], ["waveform", "reconstruction"]),
        (("distill:recon",), ["reconstruction"]),
        (iter(["kl"]), ["kl"]),
    ],
)
def test_choose_by_name_alias_or_distribution(wanted, names):
    """Terms come in the order in which they were chosen, under their canonical names."""
    assert [term.name for term in Registry().choose(wanted)] == names


@pytest.mark.parametrize("wanted", ["", " ", [], " , "])
def test_choosing_nothing_is_an_error(wanted):
    """An empty choice is not a loss."""
    registry = Registry(discover=False)
    assert message(registry.choose, wanted) == f"no loss term is chosen\nChoose from: {BUILT_IN}"


def test_an_empty_name_is_an_error():
    """A choice with a comma too many is refused, and the message points it out."""
    registry = Registry(discover=False)
    assert message(registry.choose, "stft,,kl") == f"a name is empty in 'stft,,kl'\nChoose from: {BUILT_IN}"


@pytest.mark.parametrize(("first", "second"), [("stft", "stft"), ("recon", "distill:reconstruction")])
def test_choosing_a_term_twice_is_an_error(first, second):
    """A name stands for one component, through an alias as well."""
    name, ways = ("stft", "") if first == "stft" else ("reconstruction", f", as '{first}' and as '{second}'")
    assert message(Registry(discover=False).choose, [first, second]) == (
        f"loss term '{name}' is chosen twice in '{first},{second}'{ways}; each is expected once\n"
        f"Leave one out. If it is to count more, set its weight: {name}.weight"
    )


def test_an_unknown_term_is_listed_against_what_is_installed():
    """A misspelt name gets a suggestion and the list."""
    assert message(Registry(discover=False).choose, "stft,recom") == (
        f"unknown loss term 'recom'; did you mean 'recon'?\nChoose from: {BUILT_IN}"
    )


def test_every_unknown_term_is_named():
    """The message names every unknown term, and lists the installed ones once."""
    with pytest.raises(TermError) as caught:
        Registry(discover=False).choose("stfft,recon,wavefrom,recon")
    assert str(caught.value) == (
        "unknown loss term 'stfft'; did you mean 'stft'?\n"
        "unknown loss term 'wavefrom'; did you mean 'waveform'?\n"
        "loss term 'reconstruction' is chosen twice in 'stfft,recon,wavefrom,recon'; each is expected once\n"
        "Choose from: stft, reconstruction or recon, kl, waveform\n"
        "Leave one out. If it is to count more, set its weight: reconstruction.weight"
    )


@pytest.mark.parametrize("distribution", ["my-losses", ""])
def test_a_term_of_a_distribution_that_is_not_installed(distribution):
    """The distribution is named; a built-in term of that name is not taken instead."""
    assert message(Registry(discover=False).choose, f"{distribution}:kl") == (
        f"no installed distribution '{distribution}' provides a loss term 'kl'\n"
        f"Install the one that does, or choose from: {BUILT_IN}"
    )


def test_a_plugin_can_be_registered_by_hand():
    """In a loop of one's own no distribution is needed; twice the same is once."""
    registry, mine = Registry(discover=False), plugin(spec(aliases=("own",)))
    for _ in range(2):
        registry.register(mine, name="my-loop")
    assert [str(term) for term in registry.choose("own")] == ["mine (my-loop)"]
    assert len(registry.terms()) == 5


def test_registering_by_hand_does_not_reach_other_registries():
    """A plugin registered in one registry is unknown to all others."""
    Registry(discover=False).register(plugin(spec()), name="my-loop")
    assert len(Registry(discover=False).terms()) == 4


def test_registering_a_plugin_that_breaks_the_contract_is_an_error():
    """An invalid plugin is refused where it is registered, and nothing of it stays."""
    registry = Registry(discover=False)
    assert message(
        lambda: registry.register(plugin(spec(), spec(name="kl")), name="my-loop", version="1")
    ) == (
        f"plugin 'my-loop': the name 'kl' is taken by kl (distill {distill.__version__})\n"
        "The docstrings in distill.hookspecs show complete plugins."
    )
    assert len(registry.terms()) == 4


def build(**changes):
    """Register a term, then build it with its default options."""
    registry = Registry(discover=False)
    registry.register(plugin(spec(**changes)), name="my-losses", version="1.0")
    (term,) = registry.choose("mine")
    return term.build(StftConfig())


def test_build_calls_the_builder_with_the_config():
    """The builder gets the options."""
    received = []

    def builder(config):
        received.append(config)
        return torch.nn.Identity()

    assert isinstance(build(build=builder), torch.nn.Identity)
    assert received == [StftConfig()]


def test_build_resolves_an_import_string():
    """A builder may be named, so that listing it imports nothing."""
    assert isinstance(build(build="torch.nn:Identity"), torch.nn.Identity)


@pytest.mark.parametrize(
    ("builder", "cause"),
    [
        ("not_there:Mine", "ModuleNotFoundError: No module named 'not_there'"),
        ("torch.nn:Mine", "AttributeError: module 'torch.nn' has no attribute 'Mine'"),
        ("no name", "ValueError: invalid format: 'no name'"),
        (lambda config: 1 / (config.weight - 1), "ZeroDivisionError: float division by zero"),
        (lambda _: None, "TypeError: expected an nn.Module, got None"),
    ],
)
def test_a_term_that_cannot_be_built_is_named(builder, cause):
    """The term, its distribution and the cause are named, and the cause is chained."""
    with pytest.raises(TermError) as caught:
        build(build=builder)
    assert str(caught.value) == (
        f"mine (my-losses 1.0): the loss term cannot be built: {cause}\n"
        "If its options are right, report this to the authors of my-losses."
    )
    assert type(caught.value.__cause__).__name__ == cause.split(":")[0]


@pytest.mark.parametrize("name", ["stft", "reconstruction", "kl", "waveform"])
def test_every_built_in_term_can_be_built(name):
    """The import strings of the built-in terms lead to modules."""
    (term,) = Registry().choose(name)
    assert isinstance(term.build(term.spec.config()), torch.nn.Module)
