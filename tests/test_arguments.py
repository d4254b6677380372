"""Tests of distill.arguments: what public functions are called with."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.arguments import (
    absolute,
    checkpoint_like,
    corpus_location,
    finite_number,
    no_file,
    no_folder,
    optional_callable,
    options_by_address,
    path_like,
    whole_number,
)
from distill.config import load_toml
from distill.errors import InputError
from distill.reporting.listing import list_runs
from distill.storage.files import require_writable
from distill.storage.run import Run


@pytest.mark.parametrize("value", [3, np.int64(3), torch.tensor(3)])
def test_whole_numbers(value):
    """Whole numbers, also those of NumPy and torch, are returned as an `int`."""
    number = whole_number(value, culprit="count", least=3, below=4)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (2, "2"),
        (np.int64(5), "5"),
        (3.0, "3.0"),
        (True, "True"),
        (None, "None"),
        ("3" * 99, "a str"),
        pytest.param(10**5000, "a number of about 5000 digits", id="huge"),
        pytest.param(-(10**5000), "a number of about 5000 digits", id="-huge"),
        ([10**5000], "a list"),
    ],
)
def test_what_is_no_whole_number(value, got):
    """A value that is no whole number within bounds is refused; the message does not show a long value."""
    with pytest.raises(InputError) as caught:
        whole_number(value, culprit="count", least=3, below=5)
    assert str(caught.value) == f"count: expected a whole number within 3..4, got {got}"


@pytest.mark.parametrize(("bounds", "expected"), [({}, ""), ({"least": 3}, " from 3 on")])
def test_bounds_of_a_whole_number_are_said(bounds, expected):
    """The message says what is expected, also where there is no upper bound, or none at all."""
    with pytest.raises(InputError) as caught:
        whole_number(2.5, culprit="count", **bounds)
    assert str(caught.value) == f"count: expected a whole number{expected}, got 2.5"


def test_finite_numbers():
    """Finite numbers, also whole ones and those of NumPy, are accepted."""
    assert [finite_number(value, culprit="x") for value in (2, 0.5, np.float32(0.5))] == [2.0, 0.5, 0.5]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "1", None, True])
def test_what_is_no_finite_number(value):
    """A value that is no finite number is refused with the whole message."""
    with pytest.raises(InputError) as caught:
        finite_number(value, culprit="x")
    assert str(caught.value) == f"x: expected a finite number, got {value!r}"
    with pytest.raises(InputError) as caught:
        finite_number(value, culprit="x", within=(-0.5, 2), remedy="Less.")
    assert str(caught.value) == f"x: expected a number within -0.5..2, got {value!r}\nLess."


def test_a_whole_number_that_no_float_holds():
    """A whole number of hundreds of digits is not finite as a float."""
    with pytest.raises(InputError) as caught:
        finite_number(10**400, culprit="x")
    assert str(caught.value) == "x: expected a finite number, got a number of about 400 digits"


def test_the_step_of_a_checkpoint_of_thousands_of_digits():
    """No checkpoint has that step, and the message does not print it."""
    with pytest.raises(InputError) as caught:
        checkpoint_like(10**5000, culprit="checkpoint")
    assert str(caught.value) == (
        "checkpoint: expected 'best', 'last' or the step of a checkpoint, got a number of about 5000 digits"
    )


def test_paths():
    """Paths are accepted as text or as path objects, also below the home folder."""
    assert path_like("~/a", culprit="out", expected="a folder") == Path.home() / "a"
    assert path_like(Path("a"), culprit="out", expected="a folder") == Path("a")
    with pytest.raises(InputError) as caught:
        path_like(b"a", culprit="out", expected="a folder")
    assert str(caught.value) == "out: expected a folder, got b'a'"


def test_a_path_that_is_not_text():
    """A path that is not valid text is refused where a file will name it; one with a zero byte always is."""
    odd = os.fsdecode(b"odd\xff")
    for value, recorded in ((odd, True), ("a\0", True), ("a\0", False)):
        with pytest.raises(InputError) as caught:
            path_like(value, culprit="out", expected="a folder", recorded=recorded)
        assert str(caught.value) == (
            "\N{REPLACEMENT CHARACTER}: ".join((value[:-1], "its path is not valid text (UTF-8)\n"))
            + "Rename it, or choose another path: the files of a run can name only what is valid text."
        )
    assert path_like(odd, culprit="run", expected="a run", recorded=False) == Path(odd)


def test_a_url_given_as_a_path(tmp_path, monkeypatch):
    """A URL that `Path` has made a path of is refused, unless there is something at that path."""
    with pytest.raises(InputError) as caught:
        corpus_location(Path("https://host/corpus"))
    assert str(caught.value) == (
        "corpus: expected a path or a URL, got a URL as a path: https:/host/corpus\n"
        "Pass a URL as a str, not as a Path."
    )
    assert corpus_location("https://host/corpus") == "https://host/corpus"
    (tmp_path / "kick:").mkdir()
    (tmp_path / "kick:/808").touch()
    monkeypatch.chdir(tmp_path)
    assert corpus_location(Path("kick:/808")) == str(tmp_path / "kick:/808")


@pytest.mark.parametrize(
    "look_up",
    [
        lambda path: path_like(path, culprit="run", expected="a path"),
        lambda path: Run(path).require(),
        lambda path: Run(path).require_new(),
        lambda path: require_writable([path], overwrite=True),
        load_toml,
        list_runs,
    ],
)
def test_a_path_that_cannot_be_looked_up(look_up):
    """A path of the user that is too long is one message, whatever it is given for."""
    path = Path("x" * 300)
    with pytest.raises(InputError) as caught:
        look_up(path)
    assert str(caught.value) in {
        f"{place}: cannot be looked up: File name too long\nPass a shorter path."
        for place in (path, path / "recipe.toml")
    }


def test_a_path_into_a_folder_that_may_not_be_searched(monkeypatch):
    """Where the system does not tell whether there is something, the user learns why."""

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError) as caught:
        path_like("locked/run", culprit="run", expected="a path")
    assert str(caught.value) == (
        "locked/run: cannot be looked up: Permission denied\n"
        "Make sure that you may search the folders on the way to it, or choose another path."
    )


@pytest.mark.parametrize("check", [corpus_location, partial(path_like, expected="a path or a URL")])
def test_an_empty_path(check):
    """Empty text, such as an unset variable, is not the current folder."""
    with pytest.raises(InputError) as caught:
        check("", culprit="corpus")
    assert str(caught.value) == (
        "corpus: expected a path or a URL, got empty text\nPass . for the current folder."
    )


def test_an_absolute_path_of_links_in_a_circle(tmp_path):
    """Links that lead nowhere are left in the path."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert absolute(tmp_path / "circle") == str(tmp_path / "circle")


