"""Tests of distill.plugin.schedules."""

import re

import numpy as np
import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from distill.plugin.schedules import Points, factor_at, rising_points

UNIT = st.floats(min_value=0, max_value=1)
FACTOR = st.floats(min_value=0, max_value=100)


@frozen
class Scheduled:
    """Something with a schedule, to validate it as attrs does."""

    schedule: Points = field(validator=rising_points)


@pytest.mark.parametrize(
    ("points", "progress", "factor"),
    [
        ((), 0.7, 1.0),
        (((0.5, 3.0),), 0.0, 3.0),
        (((0.5, 3.0),), 1.0, 3.0),
        (((0, 0), (0.3, 1)), 0.0, 0.0),
        (((0, 0), (0.3, 1)), 0.15, 0.5),
        (((0, 0), (0.3, 1)), 0.3, 1.0),
        (((0, 0), (0.3, 1)), 1.0, 1.0),
        (((0.8, 1), (1, 0)), 0.5, 1.0),
        (((0.8, 1), (1, 0)), 0.9, 0.5),
        (((0.8, 1), (1, 0)), 1.0, 0.0),
        (((0, 0), (0.2, 4), (0.6, 2)), 0.4, 3.0),
    ],
)
def test_factor_lies_on_the_line(points, progress, factor):
    """The factor is linear between points and constant outside them (values by hand)."""
    assert factor_at(points, progress) == pytest.approx(factor)


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.4999, 0.0), (0.5, 1.0), (0.9, 1.0)])
def test_factor_jumps_where_two_points_share_a_progress(progress, factor):
    """A late start is a jump: the later point holds from there on."""
    assert factor_at(((0.5, 0), (0.5, 1)), progress) == factor


def test_factor_jumps_at_the_start():
    """A warm-up of no length gives the full factor at once."""
    assert factor_at(((0, 0), (0, 1)), 0.0) == 1.0


@given(st.dictionaries(UNIT.map(lambda p: round(p, 3)), FACTOR, min_size=1), UNIT)
def test_factor_equals_numpy_interp(points, progress):
    """Where no two points share a progress, the factor is numpy's linear interpolation."""
    places = sorted(points)
    expected = np.interp(progress, places, [points[place] for place in places])
    assert factor_at(tuple((p, points[p]) for p in places), progress) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(UNIT, FACTOR)), UNIT)
def test_factor_stays_within_the_points(points, progress):
    """Every valid schedule gives a factor between its least and its greatest."""
    schedule = Scheduled(tuple(sorted(points, key=lambda point: point[0]))).schedule
    factors = [factor for _, factor in schedule] or [1.0]
    assert min(factors) - 1e-9 <= factor_at(schedule, progress) <= max(factors) + 1e-9


@pytest.mark.parametrize(
    "points",
    [((0.5, 1), (0.2, 1)), ((-0.1, 1),), ((0, 1), (1.1, 1)), ((float("nan"), 1),)],
)
def test_progress_must_rise_within_the_unit_interval(points):
    """Progress that falls, or lies outside 0..1, is refused."""
    message = f"'schedule' must have progress values that rise within 0..1: {points!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Scheduled(points)


def test_factors_must_not_be_negative():
    """A negative factor would turn a loss into a reward."""
    message = "'schedule' must not have negative or infinite factors: ((0, 1), (1, -0.5))"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Scheduled(((0, 1), (1, -0.5)))
