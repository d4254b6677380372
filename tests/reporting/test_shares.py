"""Tests of the shares of terms in the loss."""

import numpy as np
import pytest

from distill.reporting.history import History, Series
from distill.reporting.shares import shares_of


def series(*values, steps=None):
    """Return a series."""
    return Series(steps=np.array(steps or range(1, len(values) + 1)), values=np.array(values, float))


def test_shares_are_weighted_sizes_of_their_sum():
    """3 x 1 beside 1 x -1 is three quarters of 4."""
    shares = shares_of(
        History(
            train={"a": series(1.0, 1.0), "b": series(-1.0, -1.0), "total": series(2.0, 2.0)},
            weights={"a": series(3.0, 3.0), "b": series(1.0, 1.0)},
        )
    )
    assert shares.terms["a"].tolist() == [0.75, 0.75]
    assert shares.at_the_end() == {"a": 0.75, "b": 0.25}


def test_a_term_that_starts_late_counts_as_nothing_before():
    """Records have the terms that are on."""
    shares = shares_of(
        History(
            train={"a": series(1.0, 1.0), "late": series(1.0, steps=[2])},
            weights={"a": series(1.0, 1.0), "late": series(1.0, steps=[2])},
        )
    )
    assert shares.terms["late"].tolist() == [0.0, 0.5]


def test_a_loss_of_nothing_has_no_shares():
    """0 of 0 is not a number; a run without weights has none at all."""
    assert shares_of(History()) is None
    nothing = shares_of(History(train={"a": series(0.0)}, weights={"a": series(1.0)}))
    assert np.isnan(nothing.terms["a"]).all()
    assert nothing.at_the_end() == {"a": pytest.approx(0.0)}


def test_many_records_are_averaged_over_stretches():
    """Of 10,000 records, 200 means."""
    values = np.linspace(0, 1, 10_000)
    many = Series(steps=np.arange(10_000), values=values)
    ones = Series(steps=np.arange(10_000), values=np.ones(10_000))
    shares = shares_of(History(train={"a": many, "b": ones}, weights={"a": ones, "b": ones}))
    assert len(shares.steps) == 200
    assert shares.terms["a"][-1] == pytest.approx(0.5, abs=0.01)
