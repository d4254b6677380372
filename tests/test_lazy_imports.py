"""Tests that what should be quick loads no torch, and that the public names are there all the same."""

import importlib
import subprocess
import sys

import pytest

import distill

QUIET = """
import sys
{code}
heavy = sorted({{"torch", "auraloss", "accelerate", "numpy"}} & set(sys.modules))
assert not heavy, heavy
"""


def run(code):
    """Run code in a fresh interpreter, which fails if it loads torch."""
    return subprocess.run(
        [sys.executable, "-c", QUIET.format(code=code)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "code",
    ["import distill", "import distill; dir(distill); distill.__all__", "import distill.testing.fixtures"],
)
def test_import_distill_loads_no_torch(code):
    """Importing Distill and listing its names do not load torch."""
    assert run(code).stderr == ""


@pytest.mark.parametrize(
    "name", ["BaseTermConfig", "DistillError", "Registry", "TermConfig", "TermSpec", "hookimpl"]
)
def test_what_a_plugin_declares_itself_with_loads_no_torch(name):
    """A plugin that names its builder by a string need not load it either."""
    assert run(f"from distill import {name}").stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["losses"], ["losses", "show", "stft"], ["losses", "check", "--help"]],
)
def test_commands_that_only_print_load_no_torch(arguments):
    """Help and listings answer at once, as far as installed plugins let them."""
    code = f"""
import distill.plugin.selection
distill.plugin.selection.entry_points = lambda **_: []
from distill.cli import main
main({arguments}, standalone_mode=False)
"""
    result = run(code)
    assert result.stderr == ""
    assert "stft" in result.stdout or "Usage: " in result.stdout


def test_a_folder_that_is_not_there_is_told_without_torch(tmp_path):
    """A misspelt corpus, run or file of answers is told at once, and no folder is made."""
    gone, new = str(tmp_path / "gone"), str(tmp_path / "new")
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    for each in (one, other):
        (tmp_path / each).mkdir()
        (tmp_path / each / "recipe.toml").touch()
    code = f"""
import click
import distill.plugin.selection
distill.plugin.selection.entry_points = lambda **_: []
from distill.cli import main
for words in (
    ["train", {gone!r}, "--out", {new!r}],
    ["losses", "profile", {gone!r}],
    ["compare", {one!r}, {other!r}, "--out", {new!r}, "--on", {gone!r}],
    ["generate", {gone!r}, "--out", {new!r}],
    ["report", {gone!r}],
    ["play", {gone!r}],
    ["compare", {one!r}, {gone!r}, "--out", {new!r}],
    ["compare", {one!r}, {other!r}, "--out", {new!r}, "--answers", {gone!r}],
):
    try:
        main(words, standalone_mode=False)
    except click.ClickException as error:
        print(error)
"""
    result = run(code)
    assert result.stderr == ""
    corpus = f"{gone}: there is no such file or folder\nPass a folder of recordings, or a single recording.\n"
    folder = f"{gone}: there is no such run folder\nPass the folder that `distill train --out` wrote.\n"
    file = f"{gone}: there is no such file\nPass files as the page of a comparison saves them.\n"
    assert result.stdout == 3 * corpus + 4 * folder + file
    assert not (tmp_path / "new").exists()


def test_the_memory_of_a_model_is_known_without_the_compiler_of_torch():
    """Every command that loads a model computes its size first, where tensors have no values."""
    code = """
import sys
from distill.model.memory import Sizes
from distill.config.settings import ModelSettings, RepresentationSettings
for code in ("rich", "compact"):
    Sizes(ModelSettings(code=code), RepresentationSettings())
print("torch._dynamo" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@pytest.mark.parametrize("name", distill.__all__)
def test_every_public_name_is_there(name):
    """Each is the object that its module defines, and is listed."""
    public = getattr(distill, name)
    module = importlib.import_module(f"distill.{distill._HOME[name]}")  # noqa: SLF001  # the table itself
    assert public is getattr(module, name)
    assert name in dir(distill)


def test_the_contract_of_a_plugin_is_public():
    """The package exports the names that the design gives to plugins and to custom training loops."""
    needed = {"LossInputs", "TermConfig", "TermSpec", "hookimpl", "compose", "Signal", "Posterior"}
    assert needed <= set(distill.__all__)
    assert {"__version__", "compose"} <= set(dir(distill))


def test_an_unknown_name_is_an_attribute_error():
    """An unknown name raises an AttributeError, as with any module."""
    with pytest.raises(AttributeError) as caught:
        _ = distill.compsoe
    assert str(caught.value) == "module 'distill' has no attribute 'compsoe'"
