"""Tests of distill.loss.terms.reconstruction, by hand."""

import math

import pytest
import torch

from distill.loss.terms.reconstruction import ReconstructionTerm
from distill.plugin.builtin_terms import ReconstructionConfig
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Signal

REPRESENTATION = MagnitudeIF(8000, n_fft=2, hop=1, floor=0.1)


def spectrogram(amplitudes, frequencies):
    """Make a spectrogram of one frame `[1, 2, 2, 1]` of the amplitude and the IF of its two bins."""
    magnitudes = [math.log(1 + amplitude / 0.1) for amplitude in amplitudes]
    return torch.tensor([magnitudes, frequencies])[None, :, :, None]


def parts_of(prediction, target, **options):
    """Compute the parts of the term on two spectrograms."""
    sides = (Signal.from_spectrogram(side, REPRESENTATION) for side in (prediction, target))
    inputs = LossInputs(**dict(zip(("prediction", "target"), sides, strict=True)))
    return ReconstructionTerm(ReconstructionConfig(**options))(inputs)


def values_of(*arguments, **options):
    """Return the parts as numbers."""
    return {name: part.item() for name, part in parts_of(*arguments, **options).items()}


def test_both_parts_by_hand():
    """Bins of amplitude 1 and 3 weigh 1/2 and 3/2, so that errors of 0.4 and 0.2 cost (0.2 + 0.3) / 2."""
    prediction, target = spectrogram([2.0, 3.0], [0.5, -0.3]), spectrogram([1.0, 3.0], [0.1, -0.1])
    expected = {"magnitude": math.log(21 / 11) / 2, "instantaneous_frequency": 0.25}
    assert values_of(prediction, target, magnitude_weight=1.0, if_weight=1.0) == pytest.approx(expected)
    weighted = {"magnitude": 3 * expected["magnitude"], "instantaneous_frequency": 0.5}
    assert values_of(prediction, target, magnitude_weight=3.0, if_weight=2.0) == pytest.approx(weighted)


def test_the_defaults_and_the_weight_of_the_term_left_out():
    """The IF counts a half; the term's own weight is the composer's to apply."""
    prediction, target = spectrogram([2.0, 3.0], [0.5, -0.3]), spectrogram([1.0, 3.0], [0.1, -0.1])
    expected = {"magnitude": math.log(21 / 11) / 2, "instantaneous_frequency": 0.125}
    assert values_of(prediction, target) == pytest.approx(expected)
    assert values_of(prediction, target, weight=7.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "target", "error"),
    [(1.5, -0.5, 0.0), (-0.95, 0.95, 0.1), (0.95, -0.95, 0.1), (0.9, -0.1, 1.0), (-3.7, 0.2, 0.1)],
)
def test_the_frequency_has_no_ends(prediction, target, error):
    """A whole turn costs nothing, and -0.95 is 0.1 from 0.95: 2 pi shifts do not count."""
    sides = spectrogram([1.0, 1.0], [prediction, 0.0]), spectrogram([1.0, 1.0], [target, 0.0])
    frequency = values_of(*sides, if_weight=1.0)["instantaneous_frequency"]
    assert frequency == pytest.approx(error / 2, abs=1e-6)


def test_the_gradient_goes_the_short_way_round():
    """A prediction of -0.95 falls, over the end, towards 0.95."""
    prediction = spectrogram([1.0, 1.0], [-0.95, 0.0]).requires_grad_()
    parts_of(prediction, spectrogram([1.0, 1.0], [0.95, 0.0]))["instantaneous_frequency"].backward()
    assert prediction.grad[0, 1, 0, 0] > 0


def test_the_weights_are_the_targets():
    """What is loud in the prediction alone does not count more, and gets no gradient from the weights."""
    target = spectrogram([1.0, 3.0], [0.1, 0.1])
    for amplitudes in ([1.0, 3.0], [100.0, 0.0]):
        prediction = spectrogram(amplitudes, [0.5, 0.1]).requires_grad_()
        part = parts_of(prediction, target, if_weight=1.0)["instantaneous_frequency"]
        part.backward()
        assert part.item() == pytest.approx(0.5 * 0.4 / 2)
        assert (prediction.grad[:, 0] == 0).all()


@pytest.mark.parametrize(("one", "other"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_silence_is_finite(one, other):
    """Silence on either side is finite, and a silent target has no frequency to compare."""
    prediction = spectrogram([one, one], [0.5, -0.5]).requires_grad_()
    parts = parts_of(prediction, spectrogram([other, other], [0.0, 0.0]))
    sum(parts.values()).backward()
    assert all(part.isfinite() for part in parts.values())
    assert prediction.grad.isfinite().all()
    assert (parts["instantaneous_frequency"] == 0) == (other == 0)
