"""Tests of figures: Plotly itself takes them as they are."""

import json

import attrs
import numpy as np
import plotly.graph_objects
import pytest

from distill.reporting import figures
from distill.reporting.gradient_figures import gradient_figures
from distill.reporting.history import History
from distill.reporting.shares import shares_of
from distill.reporting.spectrogram_figure import spectrogram_figure

NAME = '<b onmouseover="x">&'


@pytest.fixture
def history(bare, records):
    """Return a history with a term of a hostile name, and a learning rate."""
    lines = records([(step, 100.0 / step, 100.0 / step) for step in range(10, 100, 10)])
    for line in lines:
        line["components"] |= {NAME: 1.0, f"{NAME}/part": None, "gradient_norm": 2.0}
        line["weights"] |= {NAME: 1.0} if line["weights"] else {}
        line["learning_rate"] = 1e-3
        line["gradients"] = {
            "shares": {"mel": 0.75, NAME: 0.25},
            "parameter_shares": {"mel": 0.5, NAME: 0.5},
            "cosines": {"mel": {"kl": 0.5, NAME: -0.25}, "kl": {NAME: -0.001}},
        }
    return History.read(bare(lines))


def every(history):
    """Return one figure of each kind."""
    colours = figures.colours_of([*history.weights])
    levels = np.zeros((4, 7), np.int8)
    return [
        *figures.component_figures(history, colours),
        figures.share_figure(shares_of(history), colours),
        figures.weighted_figure(history, colours),
        *figures.setting_figures(history, colours),
        *gradient_figures(history, colours),
        spectrogram_figure(
            "s", NAME, {NAME: levels, "b": levels, "c": levels}, np.array([30.0, 200, 900, 3000]), 1.0
        ),
        figures.unit_figure(np.array([0.0, 1.0]), np.array([0.1, np.inf]), 0.01, 1),
        figures.unit_figure(np.array([0.0, 1.0]), None, 0.01, 0),
        figures.map_figure([NAME, "b"], np.zeros((2, 2)), [True, False], (0.5, 0.25)),
    ]


def test_plotly_takes_every_figure(history):
    """Its own validation knows each trace and each option, and the figures are JSON."""
    for figure in every(history):
        told = json.loads(json.dumps(figure.plotly(), allow_nan=False))
        plotly.graph_objects.Figure(told)
        assert figure.description
        assert len({len(row) for row in figure.rows}) <= 1, figure.key


def test_a_single_record_can_be_seen(bare, records):
    """A line or an area through one point has no extent: curves have a marker then, and shares are bars."""
    train, held = records([(10, 1.0, 1.0)])
    train |= {"learning_rate": 1e-3, "gradients": {"shares": {"mel": 0.75, "kl": 0.25}}}
    history = History.read(bare([train, held]))
    colours = figures.colours_of([*history.weights])
    drawn = [
        figures.share_figure(shares_of(history), colours),
        figures.weighted_figure(history, colours),
        *figures.setting_figures(history, colours),
        *gradient_figures(history, colours),
    ]
    assert len(drawn) == 5
    for figure in drawn:
        plotly.graph_objects.Figure(figure.plotly())
        for trace in figure.data:
            assert trace["type"] == "bar" or trace["mode"] == "lines+markers", figure.key


def test_names_are_text_to_plotly(history):
    """Tags of HTML in names and labels, some of which Plotly reads, are shown as text."""
    for figure in every(history):
        for trace in figure.data:
            assert "<b" not in trace.get("name", "")
            texts = np.array([trace.get("text", ()), trace.get("x", ())], object)
            assert "<b" not in str(texts.tolist())
            assert "<b" not in trace.get("hovertemplate", "").replace("<br>", "")


def test_the_total_comes_first_and_every_curve_is_of_its_term(history):
    """The total is the first curve, and each curve belongs to a term, which can be hidden with it."""
    found = figures.component_figures(history, figures.colours_of([*history.weights]))
    assert [(figure.title, figure.term) for figure in found] == [
        ("total", ""), ("mel", "mel"), ("kl", "kl"), (NAME, NAME), ("gradient_norm", ""),
    ]  # fmt: skip
    assert [trace["name"] for trace in found[0].data] == ["trained", "held out"]


def test_a_total_without_what_changes_nothing_comes_before_all(bare, records):
    """Where a term changes nothing, the first curve is the total without it, and a note says why."""
    lines = records([(step, 5.0, 6.0) for step in (10, 20)])
    for line in lines:
        line["components"] |= {"mel": 2.0, "kl": 400.0}
        line["weights"] = {"mel": 0.5, "kl": 0.01}
        shares = {"mel": 1.0, "kl": 0.0}
        line["gradients"] = {"shares": shares, "parameter_shares": shares}
    history = History.read(bare(lines))
    first, second = figures.component_figures(history, {})[:2]
    assert (first.title, second.title) == ("total less kl", "total")
    assert [trace["y"] for trace in first.data] == [[1.0, 1.0], [1.0, 1.0]]
    assert first.note == "Without kl, which changes nothing in the model: the gradient is 0."
    assert figures.note_on(["a", "b"]).startswith("Without a and b, which change nothing")


@pytest.mark.parametrize(("top", "scale"), [(19.0, "linear"), (21.0, "log")])
def test_a_wide_range_has_a_logarithmic_scale(bare, records, top, scale):
    """Values of a wide range get a logarithmic scale."""
    history = History.read(bare(records([(1, top, None), (2, 1.0, None)])))
    assert figures.component_figures(history, {})[0].layout["yaxis"]["type"] == scale


def test_a_long_curve_has_few_points(bare, records):
    """A long curve is drawn with at most a thousand points."""
    history = History.read(bare(records([(step, 1.0 + step % 7, None) for step in range(5000)])))
    (trace,) = figures.component_figures(history, {})[0].data
    assert len(trace["x"]) == len(trace["y"]) == 1000


def test_cosines_are_numbers_in_cells(history):
    """Cells hold the cosine of each pair both ways, and a table repeats them; 0 has no sign."""
    figure = gradient_figures(history, {})[-1]
    (trace,) = figure.data
    assert trace["z"] == [[1.0, 0.5, -0.25], [0.5, 1.0, 0.0], [-0.25, 0.0, 1.0]]
    assert trace["text"][0] == ["1.00", "0.50", "-0.25"]
    assert figure.rows[1:] == (
        ("mel", "1.00", "0.50", "-0.25"), ("kl", "0.50", "1.00", "0.00"), (NAME, "-0.25", "0.00", "1.00"),
    )  # fmt: skip
    assert figure.description.startswith(
        f"Means over the last quarter, 2 measurements: {NAME} and mel -0.25, {NAME} and kl 0.00, "
        "kl and mel 0.50."
    )


def test_terms_that_were_never_compared_have_an_empty_cell(history):
    """Terms that were never compared have an empty cell, and the text does not mention them."""
    cosines = {pair: each for pair, each in history.cosines.items() if NAME not in pair or "mel" in pair}
    figure = gradient_figures(attrs.evolve(history, cosines=cosines), {})[-1]
    assert figure.data[0]["text"][1][2] == ""
    assert figure.rows[2] == ("kl", "0.50", "1.00", "-")
    assert f"{NAME} and kl" not in figure.description


def test_without_gradients_there_are_no_figures_of_them(bare, records):
    """A run without recorded gradients has no figures of gradients."""
    assert gradient_figures(History.read(bare(records([(1, 2.0, None)]))), {}) == []
