"""Tests of the plugin, with expected values worked out by hand or integrated numerically.

Shapes: `B` batch, `D` latent size, `T'` latent frames.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import distill_latent
from distill import DistillError, LossInputs, MagnitudeIF, Posterior, Signal, compose
from distill.testing import check_term, registry_with
from distill_latent import formulas

TERMS = ["kl_capacity", "kl_batch_free_bits", "mmd", "active_units"]
SHAPES = [(6, 4), (6, 4, 5)]


@pytest.fixture(scope="module")
def registry():
    """Return the built-in terms and this plugin's."""
    return registry_with(distill_latent)


@pytest.fixture
def value(registry):
    """Return the function that composes a term with options and computes it of a posterior."""
    representation = MagnitudeIF(8000, 32, 8)

    def compute(term, mu, logvar, progress=1.0, **options):
        loss = compose(term, {f"{term}.{name}": each for name, each in options.items()}, registry=registry)
        silence = Signal.from_waveform(torch.zeros(len(mu), 64), representation)
        posterior = Posterior(mu=mu, logvar=logvar)
        inputs = LossInputs(prediction=silence, target=silence, posterior=posterior, progress=progress)
        return loss.unweighted(term, inputs)

    return compute


def normal(*shape, seed=0):
    """Draw numbers from a standard normal."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("term", TERMS)
def test_every_term_passes_the_kit(registry, term):
    """Every term passes the checks of `distill.testing` that are not waived with a reason."""
    check_term(registry.choose(term)[0])


@pytest.mark.parametrize(
    ("progress", "rise", "capacity"),
    [(0.0, 1.0, 0.0), (0.5, 1.0, 4.0), (1.0, 1.0, 8.0), (0.25, 0.5, 4.0), (0.75, 0.5, 8.0), (0.0, 0.0, 8.0)],
)
def test_the_capacity_rises_along_a_line(value, progress, rise, capacity):
    """A divergence of 3 nats, 0.5 * mu^2 in six dimensions with mu 1, is charged for what is between."""
    mu, logvar = torch.ones(2, 6), torch.zeros(2, 6)
    charged = value("kl_capacity", mu, logvar, progress, capacity=8.0, rise=rise)
    assert charged.item() == pytest.approx(abs(3 - capacity), rel=1e-6)


@pytest.mark.parametrize(("capacity", "sign"), [(1.0, 1), (10.0, -1)])
def test_below_the_capacity_latents_are_made_to_tell_more(value, capacity, sign):
    """The gradient at mu is mu, averaged over the batch; below the capacity it is turned round."""
    mu = torch.ones(2, 6, requires_grad=True)
    value("kl_capacity", mu, torch.zeros(2, 6), capacity=capacity).backward()
    assert torch.allclose(mu.grad, torch.full((2, 6), sign / 2))


def test_free_bits_are_those_of_the_mean_over_the_step(value):
    """Two dimensions of 1 and 0 nats, and of 0.18 and 0.02: the means are 0.5 and, below 0.2, 0.2."""
    mu = torch.tensor([[math.sqrt(2), 0.6], [0.0, 0.2]], requires_grad=True)
    charged = value("kl_batch_free_bits", mu, torch.zeros(2, 2), free_bits=0.2)
    assert charged.item() == pytest.approx(0.5 + 0.2)
    charged.backward()
    # Element by element the second example's 0 nats would be free and cost 0.2.
    assert torch.allclose(mu.grad, torch.tensor([[math.sqrt(2) / 2, 0], [0, 0]]))


def test_time_counts_as_more_examples(value):
    """Latent frames are latent vectors like any other: `[B, D, T']` is `[B * T', D]`."""
    mu, logvar = normal(3, 4, 5), normal(3, 4, 5, seed=1)
    flat = [tensor.permute(0, 2, 1).reshape(15, 4) for tensor in (mu, logvar)]
    for term in TERMS:
        assert value(term, mu, logvar).item() == pytest.approx(value(term, *flat).item(), rel=1e-5)


def density(axis, mean, variance):
    """Return a normal density on a grid."""
    return np.exp(-((axis - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def integrated_mmd(means, variances, width):
    """Integrate the kernel over the difference of the densities, in one dimension, on a grid."""
    axis = np.linspace(-12, 12, 1201)
    mixture = np.mean([density(axis, *each) for each in zip(means, variances, strict=True)], axis=0)
    difference = (mixture - density(axis, 0, 1)) * (axis[1] - axis[0])
    kernel = np.exp(-((axis[:, None] - axis) ** 2) / (2 * width))
    return difference @ kernel @ difference


@pytest.mark.parametrize(
    ("means", "variances", "bandwidth"),
    [([0.5], [0.3], 1.0), ([-1.0, 2.0, 0.1], [0.2, 1.5, 0.6], 0.7), ([3.0, 3.0], [1.0, 0.05], 2.0)],
)
def test_the_discrepancy_is_the_integral_it_stands_for(value, means, variances, bandwidth):
    """The discrepancy of one-dimensional mixtures is that of numerical integration."""
    mu, logvar = torch.tensor(means)[:, None], torch.tensor(variances).log()[:, None]
    expected = integrated_mmd(means, variances, bandwidth**2)
    assert value("mmd", mu, logvar, bandwidth=bandwidth).item() == pytest.approx(expected, rel=1e-4)


def test_the_discrepancy_is_that_of_very_many_samples(value):
    """In three dimensions it is what 4000 samples of each side estimate, without their noise."""
    mu, logvar = normal(5, 3), -normal(5, 3, seed=1).abs()
    random = np.random.default_rng(0)
    chosen = random.integers(5, size=4000)
    spread = logvar.double().exp().sqrt().numpy()[chosen]
    ours = mu.double().numpy()[chosen] + spread * random.normal(size=(4000, 3))
    theirs = random.normal(size=(4000, 3))

    def mean_kernel(first, second):
        squares = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
        return np.exp(-squares / (2 * 3)).mean()

    expected = mean_kernel(ours, ours) - 2 * mean_kernel(ours, theirs) + mean_kernel(theirs, theirs)
    assert value("mmd", mu, logvar).item() == pytest.approx(expected, abs=3e-3)
    assert expected > 3e-2


@given(st.integers(1, 200), st.integers(1, 4), st.floats(0.3, 3))
def test_the_prior_does_not_differ_from_itself(dimensions, examples, bandwidth):
    """If each posterior is the prior, nothing is charged, in one dimension or in many."""
    prior = torch.zeros(examples, dimensions)
    assert formulas.squared_mmd(prior, prior, bandwidth).item() == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 1000))
def test_the_discrepancy_is_not_negative(seed):
    """It is a squared distance, however few the examples."""
    mu, logvar = normal(4, 6, 3, seed=seed), normal(4, 6, 3, seed=seed + 1)
    assert formulas.squared_mmd(mu, logvar, 1.0) > -1e-6


def test_many_dimensions_keep_a_gradient(value):
    """A product over 512 dimensions does not vanish: the kernel grows with them."""
    mu = normal(8, 512).requires_grad_()
    value("mmd", 3 * mu, torch.zeros(8, 512)).backward()
    assert mu.grad.abs().max() > 1e-6


def test_descent_brings_posteriors_to_the_prior_together(value):
    """Posteriors that are narrow spread out and become, as a mixture, almost the prior."""
    mu, logvar = 0.1 * normal(32, 2), torch.full((32, 2), -3.0)
    tensors = [mu.requires_grad_(), logvar.requires_grad_()]
    optimizer = torch.optim.Adam(tensors, lr=0.1)
    before = value("mmd", *tensors).item()
    for _ in range(100):
        optimizer.zero_grad()
        value("mmd", *tensors).backward()
        optimizer.step()
    assert value("mmd", *tensors).item() < 0.01 * before
    # Each of them is not: together they have the prior's variance.
    total = mu.var(0, correction=0) + logvar.exp().mean(0)
    assert torch.allclose(total, torch.ones(2), atol=0.2)


@pytest.mark.parametrize("shape", SHAPES)
def test_units_whose_mean_varies_are_active(value, shape):
    """Variances of 0, 0.0025, 0.04 and 1: two lie above 0.01, and three above 0.001."""
    signs = torch.tensor([1.0, -1.0]).repeat(3).view(-1, *[1] * (len(shape) - 1)).expand(shape)
    scale = torch.tensor([0.0, 0.05, 0.2, 1.0]).view(1, 4, *[1] * (len(shape) - 2))
    mu = 7 + scale * signs
    assert value("active_units", mu, torch.zeros(shape)) == 2
    assert value("active_units", mu, torch.zeros(shape), threshold=1e-3) == 3


def test_one_latent_vector_has_no_active_units(value):
    """What cannot vary does not, and is no NaN."""
    assert value("active_units", torch.ones(1, 4), torch.zeros(1, 4)) == 0


def test_active_units_take_no_weight(registry):
    """A count cannot be trained; that is said before a training begins."""
    with pytest.raises(DistillError) as caught:
        compose("active_units", {"active_units.weight": 1}, registry=registry)
    assert str(caught.value) == "loss.active_units.weight: must be one of 0.0, got 1"


@pytest.mark.parametrize(
    ("address", "wrong", "message"),
    [
        ("kl_capacity.capacity", -1.0, "must be >= 0, got -1.0"),
        ("kl_capacity.rise", 1.5, "must be <= 1, got 1.5"),
        ("kl_batch_free_bits.free_bits", -0.1, "must be >= 0, got -0.1"),
        ("mmd.bandwidth", 0.0, "must be > 0, got 0.0"),
        ("active_units.threshold", math.inf, "must be finite, got inf"),
    ],
)
def test_options_out_of_bounds_are_refused(registry, address, wrong, message):
    """Options out of bounds are refused under their address."""
    with pytest.raises(DistillError) as caught:
        compose(address.partition(".")[0], {address: wrong}, registry=registry)
    assert str(caught.value) == f"loss.{address}: {message}"
