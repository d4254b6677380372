"""Tests of bootstrap intervals, against SciPy and calculations by hand."""

import math

import numpy as np
import pytest

from distill.comparison.statistics import Interval, bootstrap
from distill.errors import InvalidValueError


def test_the_interval_is_the_bootstrap_of_scipy_stretched(stats):
    """The interval is SciPy's percentile bootstrap, stretched by Hesterberg's factor for 13 files."""
    values = np.random.default_rng(7).gamma(1.0, size=13)
    found = bootstrap(values, resamples=40_000)
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=40_000, rng=np.random.default_rng(1)
    ).confidence_interval
    stretch = stats.t.ppf(0.975, 12) / stats.norm.ppf(0.975) * math.sqrt(13 / 12)
    assert found.mean == pytest.approx(values.mean())
    expected = [values.mean() + stretch * (end - values.mean()) for end in reference]
    assert [found.low, found.high] == pytest.approx(expected, abs=0.02)


def test_two_values_have_a_wide_interval():
    """The interval of two values is as calculated by hand: t is 12.706, and the factor sqrt(2 / 1)."""
    found = bootstrap([1.0, 2.0])
    assert found.mean == 1.5
    reach = 0.5 * 12.706205 / 1.959964 * math.sqrt(2)
    assert [found.low, found.high] == pytest.approx([1.5 - reach, 1.5 + reach], rel=1e-5)
    assert not found.certain


def test_equal_differences_are_certain():
    """Without spread, the interval is the value."""
    assert bootstrap(np.full((3, 4), 0.1)) == Interval(*[pytest.approx(0.1, abs=1e-15)] * 3)
    assert bootstrap(np.full(5, -2.0)).certain
    assert not bootstrap(np.zeros(5)).certain


def test_seeds_are_drawn_as_well_as_files(stats):
    """Three seeds that differ leave 2 degrees of freedom, however many files there are."""
    seeds = np.array([[0.0], [1.0], [2.0]])
    found = bootstrap(np.repeat(seeds, 50, axis=1))
    reference = np.quantile(
        np.random.default_rng(2).choice(seeds[:, 0], (40_000, 3)).mean(axis=1), [0.025, 0.975]
    )
    stretch = stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975) * math.sqrt(3 / 2)
    assert [found.low, found.high] == pytest.approx([1 + stretch * (end - 1) for end in reference], abs=0.02)
    files = bootstrap(np.repeat(seeds.T, 50, axis=0))  # the same for files: seeds that are equal add nothing
    assert [files.low, files.high] == pytest.approx([found.low, found.high], abs=0.02)


@pytest.mark.parametrize(("seeds", "files"), [(1, 4), (3, 8)])
def test_without_a_difference_few_intervals_exclude_zero(seeds, files):
    """About one in twenty intervals of 100 tables of noise excludes zero."""
    generator = np.random.default_rng(seeds)
    certain = 0
    for number in range(100):
        of_seeds = generator.normal(size=(seeds, 1)) if seeds > 1 else 0
        table = of_seeds + generator.normal(size=(1, files))
        certain += bootstrap(table, seed=number, resamples=300).certain
    assert certain / 100 <= 0.08


def test_what_is_not_defined_is_left_out():
    """A file without a measure, and one that only one seed has, are left out."""
    with_gaps = bootstrap([[1.0, math.nan, 3.0, 5.0], [1.0, math.nan, 3.0, math.nan]])
    assert with_gaps.mean == pytest.approx(13 / 5)
    assert bootstrap([1.0, math.nan, 3.0]) == bootstrap([1.0, 3.0])


def test_nothing_and_a_single_value_are_not_certain():
    """The interval of no value, or of one, is unbounded, which JSON calls null."""
    one = bootstrap([[4.0]])
    assert one == Interval(4.0, -math.inf, math.inf)
    assert not one.certain
    nothing = bootstrap([math.nan, math.nan])
    assert math.isnan(nothing.mean)
    assert nothing.to_dict() == {"mean": None, "low": None, "high": None, "certain": False}
    assert not bootstrap([]).certain


def test_the_seed_decides():
    """The same seed gives the same interval, and another seed a similar one."""
    values = np.random.default_rng(3).normal(size=13)
    assert bootstrap(values) == bootstrap(values)
    other = bootstrap(values, seed=1)
    assert other != bootstrap(values)
    assert other.low == pytest.approx(bootstrap(values).low, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"differences": "abc"}, "differences: expected numbers [F] or [S, F]"),
        ({"differences": [[[1.0]]]}, "differences: expected numbers [F] or [S, F], got the shape [1, 1, 1]"),
        ({"differences": [math.inf]}, "differences: expected numbers that are finite, or NaN"),
        ({"differences": [1.0], "level": 1.0}, "level: must be above 0 and below 1, got 1.0"),
        ({"differences": [1.0], "resamples": 10}, "resamples: must be at least 100, got 10"),
    ],
)
def test_what_is_no_table_of_numbers_is_one_message(arguments, message):
    """Input that is no table of numbers is refused before anything is drawn."""
    with pytest.raises(InvalidValueError) as caught:
        bootstrap(**arguments)
    assert str(caught.value) == message


def test_many_files_are_drawn_a_few_resamples_at_a_time():
    """The interval of many values is that of the normal distribution, nearly."""
    values = np.random.default_rng(1).normal(0.1, 1, 4000)
    found = bootstrap(values, resamples=500)
    reach = 1.96 * values.std(ddof=1) / 4000**0.5
    assert [found.low, found.high] == pytest.approx([values.mean() - reach, values.mean() + reach], abs=0.006)
