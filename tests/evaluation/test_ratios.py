"""Ratios of energies equal their definitions, and none is an infinity."""

import math

import numpy as np
import pytest
import torch

from distill.evaluation import level_difference, si_sdr, signal_to_noise

HALF_IN_DECIBELS = 20 * math.log10(2)


def test_ratios_follow_their_definitions():
    """SNR, SI-SDR and level difference of signals of orthogonal parts equal values computed by hand."""
    original = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    error = torch.tensor([[0.1, -0.1, 0.1, -0.1]])
    assert float(signal_to_noise(original + error, original)) == pytest.approx(20, abs=1e-5)
    assert float(signal_to_noise(original / 2, original)) == pytest.approx(HALF_IN_DECIBELS)
    assert float(si_sdr(3 * (original + error), original)) == pytest.approx(20, abs=1e-5)
    assert float(level_difference(original / 2, original)) == pytest.approx(-HALF_IN_DECIBELS)


def test_ratios_are_bounded():
    """A perfect reconstruction gives 200 dB, a silent or unrelated one -200 dB, and none an infinity."""
    original = torch.tensor([1.0, 1.0])
    assert signal_to_noise(original, original) == 200
    assert si_sdr(original, original) == 200
    assert si_sdr(torch.zeros(2), original) == -200
    assert si_sdr(torch.tensor([1.0, -1.0]), original) == -200
    assert level_difference(torch.zeros(2), original) == -200
    assert signal_to_noise(torch.zeros(2), original) == 0


def test_si_sdr_is_that_of_its_authors():
    """SI-SDR equals the formula of Le Roux et al. (2019), in NumPy on signals that are not orthogonal."""
    random = np.random.default_rng(0)
    target, estimate = random.normal(0, 1, (2, 1000))
    estimate += 2 * target
    scaled = (estimate @ target) / (target @ target) * target
    expected = 10 * np.log10((scaled @ scaled) / ((scaled - estimate) @ (scaled - estimate)))
    assert float(si_sdr(torch.from_numpy(estimate), torch.from_numpy(target))) == pytest.approx(expected)
