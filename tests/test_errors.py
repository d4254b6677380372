"""Tests of distill.errors: names from outside in lines of text."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from distill.errors import DistillError, printable, shortened


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
    error = DistillError("holds no audio:\n  b\x1b]0;title\x07", culprit="a\nb", remedy="Give \x1b another.")
    assert str(error) == "a�b: holds no audio:\n  b�]0;title�\nGive � another."


def test_a_list_of_many_names_is_shortened():
    """A list of many names shows five and the number of the others; five are listed whole."""
    assert shortened("abcde") == "a, b, c, d, e"
    assert shortened("abcdefg") == "a, b, c, d, e and 2 more"
