"""Tests of the binomial test and its interval against SciPy."""

import pytest

from distill.comparison.binomial import chance_of, clopper_pearson


@pytest.mark.parametrize(("right", "trials"), [(0, 5), (5, 5), (9, 10), (12, 16), (70, 120)])
def test_chance_and_interval_are_those_of_scipy(right, trials, stats):
    """Chance and interval are those of SciPy, one-sided, and at both ends of the range."""
    reference = stats.binomtest(right, trials, alternative="greater")
    assert chance_of(right, trials) == pytest.approx(reference.pvalue, rel=1e-9)
    interval = stats.binomtest(right, trials).proportion_ci(0.95, method="exact")
    assert clopper_pearson(right, trials) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_nine_of_ten_by_hand():
    """11 of 1,024 sequences of guesses are as good."""
    assert chance_of(9, 10) == 11 / 1024
