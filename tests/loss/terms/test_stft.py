"""Tests of distill.loss.terms.stft, against auraloss."""

import pytest
import torch
from attrs import evolve
from auraloss.freq import MultiResolutionSTFTLoss

from distill.loss.terms.stft import StftTerm
from distill.plugin.builtin_terms import StftConfig
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Signal

REPRESENTATION = MagnitudeIF(8000, 64, 16)
CONFIG = StftConfig(fft_sizes=(64, 100), hop_sizes=(16, 30), win_lengths=(64, 70))


def spectrograms():
    """Return a prediction and a target `[2, 2, 33, 26]`."""
    waveforms = 0.1 * torch.randn(2, 2, 400, generator=torch.Generator().manual_seed(0))
    return [REPRESENTATION(waveform) for waveform in waveforms]


def loss_of(prediction, target, config=CONFIG):
    """Compute the term on two spectrograms."""
    sides = (Signal.from_spectrogram(side, REPRESENTATION) for side in (prediction, target))
    return StftTerm(config)(LossInputs(**dict(zip(("prediction", "target"), sides, strict=True))))


def auraloss_of(prediction, target):
    """Compute auraloss on the log-magnitudes, each read as a signal bin by bin."""
    loss = MultiResolutionSTFTLoss(CONFIG.fft_sizes, CONFIG.hop_sizes, CONFIG.win_lengths)
    return loss(*(side[:, 0].reshape(len(side), 1, -1) for side in (prediction, target)))


def test_it_equals_auraloss_on_the_flattened_magnitude():
    """Value and gradient equal auraloss to 1e-5; the channel of the IF has no gradient."""
    prediction, target = spectrograms()
    prediction.requires_grad_()
    value, expected = loss_of(prediction, target), auraloss_of(prediction, target)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, prediction)
    (expected_gradient,) = torch.autograd.grad(expected, prediction)
    assert (gradient - expected_gradient).norm() <= 1e-5 * expected_gradient.norm()
    assert (gradient[:, 1] == 0).all()


def test_prediction_and_target_are_not_exchanged():
    """Spectral convergence is not symmetric: it divides by the target's norm."""
    prediction, target = spectrograms()
    target = target * 0.5
    assert loss_of(prediction, target).item() == pytest.approx(
        auraloss_of(prediction, target).item(), rel=1e-5
    )
    assert auraloss_of(prediction, target) > 1.2 * auraloss_of(target, prediction)


def test_the_per_example_option_reaches_the_formula():
    """The batch costs what its examples cost on average."""
    prediction, target = spectrograms()
    prediction, target = (
        side * torch.tensor([1.0, 0.1])[:, None, None, None] for side in (prediction, target)
    )
    per_example = StftConfig(
        fft_sizes=CONFIG.fft_sizes,
        hop_sizes=CONFIG.hop_sizes,
        win_lengths=CONFIG.win_lengths,
        per_example=True,
    )
    each = [auraloss_of(prediction[[i]], target[[i]]).item() for i in range(2)]
    assert loss_of(prediction, target, per_example).item() == pytest.approx(sum(each) / 2, rel=1e-5)


def test_the_engine_reaches_the_formula():
    """By auraloss's modules the value is auraloss's to the last bit, and the engine has it to 1e-5."""
    prediction, target = spectrograms()
    by_auraloss = loss_of(prediction, target, evolve(CONFIG, engine="auraloss"))
    assert by_auraloss.item() == pytest.approx(auraloss_of(prediction, target).item(), rel=1e-6)
    fast = loss_of(prediction, target, evolve(CONFIG, engine="fast"))
    assert fast == loss_of(prediction, target)
    assert fast.item() == pytest.approx(by_auraloss.item(), rel=1e-5)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (0, 0)])
def test_silence_is_finite(one, other):
    """The value and the gradient are finite with silence on either side."""
    prediction, target = spectrograms()
    prediction = (one * prediction).requires_grad_()
    value = loss_of(prediction, other * target)
    value.backward()
    assert value.isfinite()
    assert prediction.grad.isfinite().all()
