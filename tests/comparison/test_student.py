"""Tests of Student's t distribution against SciPy."""

import math

import pytest

from distill.comparison.student import t_quantile, within


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 12, 99, 1000])
def test_quantiles_are_those_of_scipy(degrees, stats):
    """Quantiles are those of SciPy for odd and even degrees of freedom."""
    for level in (0.5, 0.95, 0.999):
        assert t_quantile(level, degrees) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_one_degree_of_freedom_is_the_cauchy_distribution():
    """Half of the distribution with one degree of freedom lies within -1..1."""
    assert within(math.pi / 4, 1) == pytest.approx(0.5)


def test_many_degrees_of_freedom_are_the_normal_distribution():
    """Many degrees of freedom give the normal quantiles and cost no more time."""
    assert t_quantile(0.95, 10**12) == pytest.approx(1.959964, abs=3e-4)
