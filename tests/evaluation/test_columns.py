"""Tests of distill.evaluation.columns: which columns are shown, and what is said of them."""

import attrs
import pytest

from distill.errors import InputError
from distill.evaluation import Evaluation, Metrics
from distill.evaluation.columns import COLUMNS, best_values, computed_columns, parse_columns


def test_every_measure_has_a_column():
    """Measures have columns, and the texture of the original stands beside that of the reconstruction."""
    assert COLUMNS.keys() == attrs.fields_dict(Metrics).keys() - {"terms", "original_texture"} | {"frechet"}
    assert "frechet" in attrs.fields_dict(Evaluation)
    assert all(len(column.head) < column.width for column in COLUMNS.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mel", ("mel",)),
        (" si_sdr ,mel,si_sdr", ("si_sdr", "mel")),
        (["mel"], ("mel",)),
        ("all", tuple(COLUMNS)),
    ],
)
def test_columns_are_named(given, expected):
    """Columns keep the order in which they are named, and each appears once."""
    assert parse_columns(given) == expected


@pytest.mark.parametrize(("given", "shown"), [("", "''"), ("mel,", "''"), ("Mel", "'Mel'"), ([3], "3")])
def test_a_column_that_there_is_not(given, shown):
    """The message names the unknown measure, those that exist, and the form expected."""
    with pytest.raises(InputError) as caught:
        parse_columns(given)
    assert str(caught.value) == (
        f"columns: there is no measure {shown}; expected all, or some of {', '.join(COLUMNS)}\n"
        "Pass them comma-separated, such as mel,si_sdr."
    )


def test_no_columns():
    """The message says that no columns are given, and shows an example."""
    with pytest.raises(InputError) as caught:
        parse_columns([])
    assert str(caught.value) == "columns: is empty\nPass some, such as mel,si_sdr, or all."


def test_what_was_not_computed_is_not_shown():
    """Ratings that were not computed are left out; the other measures are always shown."""
    assert computed_columns(["visqol", "stoi", "mel", "zimtohrli"], ["zimtohrli"]) == ("mel", "zimtohrli")


def test_best_values_are_told():
    """The line tells the best values of the columns that are shown."""
    assert best_values(["stoi", "mel"]) == "Best: STOI 1, everything else 0."
    assert best_values(["stoi", "peak"]) == "Best: STOI 1, peak below 1."
    assert best_values(["mel", "frechet"]) == "Best: 0."
