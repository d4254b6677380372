"""Tests of options as they were given."""

from pathlib import Path

import numpy as np
import pytest

from distill.config import Assigning, Given, given_arguments, set_twice
from distill.errors import ConfigError


def test_an_argument_and_an_address_are_both_named():
    """The message has both values and both places, or the values alone where the places are the same."""
    (steps,) = given_arguments({"training.steps": 3, "training.minutes": None})
    tried = Given("training.steps", 4, written="4, 5")
    assert set_twice("training.steps", steps, tried) == (
        "training.steps: is set twice, to 3 as the argument steps and to 4, 5 as "
        "'training.steps'; set it once"
    )
    assert (
        set_twice("a.b", Given("a.b", 1), Given("a.b", "x"))
        == "a.b: is set twice, to 1 and to 'x'; set it once"
    )


@pytest.mark.parametrize(
    ("one", "other", "option", "same"),
    [
        (str(Path.cwd() / "sounds"), "sounds", "corpus.path", True),
        (str(Path.cwd() / "sounds"), "sounds", "training.start", False),
        ("https://host/a", "https://host/a", "corpus.path", True),
        (3, 3.0, "training.steps", True),
        ("a\0b", "a\0c", "corpus.path", False),
        (np.arange(3), np.arange(3), "training.steps", False),
    ],
)
def test_values_that_are_the_same(one, other, option, same):
    """A corpus is the same by a relative path, if it is one; arrays are not compared as a whole."""
    assert Given(option, one).is_same(Given("corpus", other), option) == same


def _endless_table():
    table = {}
    table |= {"one": table, "other": [table]}
    return table


def _endless_list():
    endless = []
    endless += [endless, endless]
    return endless


@pytest.mark.parametrize(
    ("address", "value"),
    [("loss", _endless_table()), ("loss.stft.fft_sizes", _endless_list()), (".".join("a" * 2000), 1)],
)
def test_what_is_nested_without_end_is_refused(address, value):
    """A value that contains itself or an address of too many names has a message, and no table changes."""
    tables = {}
    with pytest.raises(ConfigError) as caught:
        Assigning(tables, str).assign(Given(address, value))
    assert caught.value.problems == (f"{address}: has more than 32 nested levels, or contains itself",)
    assert tables == {}
