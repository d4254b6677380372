"""What `--set` sets in an ablation."""

import numpy as np
import pytest

from distill.ablation.choices import Range, choices_of, parse_choices
from distill.errors import DistillError


def test_one_value_several_values_and_a_range():
    """Values are read as TOML; a list in brackets, and text in quotation marks, is one value."""
    found = parse_choices(
        [
            "training.keep=1",
            "loss.stft.weight=0.5, 1,2e-1",
            "model.encoder_blocks=[1, 2],[2, 2]",
            "loss.kl.weight=1e-3..10",
            "training.gain_db=0..6",
            'corpus.path="a,b..c"',
            "training.start=base,none",
        ]
    )
    assert found.fixed == (("training.keep", 1), ("corpus.path", "a,b..c"))
    assert found.grid == (
        ("loss.stft.weight", (0.5, 1, 0.2)),
        ("model.encoder_blocks", ([1, 2], [2, 2])),
        ("training.start", ("base", "none")),
    )
    assert found.ranges == (("loss.kl.weight", Range(0.001, 10.0)), ("training.gain_db", Range(0.0, 6.0)))
    assert [each.logarithmic for _, each in found.ranges] == [True, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.b=1,1"], "--set: a.b: 1 is given twice"),
        (["a.b=1,,2"], "--set: a.b: a value is empty"),
        (["a.b=1,2", "a.b=3"], "--set: a.b: is set twice, to 3 and to 1, 2; set it once"),
        (["a.b=1,2", "a.b=3,4"], "--set: a.b: is set twice, to 1, 2 and to 3,4; set it once"),
        (["a.b=1..2", "a.b=3..4"], "--set: a.b: is set twice, to 1..2 and to 3..4; set it once"),
        (
            ["a.b=1..2", "a.b=3,4", "c=1,1"],
            (
                "--set: a.b: is set twice, to 1..2 and to 3,4; set it once\n"
                "a.b: is set twice, to 3, 4 and to 1..2; set it once\nc: 1 is given twice"
            ),
        ),
        (["a.b=3..3"], "--set: a.b: a range goes from a lower number to a higher one, got 3..3"),
        (["a.b"], '--set: expected PATH=VALUE, got "a.b"\nFor example: --set loss.stft.weight=2.0'),
    ],
)
def test_what_makes_no_sense_is_one_message(words, message):
    """The message has the address and the remedy."""
    with pytest.raises(DistillError) as caught:
        parse_choices(words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("grid", "ranges", "message"),
    [
        ({"a.b": 1}, {}, "a.b: expected several values, got 1"),
        ({"a.b": b"xy"}, {}, "a.b: expected several values, got b'xy'"),
        ({"a.b": [np.arange(2), ""]}, {}, "a.b: a value is empty"),
        ({3: [1, 2]}, {}, "grid: expected a dict by the address of an option, got {3: [1, 2]}"),
        ({}, {3: (1, 2)}, "ranges: expected a dict by the address of an option, got {3: (1, 2)}"),
        ({}, {"a.b": (1, None)}, "a.b: expected finite bounds of a range, (low, high), got (1, None)"),
        (
            {},
            {"a.b": (1, 10**5000)},
            "a.b: expected finite bounds of a range, (low, high), got a tuple",
        ),
        ([1], {}, "grid: expected a dict by the address of an option, got [1]"),
    ],
)
def test_values_in_python_are_checked(grid, ranges, message):
    """Values given in Python, without a parser, are checked as well."""
    with pytest.raises(DistillError) as caught:
        choices_of((), grid, ranges)
    assert str(caught.value) == message
