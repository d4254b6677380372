"""Tests of distill.loss.terms.kl."""

import pytest
import torch

from distill.errors import TermError
from distill.loss.terms.kl import KlTerm
from distill.plugin.builtin_terms import KlConfig
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Posterior, Signal

SILENCE = Signal.from_waveform(torch.zeros(1, 8), MagnitudeIF(8000, 4, 2))


def loss_of(posterior, **options):
    """Compute the term."""
    return KlTerm(KlConfig(**options))(LossInputs(prediction=SILENCE, target=SILENCE, posterior=posterior))


def test_it_is_the_divergence_with_free_bits_and_without_weight():
    """Means of 1, 0 and 0.2 cost 0.5, 0 and 0.02 nats; each counts its free bits, and no weight applies."""
    posterior = Posterior(mu=torch.tensor([[1.0, 0.0, 0.2]]), logvar=torch.zeros(1, 3))
    assert loss_of(posterior, free_bits=0.0).item() == pytest.approx(0.52)
    assert loss_of(posterior).item() == pytest.approx(0.5 + 0.1 + 0.1)
    assert loss_of(posterior, weight_max=5.0, free_bits=0.3).item() == pytest.approx(0.5 + 0.3 + 0.3)


def test_latents_over_time_are_averaged():
    """`[B, D, T']` is summed over D and averaged over the rest: 0.5 in half of the frames is 0.25."""
    mu = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    posterior = Posterior(mu=mu, logvar=torch.zeros(1, 2, 2))
    assert loss_of(posterior, free_bits=0.0).item() == pytest.approx(0.25)


def test_half_precision_does_not_overflow():
    """A log-variance of 12 costs (e^12 - 13) / 2, though e^12 is more than float16 holds."""
    posterior = Posterior(mu=torch.zeros(1, 1).half(), logvar=torch.full((1, 1), 12.0).half())
    assert loss_of(posterior).item() == pytest.approx((162754.79 - 13) / 2, rel=1e-6)


def test_it_needs_the_posterior():
    """A missing posterior raises the error of the inputs themselves."""
    with pytest.raises(TermError, match="the term needs the posterior, and the inputs have none"):
        loss_of(None)
