"""Tests of distill.errors: names from outside in lines of text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import ConfigError, DistillError, InputError, all_of, check_all, printable, shortened


def test_letters_of_any_script_are_kept():
    """Letters of any script are kept, also combined ones and the wide space of Japanese names."""
    name = "鐘/ä b\N{IDEOGRAPHIC SPACE}e\N{COMBINING ACUTE ACCENT}.wav"
    assert printable(name) == name


def test_what_controls_a_terminal_is_replaced():
    """Escapes, line ends, changes of the writing direction and bytes that are no text are replaced."""
    assert printable("a\x1b[2J\n\x9b\u2028\u202e\udcff.wav") == "a�[2J�����.wav"


@given(st.text())
def test_a_printable_name_is_one_line_that_controls_nothing(name):
    """A printable name is one line without control characters and can be encoded."""
    shown = printable(name)
    assert len(shown.encode().decode().splitlines()) <= 1
    assert not [letter for letter in shown if unicodedata.category(letter)[0] == "C" and letter not in name]
    assert not [letter for letter in shown if unicodedata.category(letter) in ("Cc", "Cs")]


def test_an_error_keeps_its_lines_and_escapes_names():
    """A name in the culprit cannot add a line."""
    error = DistillError("holds no audio:\n  b\x1b]0;title\x07", culprit="a\nb", remedy="Pass \x1b another.")
    assert str(error) == "a�b: holds no audio:\n  b�]0;title�\nPass � another."


def test_a_culprit_that_is_far_too_long_is_cut():
    """The middle of a name of thousands of letters is left out, so that the problem can be read."""
    assert str(DistillError("is missing", culprit="a" * 400)) == f"{'a' * 400}: is missing"
    shown = f"{'a' * 200}...{'b' * 200}"
    assert str(DistillError("is missing", culprit="a" * 2500 + "b" * 2500)) == f"{shown}: is missing"


def test_a_list_of_many_names_is_shortened():
    """A list of many names shows five and the number of the others; five are listed whole."""
    assert shortened("abcde") == "a, b, c, d, e"
    assert shortened("abcdefg") == "a, b, c, d, e and 2 more"


def test_errors_for_several_items_are_one_with_each_culprit():
    """The class is that of the first, each problem has its culprit, and a remedy is told once."""
    first = InputError("is too large", culprit="a\nb", remedy="Pass less.\nOr none.")
    joined = all_of([first, ConfigError("is odd", culprit="c", remedy="Pass less."), InputError("is empty")])
    assert type(joined) is InputError
    assert joined.__cause__ is first
    assert str(joined) == "a�b: is too large\nc: is odd\nis empty\nPass less.\nOr none."
    assert all_of([first]) is first


def test_a_culprit_that_errors_share_is_named_once():
    """The joined options still have a line for each problem."""
    joined = all_of([ConfigError("is x", "is y", culprit="--set"), ConfigError("is z", culprit="--set")])
    assert (joined.problems, str(joined)) == (("is x", "is y", "is z"), "--set: is x\nis y\nis z")


def test_every_item_is_checked():
    """Results come in order, and one wrong item does not hide another."""

    def half(number):
        if number % 2:
            raise InputError("is odd", culprit=str(number))
        return number // 2

    assert check_all(half, [2, 4]) == [1, 2]
    with pytest.raises(InputError) as caught:
        check_all(half, [1, 2, 3])
    assert str(caught.value) == "1: is odd\n3: is odd"
