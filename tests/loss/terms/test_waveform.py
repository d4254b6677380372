"""Tests of distill.loss.terms.waveform, against auraloss."""

import pytest
import torch
from auraloss.freq import MultiResolutionSTFTLoss

from distill.errors import ShapeError
from distill.loss.terms.waveform import WaveformTerm
from distill.plugin.builtin_terms import WaveformConfig
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Signal

REPRESENTATION = MagnitudeIF(8000, 64, 16)
SIZES = {"fft_sizes": (64, 100), "hop_sizes": (16, 30), "win_lengths": (64, 70)}


def waveforms():
    """Return a prediction and a target `[2, 390]`."""
    return 0.1 * torch.randn(2, 2, 390, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[True, False], ids=["unshared", "shared"])
def last(request):
    """Compute every test straight from the samples, and from magnitudes that another term may share."""
    return request.param


def loss_of(prediction, target, last, **options):
    """Compute the term on a predicted signal and a target waveform."""
    target = Signal.from_waveform(target, REPRESENTATION)
    inputs = LossInputs(prediction=prediction, target=target, last=last).renewed()
    return WaveformTerm(WaveformConfig(**SIZES, **options))(inputs)


def auraloss_of(prediction, target):
    """Compute auraloss on two waveforms."""
    loss = MultiResolutionSTFTLoss(*SIZES.values())
    return loss(prediction.unsqueeze(1), target.unsqueeze(1))


def assert_equal(value, expected, source):
    """Compare values and gradients to 1e-5."""
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, source)
    (expected_gradient,) = torch.autograd.grad(expected, source)
    assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()


def test_it_equals_auraloss_on_the_waveforms(last):
    """Value and gradient equal auraloss's where the prediction is a waveform."""
    prediction, target = waveforms()
    prediction.requires_grad_()
    value = loss_of(Signal.from_waveform(prediction, REPRESENTATION), target, last)
    assert_equal(value, auraloss_of(prediction, target), prediction)


def test_it_equals_auraloss_through_the_inverse(last):
    """The value and the gradient at both channels of a predicted spectrogram equal auraloss's."""
    waveform, target = waveforms()
    prediction = REPRESENTATION(waveform).requires_grad_()
    value = loss_of(Signal.from_spectrogram(prediction, REPRESENTATION), target, last)
    assert_equal(value, auraloss_of(REPRESENTATION.inverse(prediction, 390), target), prediction)
    (gradient,) = torch.autograd.grad(
        loss_of(Signal.from_spectrogram(prediction, REPRESENTATION), target, last), prediction
    )
    assert (gradient.flatten(2).norm(dim=-1) > 0).all()


def test_the_per_example_option_reaches_the_formula(last):
    """The batch costs what its examples cost on average."""
    loudness = torch.tensor([1.0, 0.1])[:, None]
    prediction, target = (loudness * side for side in waveforms())
    value = loss_of(Signal.from_waveform(prediction, REPRESENTATION), target, last, per_example=True)
    each = [auraloss_of(prediction[[i]], target[[i]]).item() for i in range(2)]
    assert value.item() == pytest.approx(sum(each) / 2, rel=1e-5)


@pytest.mark.parametrize("engine", ["fast", "auraloss"])
def test_every_engine_equals_auraloss(last, engine):
    """Value and gradient equal auraloss's, whichever engine computes them."""
    prediction, target = waveforms()
    prediction.requires_grad_()
    value = loss_of(Signal.from_waveform(prediction, REPRESENTATION), target, last, engine=engine)
    assert_equal(value, auraloss_of(prediction, target), prediction)


@pytest.mark.parametrize(("share", "heard"), [(1.0, 4), (0.75, 3), (0.7, 3), (0.01, 1)])
def test_a_share_of_the_clips_is_heard(share, heard, last):
    """The first clips, rounded up, count, and the others get no gradient."""
    waveforms = 0.1 * torch.randn(2, 4, 390, generator=torch.Generator().manual_seed(0))
    prediction, target = waveforms[0].requires_grad_(), waveforms[1]
    value = loss_of(Signal.from_waveform(prediction, REPRESENTATION), target, last, share=share)
    assert_equal(value, auraloss_of(prediction[:heard], target[:heard]), prediction)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (0, 0)])
def test_silence_is_finite(one, other, last):
    """The value and the gradient are finite with silence on either side."""
    prediction, target = waveforms()
    spectrogram = REPRESENTATION(one * prediction).requires_grad_()
    value = loss_of(Signal.from_spectrogram(spectrogram, REPRESENTATION), other * target, last)
    value.backward()
    assert value.isfinite()
    assert spectrogram.grad.isfinite().all()


def test_waveforms_of_two_lengths_are_refused(last):
    """Two lengths are an error, even where they have as many frames."""
    prediction, target = waveforms()
    with pytest.raises(ShapeError) as caught:
        loss_of(Signal.from_waveform(prediction[:, :-1], REPRESENTATION), target, last)
    assert str(caught.value) == "Waveform(): prediction and target differ in shape: [2, 389] and [2, 390]"
