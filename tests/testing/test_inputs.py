"""Tests of distill.testing.inputs: sounds, predictions and posteriors made for tests."""

import pytest
import torch

from distill import MagnitudeIF, compose
from distill.errors import TermError
from distill.testing import loss_inputs, varied_loss_inputs
from distill.views import LogMagnitude, Spectrogram, Waveform


def test_shapes_follow_the_arguments():
    """Batch size, samples, representation and latents are those asked for."""
    representation = MagnitudeIF(16_000, n_fft=128, hop=32)
    inputs = loss_inputs(batch=3, samples=1000, representation=representation, latents=(4, 2), progress=0.25)
    assert [list(side.shape) for side in inputs.view(Waveform())] == [[3, 1000]] * 2
    assert [list(side.shape) for side in inputs.view(Spectrogram())] == [[3, 2, 65, 33]] * 2
    assert inputs.posterior.mu.shape == inputs.posterior.logvar.shape == (3, 4, 2)
    assert inputs.progress == 0.25


@pytest.mark.parametrize(("kind", "ndim"), [("spectrogram", 4), ("waveform", 2)])
def test_the_prediction_is_what_it_is_made_of(kind, ndim):
    """The prediction has one source, a leaf with a gradient, as has the posterior; the target has none."""
    inputs = loss_inputs(prediction=kind)
    (source,) = inputs.prediction.sources
    leaves = [source, inputs.posterior.mu, inputs.posterior.logvar]
    assert source.ndim == ndim
    assert all(leaf.is_leaf and leaf.requires_grad for leaf in leaves)
    assert not any(source.requires_grad for source in inputs.target.sources)
    compose("recon,kl")(inputs)["total"].backward()
    assert all(leaf.grad is not None for leaf in leaves)


def test_the_posterior_may_be_left_out():
    """Inputs can be made without a posterior, as a training loop without one needs."""
    with pytest.raises(TermError, match="needs the posterior"):
        _ = loss_inputs(latents=None).posterior


def test_the_prediction_is_near_the_target():
    """The prediction is nearer to the target than another sound is, but not equal to it."""
    prediction, target = loss_inputs(prediction="waveform").view(Waveform())
    near = (prediction - target).norm() / target.norm()
    other = loss_inputs(prediction="waveform", seed=1).target.view(Waveform())
    assert 0.1 < near < 0.9 < (other - target).norm() / target.norm()
    # The energy of a decay goes with its length, which is 1 / 1.2.
    assert (prediction.norm() / target.norm()).item() == pytest.approx(0.8 / 1.2**0.5, abs=0.06)


@pytest.mark.parametrize("kind", ["spectrogram", "waveform"])
def test_equal_means_equal_in_every_view(kind):
    """Equal inputs are equal in each view, not only up to rounding errors."""
    inputs = loss_inputs(prediction=kind, equal=True)
    for view in (Waveform(), Spectrogram(), LogMagnitude()):
        assert torch.equal(*inputs.view(view))


def test_sounds_have_a_pitch_and_decay():
    """Most of the energy of a sound is in few bins and early, unlike that of noise."""
    waveform = loss_inputs(seed=3).target.view(Waveform())
    energy = torch.fft.rfft(waveform).abs().square().sort(descending=True).values
    assert (energy[:, :100].sum(-1) / energy.sum(-1)).min() > 0.9
    early, late = waveform.square().chunk(2, dim=-1)
    assert (early.sum(-1) > 2 * late.sum(-1)).all()
    assert waveform.abs().max() < 1


def test_a_seed_makes_the_sounds():
    """A seed always makes the same sounds, another seed others; the global generator is left alone."""
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, same, other = (loss_inputs(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    for view in (Waveform(), Spectrogram()):
        assert torch.equal(one.prediction.view(view), same.prediction.view(view))
        assert not torch.equal(one.target.view(view), other.target.view(view))


def test_several_shapes():
    """The inputs cover both kinds of prediction, both posterior shapes, several batch sizes and steps."""
    made = dict(varied_loss_inputs())
    assert {inputs.prediction.sources[0].ndim for inputs in made.values()} == {2, 4}
    assert {inputs.posterior.mu.ndim for inputs in made.values()} == {2, 3}
    assert {inputs.batch_size for inputs in made.values()} == {1, 2, 3}
    assert {inputs.progress for inputs in made.values()} == {0.5, 1.0}
    for inputs in made.values():
        assert compose("stft,recon,kl,waveform")(inputs)["total"].isfinite()
