"""Tests of the weightings against the standards' own tables, coefficients and test tone."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from distill_perceptual.weighting import a_response, k_response, weighted

A_WEIGHTING_TABLE = """
    10 -70.4   12.5 -63.4   16 -56.7   20 -50.5   25 -44.7   31.5 -39.4   40 -34.6   50 -30.2   63 -26.2
    80 -22.5   100 -19.1   125 -16.1   160 -13.4   200 -10.9   250 -8.6   315 -6.6   400 -4.8   500 -3.2
    630 -1.9   800 -0.8   1000 0.0   1250 0.6   1600 1.0   2000 1.2   2500 1.3   3150 1.2   4000 1.0
    5000 0.5   6300 -0.1   8000 -1.1   10000 -2.5   12500 -4.3   16000 -6.6   20000 -9.3
"""
"""Nominal frequencies in Hz and design goals in dB, IEC 61672-1:2013, table 3."""


def test_a_weighting_is_that_of_the_table():
    """At every nominal frequency the design goal is met to the tenth of a decibel it is printed with."""
    numbers = [float(word) for word in A_WEIGHTING_TABLE.split()]
    goals = torch.tensor(numbers[1::2], dtype=torch.float64)
    # Nominal frequencies are rounded: the exact ones are tenths of decades.
    exact = 10 ** (torch.tensor(numbers[::2], dtype=torch.float64).log10().mul(10).round() / 10)
    assert (20 * a_response(exact).log10() - goals).abs().max() <= 0.05 + 1e-3


def filtered(samples, numerator, denominator):
    """Run samples through a biquad, one by one, as BS.1770 draws it."""
    out, x1, x2, y1, y2 = [], 0.0, 0.0, 0.0, 0.0
    for x in samples:
        y = numerator[0] * x + numerator[1] * x1 + numerator[2] * x2
        y -= denominator[0] * y1 + denominator[1] * y2
        x1, x2, y1, y2 = x, x1, y, y1
        out.append(y)
    return out


def test_k_weighting_is_that_of_the_filters_at_48_khz():
    """Every frequency is as loud after it as after the two filters of the standard, run in time."""
    impulse = [1.0] + [0.0] * 19_199
    shelf = filtered(
        impulse,
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (-1.69065929318241, 0.73248077421585),
    )
    both = filtered(shelf, (1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621))
    expected = torch.fft.rfft(torch.tensor(both, dtype=torch.float64)).abs()
    frequency = torch.fft.rfftfreq(19_200, 1 / 48_000, dtype=torch.float64)
    torch.testing.assert_close(k_response(frequency), expected, rtol=0, atol=1e-6)


def test_above_24_khz_k_weighting_stays_what_it_is_there():
    """Where the standard's filters have no response, that at their end holds."""
    ends = k_response(torch.tensor([24_000.0, 30_000.0, 48_000.0], dtype=torch.float64))
    assert ends.tolist() == [ends[0].item()] * 3


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([8000, 22_050, 44_100, 48_000, 96_000]),
    st.floats(30, 20_000),
    st.sampled_from([a_response, k_response]),
)
def test_a_sine_keeps_its_phase_and_gets_its_gain_at_any_rate(sample_rate, frequency, response):
    """Away from its ends a sine is the same sine, as strong as the response says."""
    frequency = min(frequency, 0.45 * sample_rate)
    time = torch.arange(sample_rate // 2, dtype=torch.float64) / sample_rate
    sine = torch.sin(2 * math.pi * frequency * time)[None].float()
    inside = slice(sample_rate // 8, -sample_rate // 8)
    expected = sine * response(torch.tensor(frequency, dtype=torch.float64)).float()
    actual = weighted(sine, sample_rate, response)
    torch.testing.assert_close(actual[:, inside], expected[:, inside], rtol=0, atol=2e-4)


@pytest.mark.parametrize("response", [a_response, k_response])
def test_nothing_comes_back_at_the_other_end(response):
    """A click at the end leaves the beginning silent, though the filter works on a circle."""
    click = torch.zeros(1, 44_100)
    click[0, -1] = 1
    assert weighted(click, 44_100, response)[:, :22_050].abs().max() < 1e-6


def test_one_sample_is_enough():
    """A clip of a sample is filtered as any other."""
    assert weighted(torch.ones(2, 1), 44_100, a_response).isfinite().all()
