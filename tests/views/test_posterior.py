"""Tests of distill.views.posterior: a Gaussian of the same examples, nothing that is only of its shape."""

import pytest
import torch

from distill.errors import InputError, ShapeError
from distill.functional import kl_divergence
from distill.loss.composing import compose
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Posterior, Signal

REPRESENTATION = MagnitudeIF(8000, 64, 16)


def inputs(posterior, examples=2, samples=400):
    """Make inputs of silence: by default two examples of 26 frames."""
    silence = Signal.from_waveform(torch.zeros(examples, samples), REPRESENTATION)
    return LossInputs(prediction=silence, target=silence, posterior=posterior)


def gaussian(*shape, **others):
    """Make a posterior of a shape."""
    mu = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return Posterior(mu=mu, logvar=0.1 * mu, **others)


def refused(kind, call, *arguments, **options):
    """Return the message of the error that a call raises."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_codes_are_no_posterior():
    """Integers have no mean, so that they are refused as parameters and in place of a posterior."""
    codes = torch.zeros(2, 8, dtype=torch.int64)
    assert refused(InputError, Posterior, mu=codes, logvar=codes) == (
        "Posterior: mu and logvar must be floating-point tensors: got torch.int64\n"
        "Codes of a quantizer have no mean and no variance: leave out terms of the posterior, and "
        'pass them to a term that uses them: LossInputs(..., extras={"codes": codes}).'
    )
    assert refused(InputError, inputs, codes) == (
        "LossInputs: the posterior must be a Posterior(mu=mu, logvar=logvar) or None: "
        "got a torch.int64 tensor\n"
        "Pass other inputs of terms, such as codes of a quantizer, as "
        'LossInputs(..., extras={"codes": codes}).'
    )
    assert "floating-point tensors: got float" in refused(InputError, Posterior, mu=0.0, logvar=0.0)


@pytest.mark.parametrize(("shape", "examples"), [((3, 8), 2), ((1, 8, 5), 2), ((2, 8), 1)])
def test_a_posterior_of_other_examples_is_refused(shape, examples):
    """The message shows the number of examples of the posterior and that of the sounds."""
    assert refused(ShapeError, inputs, gaussian(*shape), examples) == (
        f"LossInputs: the posterior has {shape[0]} examples, and the sounds have {examples}: "
        f"mu is {list(shape)}\n"
        "Pass mu and logvar of the same examples, [B, D] or [B, D, T']."
    )


def test_time_before_latents_is_refused():
    """A posterior of more latent frames than the sounds have frames is refused as transposed."""
    assert refused(ShapeError, inputs, gaussian(2, 20, 64)) == (
        "LossInputs: the posterior [2, 20, 64], read as [B, D, T'], has 64 latent frames, "
        "where the sounds have 26 frames\n"
        'Pass Posterior(..., layout="BTD") if it is [B, T\', D], layout="BDT" if it is right.'
    )


@pytest.mark.parametrize(
    "posterior",
    [gaussian(2, 64, 20), gaussian(2, 64), gaussian(2, 27, 64), gaussian(2, 20, 64, layout="BDT")],
)
def test_what_may_be_right_is_taken(posterior):
    """A posterior is accepted in each unusual shape that may be right, or is said to be right."""
    assert torch.equal(inputs(posterior).posterior.mu, posterior.mu)


def test_the_layout_of_sequence_models_is_transposed():
    """A divergence sums over D and averages over T', whichever comes first."""
    given, turned = gaussian(2, 20, 64, layout="BTD"), gaussian(2, 20, 64)
    expected = kl_divergence(turned.mu.mT, turned.logvar.mT)
    assert given.mu.shape == given.logvar.shape == (2, 64, 20)
    value = compose("kl", {"kl.free_bits": 0.0})(inputs(given))["kl"]
    assert value.item() == pytest.approx(expected.item())
    for again in (given.detached(), inputs(given).detached().posterior, inputs(given).first(1).posterior):
        assert again.mu.shape[1:] == (64, 20)


def test_an_unknown_layout_is_refused():
    """A layout other than the two known ones is an error."""
    with pytest.raises(ValueError, match="'layout' must be in"):
        gaussian(2, 3, 4, layout="TBD")
