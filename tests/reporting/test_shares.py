"""Tests of the shares of terms in the loss."""

import numpy as np
import pytest

from distill.reporting.history import History, Series
from distill.reporting.shares import (
    cosines_of,
    gradient_shares_of,
    shares_of,
    still_terms,
    total_that_moves,
)


def series(*values, steps=None):
    """Return a series."""
    return Series(steps=np.array(steps or range(1, len(values) + 1)), values=np.array(values, float))


def test_shares_are_weighted_sizes_of_their_sum():
    """A term of 3 x 1 beside one of 1 x -1 has a share of 3/4."""
    shares = shares_of(
        History(
            train={"a": series(1.0, 1.0), "b": series(-1.0, -1.0), "total": series(2.0, 2.0)},
            weights={"a": series(3.0, 3.0), "b": series(1.0, 1.0)},
        )
    )
    assert shares.terms["a"].tolist() == [0.75, 0.75]
    assert shares.at_the_end() == {"a": 0.75, "b": 0.25}


def test_a_term_that_starts_late_counts_as_nothing_before():
    """A term that starts late has a share of 0 before it starts."""
    shares = shares_of(
        History(
            train={"a": series(1.0, 1.0), "late": series(1.0, steps=[2])},
            weights={"a": series(1.0, 1.0), "late": series(1.0, steps=[2])},
        )
    )
    assert shares.terms["late"].tolist() == [0.0, 0.5]


def test_a_loss_of_nothing_has_no_shares():
    """A loss that is 0 has no shares, nor has a run without weights."""
    assert shares_of(History()) is None
    nothing = shares_of(History(train={"a": series(0.0)}, weights={"a": series(1.0)}))
    assert np.isnan(nothing.terms["a"]).all()
    assert nothing.at_the_end() == {"a": pytest.approx(0.0)}


def test_many_records_are_averaged_over_stretches():
    """The shares of 10,000 records are averaged into 200 means."""
    values = np.linspace(0, 1, 10_000)
    many = Series(steps=np.arange(10_000), values=values)
    ones = Series(steps=np.arange(10_000), values=np.ones(10_000))
    shares = shares_of(History(train={"a": many, "b": ones}, weights={"a": ones, "b": ones}))
    assert len(shares.steps) == 200
    assert shares.terms["a"][-1] == pytest.approx(0.5, abs=0.01)


def test_gradient_shares_are_those_recorded():
    """A term that starts late has none before; measurements that were not finite are left out."""
    shares = gradient_shares_of(
        {"a": series(1.0, np.nan, 0.25, steps=[1, 5, 9]), "late": series(np.nan, 0.75, steps=[5, 9])}
    )
    assert shares.steps.tolist() == [1, 9]
    assert shares.at_the_end() == {"a": 0.25, "late": 0.75}
    assert gradient_shares_of({}) is None
    assert gradient_shares_of({"a": series(np.nan, 0.0)}) is None
    assert len(gradient_shares_of({"a": series(*np.ones(1000))}).steps) == 200


def test_cosines_are_means_over_the_last_quarter():
    """Of eight measurements two count; a pair that none of them has is unknown."""
    cosines = cosines_of(
        History(
            weights={name: series(1.0) for name in "abc"},
            cosines={
                ("a", "b"): series(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -0.25, -0.75),
                ("a", "c"): series(0.5, np.nan, steps=[7, 8]),
                ("b", "c"): series(0.5, steps=[1]),
            },
        )
    )
    assert (cosines.names, cosines.measurements) == (("a", "b", "c"), 2)
    np.testing.assert_equal(cosines.means, [[1, -0.5, 0.5], [-0.5, 1, np.nan], [0.5, np.nan, 1]])
    assert cosines.with_others() == {"a": 0.0, "b": -0.5, "c": 0.5}
    assert cosines_of(History()) is None


def test_the_total_that_moves_is_without_what_is_still():
    """The total is the sum of the terms that have a gradient; where that was not recorded, it stays."""
    components = {"total": series(4.0, 5.0, 6.0), "kl": series(2.0, 2.0, steps=[2, 3])}
    components |= {"stft": series(1.0, 2.0, 3.0), "late": series(1.0, steps=[3])}
    weights = {"kl": series(1.0, 1.5, 1.5), "stft": series(2.0, 2.0, 2.0), "late": series(0.5, steps=[3])}
    assert total_that_moves(components, weights, ["kl", "gone"]).values.tolist() == [2.0, 4.0, 6.5]
    for still, known in ((["gone"], weights), (["kl"], {}), (["kl"], {"kl": weights["kl"]})):
        assert total_that_moves(components, known, still) is components["total"]
    assert total_that_moves({}, weights, ["kl"]) is None


def test_shares_are_without_what_is_left_out():
    """Shares without a term are those in the sum of the others."""
    ones = {name: series(1.0) for name in ("a", "b")}
    history = History(train={"a": series(3.0), "b": series(9.0)}, weights=ones)
    assert shares_of(history, ["b"]).terms == {"a": [1.0]}
    assert shares_of(history, ["a", "b"]) is None


@pytest.mark.parametrize(
    ("output", "parameters", "still"), [(0.0, 0.0, ("a",)), (0.0, 0.1, ()), (0.1, 0.0, ())]
)
def test_a_still_term_has_no_gradient_of_any_kind(output, parameters, still):
    """A term of the latents alone has none at the output, and trains the encoder."""
    run = History(gradient_shares={"a": series(output)}, parameter_shares={"a": series(parameters)})
    assert still_terms(run) == still
