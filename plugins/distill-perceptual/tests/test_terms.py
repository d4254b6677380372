"""Tests of the terms, through nothing but Distill's public names."""

import subprocess
import sys

import auraloss
import pytest
import torch
from hypothesis import given, settings, strategies as st

from distill import DistillError, LossInputs, MagnitudeIF, Registry, Signal, compose
from distill.testing import check_term
from distill_perceptual.views import AWeighted, KWeighted, SumDifference

REPRESENTATION = MagnitudeIF(sample_rate=22_050, n_fft=512, hop=128)
SIZES = {"fft_sizes": [512, 1024, 2048], "hop_sizes": [128, 256, 512], "win_lengths": [512, 1024, 2048]}


def signal(waveform):
    """Make one side of a comparison."""
    return Signal.from_waveform(waveform, REPRESENTATION)


def distance(term, prediction, target, **options):
    """Compare two waveforms with a term, composed as in anybody's training loop."""
    loss = compose(term, {f"{term}.{name}": value for name, value in options.items()})
    return loss(LossInputs(prediction=signal(prediction), target=signal(target)))["total"]


@pytest.fixture
def pair():
    """A prediction and a target, four clips of noise each."""
    generator = torch.Generator().manual_seed(0)
    target = 0.1 * torch.randn(4, 9000, generator=generator)
    return target + 0.03 * torch.randn(4, 9000, generator=generator), target


def test_the_entry_point_registers_the_terms():
    """The terms are found by name, with the distribution they came from."""
    chosen = Registry().choose("weighted_stft,loudness,sum_difference")
    assert {term.origin for term in chosen} == {"distill-perceptual 0.1.0"}


@pytest.mark.parametrize(
    ("term", "options"),
    [
        ("weighted_stft", {}),
        ("weighted_stft", {"weighting": "K", "per_example": True}),
        ("loudness", {}),
        ("loudness", {"block_ms": 10, "hop_ms": 15}),
        ("sum_difference", {}),
        ("sum_difference", {"weighting": "A"}),
    ],
)
def test_a_term_passes_every_check(term, options):
    """Each term passes every check that its spec does not waive."""
    check_term(*Registry().choose(term), **options)


def test_listing_the_terms_loads_no_torch():
    """Whoever only lists terms does not wait for torch."""
    code = "import sys, distill_perceptual as p; list(p.distill_loss_terms()); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # our own code
    assert run.stdout == "False\n"


@pytest.mark.parametrize(("weighting", "view"), [("A", AWeighted()), ("K", KWeighted())])
def test_weighted_stft_is_auraloss_of_the_weighted_waveforms(weighting, view, pair):
    """Value and gradient are those of auraloss's multi-resolution loss on what the view shows."""
    prediction, target = (side.clone().requires_grad_() for side in pair)
    result = distance("weighted_stft", prediction, target, weighting=weighting)
    (gradient,) = torch.autograd.grad(result, prediction)
    one, other = (signal(side).view(view)[:, None] for side in (prediction, target))
    expected = auraloss.freq.MultiResolutionSTFTLoss(**SIZES)(one, other)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected, prediction), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("weighting", "view"), [("none", SumDifference()), ("A", AWeighted(SumDifference()))]
)
def test_sum_difference_is_auraloss_of_both_channels(weighting, view, pair):
    """Value and gradient are auraloss's, with sum and difference as the channels of one sound."""
    prediction, target = (side.clone().requires_grad_() for side in pair)
    result = distance("sum_difference", prediction, target, weighting=weighting)
    (gradient,) = torch.autograd.grad(result, prediction)
    one, other = (signal(side).view(view).unflatten(0, (2, 2)) for side in (prediction, target))
    expected = auraloss.freq.MultiResolutionSTFTLoss(**SIZES)(one, other)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected, prediction), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("term", "rows"), [("weighted_stft", 1), ("sum_difference", 2)])
def test_per_example_is_the_mean_over_sounds(term, rows, pair):
    """With norms of its own each sound counts as if it were alone, a quiet one too."""
    prediction, target = (side * torch.tensor([[1.0], [1.0], [0.01], [0.01]]) for side in pair)
    whole = distance(term, prediction, target, per_example=True)
    alone = [
        distance(term, one, other)
        for one, other in zip(prediction.split(rows), target.split(rows), strict=True)
    ]
    torch.testing.assert_close(whole, torch.stack(alone).mean(), rtol=1e-5, atol=0)


def test_a_sound_folded_down_to_mono_is_told_from_its_stereo(pair):
    """The sum is the same, and the difference is gone."""
    left, right = pair[1][:1], pair[1][1:2]
    mono = torch.cat([left + right, left + right]) / 2
    assert distance("sum_difference", mono, torch.cat([left, right])) > 1


def test_a_mono_target_does_not_drown_the_sum(pair):
    """Between channels that are alike the slightest difference costs little, not thousands."""
    target = pair[1][:1].repeat(2, 1)
    prediction = target + torch.tensor([[1e-3], [-1e-3]]) * pair[0][:2]
    assert distance("sum_difference", prediction, target) < 3


@settings(deadline=None, max_examples=20)
@given(st.floats(-30, 30))
def test_a_gain_costs_its_decibels_in_loudness(gain_db):
    """Noise that is played louder is as much louder, in LU."""
    noise = 0.01 * torch.randn(2, 22_050, generator=torch.Generator().manual_seed(0))
    result = distance("loudness", noise * 10 ** (gain_db / 20), noise, weight=1.0, floor=-120)
    assert result.item() == pytest.approx(abs(gain_db), abs=0.02)


def test_loudness_does_not_tell_tones_of_one_loudness_apart():
    """Two tones of other frequencies and one loudness are alike, where a spectrum would be far apart."""
    time = torch.arange(22_050) / 22_050
    low, high = (torch.sin(2 * torch.pi * frequency * time)[None] for frequency in (500, 520))
    assert distance("loudness", low, high) < 0.05
    assert distance("weighted_stft", low, high) > 0.5


@pytest.mark.parametrize("term", ["weighted_stft", "loudness", "sum_difference"])
def test_silence_has_a_finite_gradient(term, pair):
    """Silence on either side breaks neither the value nor the gradient."""
    noise, silence = pair[1], torch.zeros_like(pair[1])
    for heard, target in ((silence, noise), (noise, silence), (silence, silence)):
        prediction = heard.clone().requires_grad_()
        total = distance(term, prediction, target)
        total.backward()
        assert total.isfinite()
        assert prediction.grad.isfinite().all()


def test_a_window_longer_than_the_fft_is_refused():
    """Resolutions are checked where they are set."""
    with pytest.raises(DistillError) as caught:
        compose("weighted_stft", {"weighted_stft.resolutions": [[512, 128, 600]]})
    assert str(caught.value) == (
        "loss.weighted_stft.resolutions: must be [FFT size, hop, window] each, the hop at least 1 and the "
        "window at most the FFT size, got [[512, 128, 600]]"
    )
