"""Tests of distill.loss.config."""

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from distill import TermConfig, TermSpec
from distill.config import unstructure
from distill.errors import ConfigError
from distill.loss.config import configure, loss_config_class
from distill.plugin.builtin_terms import KlConfig, ReconstructionConfig, StftConfig
from distill.plugin.registry import Registry, Term


def terms(names):
    """Choose terms."""
    return Registry(discover=False).choose(names)


def problems_of(names, options):
    """Return the problems of a ConfigError."""
    with pytest.raises(ConfigError) as caught:
        configure(terms(names), options)
    return caught.value.problems


def test_the_class_has_an_attribute_per_chosen_term():
    """Attributes keep the order of the choice, with the term's config as type and summary as help."""
    chosen = terms("kl,stft")
    fields = attrs.fields(loss_config_class(chosen))
    assert [(field.name, field.type) for field in fields] == [("kl", KlConfig), ("stft", StftConfig)]
    assert [field.metadata["help"] for field in fields] == [term.spec.summary for term in chosen]


def test_the_configs_are_frozen_and_passed_by_name():
    """A config cannot be changed, and takes its values by name."""
    config = configure(terms("kl"), {})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.kl = None
    with pytest.raises(TypeError):
        loss_config_class(terms("kl"))(KlConfig())


def test_terms_without_options_have_their_defaults():
    """A chosen term that is given no options has its defaults."""
    config = configure(terms("stft,recon"), {"stft": {"weight": 2.0}})
    assert config.stft == StftConfig(weight=2.0)
    assert config.reconstruction == ReconstructionConfig()


def test_a_term_may_be_named_by_an_alias():
    """It is kept under its canonical name."""
    config = configure(terms("stft,recon"), {"recon": {"weight": 3.0}})
    assert config.reconstruction.weight == 3.0
    assert not hasattr(config, "recon")


@pytest.mark.parametrize(("first", "second"), [("recon", "reconstruction"), ("reconstruction", "recon")])
@pytest.mark.parametrize("options", [{"weight": 1.0}, {}])
def test_a_term_named_twice_is_an_error(first, second, options):
    """The message has both names of the term, whichever comes first."""
    assert problems_of("recon", {first: options, second: {"if_weight": 1.0}}) == (
        f"loss.{second}: is set as loss.{first} too; set it once",
    )


def test_every_problem_at_once_with_its_path():
    """A term that was not chosen has no address; wrong types and bounds are refused where they stand."""
    options = {"kl": {"free_bits": -1.0}, "stft": {"weight": "2"}, "waveform": {"weight": 1.0}}
    assert problems_of("stft,kl", options) == (
        "loss.waveform: the loss has stft, kl; add this term with --loss",
        'loss.stft.weight: expected a number, got "2"',
        "loss.kl.free_bits: must be >= 0, got -1.0",
    )


def test_a_misspelt_term_gets_a_suggestion():
    """The message suggests the nearest chosen name."""
    (problem,) = problems_of("stft,kl", {"sftf": {"weight": 1.0}})
    assert problem == "loss.sftf: unknown option, got a table; did you mean 'stft'?"


def test_options_that_are_no_table_are_an_error():
    """A weight stands under its name, not in place of the term's options."""
    (problem,) = problems_of("recon", {"recon": 2.0})
    assert problem.startswith("loss.reconstruction: expected ")
    assert problem.endswith(", got 2.0")


def test_it_loads_no_torch():
    """Reading a recipe loads no torch."""
    code = (
        "import sys; from distill.loss.config import configure; "
        "from distill.plugin.registry import Registry; "
        "configure(Registry(discover=False).choose('stft,recon,kl,waveform'), {}); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@attrs.frozen(kw_only=True)
class Shelf:
    """A nested part of options."""

    folder: Path = Path("shelf")


@attrs.frozen(kw_only=True)
class Filed(TermConfig):
    """Options with paths."""

    weights: Path | None = None
    shelf: Shelf = Shelf()


def test_relative_paths_are_made_absolute(tmp_path, monkeypatch):
    """Relative paths start at the folder of the recipe, so that they mean the same in another one."""
    chosen = (Term.of(TermSpec(name="filed", config=Filed, build="a:B", summary="")),)
    monkeypatch.chdir(tmp_path)
    config = configure(chosen, {"filed": {"weights": "nets/ear.safetensors"}}).filed
    assert config == Filed(weights=tmp_path / "nets/ear.safetensors", shelf=Shelf(folder=tmp_path / "shelf"))
    monkeypatch.chdir("/")
    assert configure(chosen, {"filed": unstructure(config)}).filed == config
