"""Tests of the command line as a whole: its commands, its help, and what becomes of errors."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import distill as package
from distill.cli import main
from distill.errors import DistillError, TrainingError

COMMANDS = [
    "ablate", "compare", "evaluate", "generate", "losses", "play", "recipe", "reconstruct", "report", "runs",
    "shard", "train",
]  # fmt: skip


def test_help_lists_the_commands(distill):
    """The help lists each command with its summary, under both names of the option."""
    result = distill("--help")
    assert result.status == 0
    listed = result.out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert all(len(line.split()) > 3 for line in listed)
    assert [line for line in listed if line.endswith("...") and "losses" not in line] == []
    assert distill("-h").out == result.out


@pytest.mark.parametrize("words", [["--help"], ["losses", "--help"], ["losses"]], ids=" ".join)
def test_help_and_list_fit_80_columns(words):
    """The help and the list of terms fit in 80 columns, also with the plugins that are installed."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, words)
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []


def test_version(distill):
    """The version is that of the package."""
    assert distill("--version").out == f"distill, version {package.__version__}\n"


def test_help_loads_no_torch():
    """The help of every command, and the version, load neither torch nor numpy."""
    code = f"""
import sys
from distill.cli import main
for words in [["--help"], ["--version"], ["losses", "show", "--help"]] + [[c, "--help"] for c in {COMMANDS}]:
    try:
        main(words)
    except SystemExit as end:
        assert end.code == 0, words
print("LOADED", sorted({{"torch", "numpy", "accelerate", "soundfile", "rich"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.count("Usage: ") == len(COMMANDS) + 2
    assert result.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize(("kind", "status"), [(DistillError, 2), (TrainingError, 1)])
def test_a_mistake_of_the_users_is_one_message(monkeypatch, kind, status):
    """The message on stderr has culprit, problem and remedy, no traceback, and the status of the error."""

    @click.command()
    def failing():
        raise kind("is wrong", culprit="this", remedy="Mend it.")

    monkeypatch.setitem(main.commands, "recipe", failing)
    result = CliRunner().invoke(main, ["recipe"])
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == "Error: this: is wrong\nMend it.\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    """Any other exception passes through, and the status is 1."""

    @click.command()
    def failing():
        raise ZeroDivisionError

    monkeypatch.setitem(main.commands, "recipe", failing)
    result = CliRunner().invoke(main, ["recipe"])
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_command_that_is_not_there(distill):
    """Nothing runs, and the status is 2."""
    result = distill("trian")
    assert result.status == 2
    assert "No such command 'trian'" in result.err
