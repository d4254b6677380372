"""Tests of distill.cli.curves: sparklines, and histories in bounded memory."""

import math

import pytest

from distill.cli.curves import Curve, sparkline


def test_a_sparkline_spans_its_values():
    """The least is the lowest letter, the greatest the highest, and equal values are low."""
    assert sparkline([0.0, 1.0, 7.0]) == "▁▂█"
    assert sparkline([0.0, 1.0, 7.0], ascii_only=True) == "_.#"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == ""


def test_a_wide_range_is_logarithmic():
    """1, 10 and 100 are equally far apart."""
    assert sparkline([100.0, 10.0, 1.0]) == "█▅▁"


@pytest.mark.parametrize("count", [0, 1, 5, 127, 128, 1000, 100_000])
def test_a_history_keeps_its_course_in_bounded_memory(count):
    """A straight line remains one, from the first stretch to the last, however long it is."""
    curve = Curve()
    for number in range(count):
        curve.add(float(number))
    assert len(curve._means) < 128  # noqa: SLF001  # the memory
    values = curve.values(10)
    assert len(values) == min(10, count)
    assert values == sorted(values)
    if count >= 1000:
        assert values[0] == pytest.approx(count / 20, rel=0.1)
        assert values[-1] == pytest.approx(count * 19 / 20, rel=0.1)


def test_what_is_not_finite_is_shown_and_not_drawn():
    """The latest value may be NaN, and the curve leaves it out."""
    curve = Curve()
    for value in (1.0, math.nan):
        curve.add(value)
    assert math.isnan(curve.latest)
    assert curve.values(10) == [1.0]
