"""Tests of the page of a comparison as a file; what a browser makes of it is in test_browser.py."""

import attrs
import numpy as np
import pytest

from distill.comparison.figures import component_figures, interval_figure
from distill.comparison.gathering import Shared
from distill.comparison.page import render
from distill.comparison.scales import SCALES
from distill.comparison.statistics import Interval
from distill.comparison.table import Cell, Row
from distill.reporting.history import History, Series


def test_many_recordings_are_named_in_part(comparison):
    """Of many recordings, 200 are named, and a sentence says where the others are."""
    many = tuple(Shared(name=f"<b>{number}.wav", key=f"{number}") for number in range(1234))
    page = render(attrs.evolve(comparison.facts, recordings=many))
    assert page.count("<li>&lt;b&gt;") == 200
    assert "<summary>The recordings (1,234)</summary>" in page
    assert "The first 200 are shown; <code>distill compare RUN RUN --json</code> lists all." in page
    page = render(attrs.evolve(comparison.facts, recordings=many[:200]))
    assert (page.count("<li>&lt;b&gt;"), "are shown; <code>" in page) == (200, False)


def history(kl_share):
    """Return the records of a run of two steps, in which `kl` has so much of the gradient."""

    def series(value):
        return Series(steps=np.array([1, 2]), values=np.array([value, value]))

    shares = {"mel": series(1 - kl_share), "kl": series(kl_share)}
    return History(
        train={"total": series(5.0), "mel": series(2.0), "kl": series(400.0)},
        weights={"mel": series(0.5), "kl": series(0.01)},
        gradient_shares=shares,
        parameter_shares=shares,
    )


def test_the_first_curve_is_the_total_without_what_changes_nothing(comparison):
    """The first figure leaves out the terms that change nothing, in each run those of its own."""
    runs = comparison.facts.runs

    def first(*shares):
        kept = [attrs.evolve(run, history=history(share)) for run, share in zip(runs, shares, strict=True)]
        return component_figures(kept, {run.name: "#000" for run in runs})[0]

    still = first(0.0, 0.0)
    assert (still.title, [trace["y"] for trace in still.data]) == ("total less kl", [[1.0, 1.0]] * 2)
    assert still.note == "Without kl, which changes nothing in the model: the gradient is 0."
    mixed = first(0.0, 0.5)
    assert mixed.title == "total less what changes nothing"
    assert [trace["name"] for trace in mixed.data] == ["first less kl, trained", "second, trained"]
    assert [trace["y"] for trace in mixed.data] == [[1.0, 1.0], [5.0, 5.0]]
    assert mixed.note == "first: Without kl, which changes nothing in the model: the gradient is 0."
    assert first(0.5, 0.5).title == "total"


def compared_row(key, mean, low, high):
    """Return the row of a measure of two runs: the mean of the first, and an interval of the difference."""
    difference = Interval(mean=0.5 * (low + high), low=low, high=high)
    return Row(scale=SCALES[key], count=5, cells=(Cell(mean=mean), Cell(mean=mean, difference=difference)))


@pytest.mark.parametrize("mean", [0.0, 0.004])
def test_of_a_measure_that_is_0_no_difference_is_drawn(comparison, mean):
    """A level error that is shown as 0.00 has no percentage: it has no line in the figure, and a note."""
    runs = comparison.facts.runs[:2]
    rows = [compared_row("level", mean, 0.1, 0.2), compared_row("mel", 2.0, 0.1, 0.4)]
    figure = interval_figure(rows, runs, {run.name: "#000" for run in runs})
    assert figure.layout["yaxis"]["ticktext"] == ["mel distance"]
    assert [trace["y"] for trace in figure.data] == [[pytest.approx(0)]]
    assert figure.note == "Without level error: first has 0, or too few recordings have it."
    assert interval_figure(rows[:1], runs, {run.name: "#000" for run in runs}) is None
    assert interval_figure(rows[1:], runs, {run.name: "#000" for run in runs}).note == ""


def test_the_axis_of_intervals_leaves_out_what_is_wider_than_all_else(comparison):
    """The axis shows intervals of up to 100 %. That of a measure near 0 is wider and runs off the edge."""
    runs = comparison.facts.runs[:2]

    def shown(*rows):
        return interval_figure(rows, runs, {run.name: "#000" for run in runs}).layout["xaxis"].get("range")

    narrow = compared_row("mel", 2.0, 0.1, 0.4)  # worse by 5 to 20 %: lower is better
    wide = compared_row("level", 0.01, -0.02, 0.02)  # 200 % either way
    assert shown(narrow, wide) == pytest.approx([-22, 22])
    assert shown(wide) is None
