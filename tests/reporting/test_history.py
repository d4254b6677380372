"""Tests of histories: the records of a run as series."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from distill.reporting.history import History, Series


def test_records_become_series_by_split_and_component(bare, records):
    """Each component and weight becomes a series; the last record gives step, time and progress."""
    history = History.read(bare(records([(10, 3.0, 4.0), (20, 2.0, None)])))
    assert (history.records, history.step, history.seconds, history.progress) == (3, 20, 2.0, 0.5)
    assert history.train["total"].steps.tolist() == [10, 20]
    assert history.train["total"].values.tolist() == [3.0, 2.0]
    assert history.heldout["total"].values.tolist() == [4.0]
    assert history.weights["mel"].values.tolist() == [1.0, 1.0]
    assert history.learning_rate is None


def test_what_is_measured_now_and_then_becomes_series(bare, records):
    """Learning rates, gradient shares and cosines of two terms become series; nonsense is left out."""
    lines = records([(10, 3.0, None), (20, 2.0, None), (30, 2.0, None)])
    lines[0] |= {"learning_rate": 0.5, "gradients": None}
    lines[1] |= {
        "learning_rate": 0.25,
        "gradients": {
            "shares": {"mel": 0.75, "kl": None},
            "parameter_shares": {"mel": 1},
            "cosines": {"mel": {"kl": -0.5}, "kl": 3},
        },
    }
    lines[2] |= {"learning_rate": "x", "gradients": {"shares": 3, "cosines": []}}
    history = History.read(bare(lines))
    assert history.learning_rate.values.tolist() == [0.5, 0.25]
    assert {name: each.values.tolist() for name, each in history.gradient_shares.items()} == {"mel": [0.75]}
    assert history.parameter_shares["mel"].steps.tolist() == [20]
    assert {pair: each.values.tolist() for pair, each in history.cosines.items()} == {("mel", "kl"): [-0.5]}


def test_a_run_without_records_has_an_empty_history(bare):
    """A run that has no records yet has an empty history."""
    assert History.read(bare()) == History()


def test_a_last_line_that_is_cut_short_does_not_count(bare, records):
    """A kill may leave half a line; other lines that are not records are listed."""
    run = bare(records([(10, 3.0, None), (20, 2.0, None)]))
    text = run.metrics.read_text()
    run.metrics.write_text("nonsense\n" + text[:-30])
    history = History.read(run)
    assert (history.records, history.damaged) == (1, (1,))


@pytest.mark.parametrize(
    "components", [None, 3, [1.0], {"total": "x"}, {"total": True}, {"total": None}, {"total": 10**400}, {}]
)
def test_values_of_another_version_are_left_out(bare, components):
    """What is not a number has no curve, and null alone makes none."""
    run = bare()
    run.metrics.write_text(json.dumps({"step": 1, "split": "train", "components": components}) + "\n")
    assert History.read(run).train == {}


def test_null_is_not_a_number(bare, records):
    """A component that was not finite is a gap in its curve."""
    gap = {"step": 3, "split": "train", "components": {"total": None}}
    history = History.read(bare([*records([(1, 1.0, None)]), gap]))
    assert np.isnan(history.train["total"].values[-1])
    assert history.train["total"].finite.tolist() == [1.0]


def test_the_learning_rate_is_there_where_it_is_recorded(bare, records):
    """A run has a series of the learning rate only where the rate is recorded."""
    lines = records([(1, 1.0, None)])
    lines[0]["learning_rate"] = 3e-4
    assert History.read(bare(lines)).learning_rate.values.tolist() == [3e-4]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is slow
@given(
    values=numpy_arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    most=st.integers(2, 50),
)
def test_a_thinned_series_keeps_its_extremes(values, most):
    """It has few values, all of them of the series, in order, and its outliers among them."""
    series = Series(steps=np.arange(len(values)), values=values)
    thin = series.thinned(most)
    assert len(thin) <= max(most, 2)
    assert (np.diff(thin.steps) > 0).all()
    assert np.array_equal(thin.values, values[thin.steps], equal_nan=True)
    if len(series.finite):
        assert thin.finite.min() == series.finite.min()
        assert thin.finite.max() == series.finite.max()


def test_records_are_in_the_order_of_steps(bare, records):
    """A file whose lines were put in another order has the same history."""
    history = History.read(bare(records([(9, 3.0, None), (3, 1.0, None), (6, 2.0, None)])))
    series = history.train["total"]
    assert (series.steps.tolist(), series.values.tolist()) == ([3, 6, 9], [1.0, 2.0, 3.0])
    assert history.step == 9