def test_options_by_their_address():
    """Options are accepted as a mapping or as pairs, in which an address may come twice."""
    assert options_by_address({"a.b": 1}, culprit="options") == [("a.b", 1)]
    assert options_by_address([("a", 1), ["a", 2]], culprit="options") == [("a", 1), ("a", 2)]
    with pytest.raises(InputError) as caught:
        options_by_address("a=1", culprit="options")
    assert str(caught.value) == (
        "options: expected values by their address, got 'a=1'\nPass a dict, such as {\"stft.weight\": 2.0}."
    )


def test_functions():
    """A function is accepted, or None where nothing is to be called."""
    assert optional_callable(None, culprit="on_progress") is None
    assert optional_callable(print, culprit="on_progress") is print
    with pytest.raises(InputError) as caught:
        optional_callable(3, culprit="on_progress")
    assert str(caught.value) == "on_progress: expected a function, got 3\nPass a function, or leave it out."


def test_a_value_that_python_cannot_print_is_told_by_its_type():
    """A list of many levels has a message, too."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError) as caught:
        optional_callable(deep, culprit="on_progress")
    assert (
        str(caught.value) == "on_progress: expected a function, got a list\nPass a function, or leave it out."
    )


def test_what_is_there_instead(tmp_path):
    """Of what is at a path, only what is not there is said not to be there."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert [no_file(tmp_path / name) for name in ("none", "pipe", ".", "file/none", "x" * 300)] == [
        "there is no such file",
        "is not an ordinary file",
        "is a folder",
        "there is no such file",
        "there is no such file",
    ]
    assert [no_folder(tmp_path / name, "run folder") for name in ("none", "pipe", "file")] == [
        "there is no such run folder",
        "is not a folder",
        "is not a folder",
    ]
