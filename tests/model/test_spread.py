"""Tests of distill.model.spread: how far off decoded log-magnitudes are."""

import math

import torch
from torch.distributions import Laplace

from distill.model.spread import audible_error, negative_log_likelihood


def test_an_error_by_hand():
    """The error of twice the amplitude is log(2), that of the same 0, where the floors do not count."""
    target = torch.tensor([[[1.0, 0.5], [0.5, 0.25]]])
    error = audible_error(target * torch.tensor([2.0, 1.0]), target, 0.0)
    expected = torch.tensor([[[math.log(2), 0.0], [math.log(2), 0.0]]])
    torch.testing.assert_close(error, expected, rtol=1e-3, atol=0)


def test_what_cannot_be_heard_hardly_counts():
    """The floor and 1e-4 of the loudest amplitude are added to both amplitudes.

    0 in place of 1e-4 beside 1 is off by log(2), as is 0 in place of 1e-6 where the floor is that and
    all is silent; 120 dB below the loudest it is off by log(1.01).
    """
    target = torch.tensor([[[1.0, 1e-4, 1e-6]], [[0.0, 0.0, 0.0]]])
    error = audible_error(torch.tensor([[[1.0, 0.0, 0.0]], [[1e-6, 0.0, 0.0]]]), target, 1e-6)
    expected = torch.tensor(
        [[[0.0, math.log(2.01 / 1.01), math.log(1.02 / 1.01)]], [[math.log(2), 0.0, 0.0]]]
    )
    torch.testing.assert_close(error, expected, rtol=1e-4, atol=1e-6)


def test_examples_are_heard_by_themselves():
    """A loud one does not hide what is in another."""
    target = torch.tensor([1.0, 1e-4]).reshape(2, 1, 1)
    error = audible_error(2 * target, target, 0.0)
    torch.testing.assert_close(error, torch.full((2, 1, 1), math.log(2)), rtol=1e-3, atol=0)


def test_the_likelihood_is_that_of_a_laplace_distribution():
    """The likelihood equals torch's, up to the constant log(2)."""
    error, spread = torch.tensor([0.0, 0.3, 2.0]), torch.tensor([0.1, 0.5, 1.5])
    expected = -Laplace(torch.zeros(3), spread).log_prob(error) - math.log(2)
    torch.testing.assert_close(negative_log_likelihood(error, spread), expected)


def test_the_likeliest_spread_is_the_mean_error():
    """The spread of the highest likelihood equals the mean absolute error."""
    error = torch.tensor([0.2, 0.4, 0.9])
    spreads = torch.tensor([0.4, 0.5, 0.6])[:, None]
    assert negative_log_likelihood(error, spreads).mean(1).argmin() == 1
