"""The words that errors, suggestions and descriptions share."""

from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import validators

from distill.config import suggest
from distill.config.bounds import bounds_in_words
from distill.config.words import (
    counted,
    duration_in_words,
    percentage,
    show,
    show_briefly,
    type_in_words,
    whole_percentage,
)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("sfft", "; did you mean 'stft'?"),
        ("STFT", "; did you mean 'stft'?"),
        ("recom", "; did you mean 'Recon'?"),
        ("zzz", ""),
    ],
)
def test_the_nearest_name_is_suggested(name, suggestion):
    """A near name is suggested as it is spelt, whatever the case; a far one is not."""
    assert suggest(name, ["stft", "Recon", "kl"]) == suggestion


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (int, "whole number"),
        (Path, "path"),
        (Any, "value"),
        (bool | None, "true or false"),
        (Literal["a", 2], 'one of "a", 2'),
        (int | str | None, "whole number or a string"),
        (tuple[tuple[float, float], ...], "list of pairs of numbers"),
        (tuple[tuple[int, ...], ...], "list of lists of whole numbers"),
        (tuple[bool, ...], "list of true or false values"),
        (tuple[int, int, int], "list of 3 whole numbers"),
        (dict[str, dict[str, float]], "table of tables of numbers"),
    ],
)
def test_types_are_put_into_words(type_, words):
    """A type reads as what a person may write, without None, which TOML does not know."""
    assert type_in_words(type_) == words


@pytest.mark.parametrize(
    ("validator", "words"),
    [
        (None, ""),
        (print, ""),
        (validators.and_(validators.ge(0), validators.lt(float("inf"))), ">= 0, finite"),
        (validators.and_(validators.gt(0.5), validators.instance_of(float), validators.le(1)), "> 0.5, <= 1"),
        (validators.lt(3), "< 3"),
        (validators.optional(validators.in_(("a", "b"))), 'one of "a", "b"'),
        (validators.deep_iterable(validators.ge(1)), "each >= 1"),
        (validators.deep_iterable(validators.ge(1), validators.max_len(3)), "of length <= 3, each >= 1"),
        (validators.deep_iterable(print, validators.min_len(1)), "of length >= 1"),
    ],
)
def test_bounds_are_put_into_words(validator, words):
    """What the validators of attrs ask for is said; others have nothing to say."""
    assert bounds_in_words(validator) == words


def test_values_are_shown_as_toml():
    """A value reads as it would be written in the file; a table only by its kind where space is short."""
    value = {"a b": [True, 1e-05, 'say "x"', {}]}
    assert show(value) == '{"a b" = [true, 1e-05, "say \\"x\\"", {}]}'
    assert show_briefly(value) == "a table"
    assert show_briefly([10**5000]) == "[a number of about 5000 digits]"
    assert show_briefly("é" * 58) == '"' + "é" * 58 + '"'
    assert show_briefly("é" * 59) == '"' + "é" * 58 + "…"


@pytest.mark.parametrize(
    ("seconds", "digits", "words"),
    [
        *((119.4, 0, "119 s"), (121.0, 0, "2 min"), (121.0, 1, "2.0 min"), (7199.0, 1, "120.0 min")),
        *((9000.0, 0, "2.5 h"), (0.96, 1, "1 s"), (0.43, 1, "0.4 s"), (0.02, 0, "0.02 s"), (0.0, 0, "0 s")),
    ],
)
def test_durations(seconds, digits, words):
    """A duration is given in the unit that fits its length."""
    assert duration_in_words(seconds, digits=digits) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (0.125, "12.5%"), (1 / 3, "33.3%"), (0.0004, "0.04%"), (0.9996, "99.9%")],
)
def test_shares(share, words):
    """A share has no more digits than it needs, and three at most; only a whole is 100%."""
    assert percentage(share) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (0.126, "13%"), (0.0004, "1%"), (0.9996, "99%"), (1e-300, "1%")],
)
def test_whole_percents(share, words):
    """Only nothing is 0%, and only a whole is 100%."""
    assert whole_percentage(share) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (2000, "2,000 runs")]
)
def test_a_noun_is_plural_unless_there_is_one(number, words):
    """A number is grouped by thousands, and its noun takes an s unless there is one."""
    assert counted(number, "run") == words
