"""Every number that a command takes has bounds, whatever the command."""

from pathlib import Path

import click
import pytest

from distill.cli import main
from distill.cli.options import Number

ABSURD = ["nan", "inf", "-inf", "1e308", "-1e308", str(2**64), f"-{2**64}", "9" * 5000]


def options(command, *names):
    """Yield each option and argument of a command and its subcommands, with the names of its command."""
    if isinstance(command, click.Group):
        for name, member in command.commands.items():
            yield from options(member, *names, name)
    for option in command.params:
        yield pytest.param(option, id=" ".join((*names, option.opts[0])))


def numbers(command):
    """Yield the options that are numbers."""
    kinds = click.types.IntParamType | click.types.FloatParamType
    return (each for each in options(command) if isinstance(each.values[0].type, kinds))


def paths(command):
    """Yield the options and arguments that are paths."""
    return (each for each in options(command) if isinstance(each.values[0].type, click.Path))


def test_the_numbers_are_found():
    """The commands have at least twelve options that take a number."""
    assert len(list(numbers(main))) >= 12


OF_A_RECIPE = ("ablate --minutes", "ablate --steps", "train --minutes", "train --seed", "train --steps")


@pytest.mark.parametrize("option", [each for each in numbers(main) if each.id not in OF_A_RECIPE])
@pytest.mark.parametrize("value", ABSURD)
def test_an_absurd_number_is_refused(option, value):
    """The message about NaN, infinity or a far too large number names the option and its range."""
    with click.Context(main) as context, pytest.raises(click.BadParameter) as caught:
        option.type.convert(value, option, context)
    assert caught.value.format_message().startswith(f"Invalid value for '{option.opts[0]}")


@pytest.mark.parametrize("given", OF_A_RECIPE)
@pytest.mark.parametrize("value", ABSURD)
def test_an_absurd_number_of_a_recipe_is_refused(given, value, distill, tmp_path):
    """A number that a command passes on to the recipe is refused there, before anything is written."""
    command, option = given.split()
    words = ("train",) if command == "train" else ("ablate", tmp_path, "--loss", "recon,kl", "--each")
    result = distill(*words, f"{option}={value}", "--out", tmp_path / "run")
    assert result.status == 2
    assert (f"training.{option[2:]}: " in result.err) or (f"Invalid value for '{option}'" in result.err)
    assert not (tmp_path / "run").exists()


def test_nan_is_in_no_range():
    """A number without bounds refuses NaN, too."""
    with pytest.raises(click.BadParameter, match="nan is not a finite number"):
        Number().convert("nan", None, None)
    assert Number(0, 1).convert("0.5", None, None) == 0.5


@pytest.mark.parametrize("option", list(paths(main)))
def test_an_empty_path_is_refused(option):
    """Empty text, such as an unset variable of a shell, is no path, and not the current folder."""
    with click.Context(main) as context, pytest.raises(click.BadParameter) as caught:
        option.type.convert("", option, context)
    assert caught.value.message == "The path is empty. Pass . for the current folder."
    assert option.type.convert(".", option, None) == Path()


@pytest.mark.parametrize("option", list(paths(main)))
def test_a_url_is_no_path(option):
    """A URL is refused, and does not become the path of a folder named `https:`."""
    with click.Context(main) as context, pytest.raises(click.BadParameter) as caught:
        option.type.convert("https://host/a\x1b", option, context)
    assert caught.value.message == (
        "https://host/a\N{REPLACEMENT CHARACTER} is a URL. "
        "Pass a file or folder of this machine, such as a downloaded copy."
    )
