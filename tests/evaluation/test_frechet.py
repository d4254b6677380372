"""Tests of distill.evaluation.frechet: the distance against SciPy and by hand, and its features."""

import numpy as np
import pytest
import torch
from scipy.fft import dct
from scipy.linalg import sqrtm

from distill.evaluation import FrechetDistance, evaluate, frechet_distance
from distill.evaluation.hearing import mel_filterbank

RATE = 44_100
FRAMES = 450


def noise(seed=0, frames=FRAMES):
    """Draw white noise of as many frames and one, of which the first is not counted."""
    return 0.1 * torch.randn(512 * frames, generator=torch.Generator().manual_seed(seed))


def distance(*pairs):
    """Measure pairs of reconstruction and original."""
    found = FrechetDistance()
    for made, original in pairs:
        found.add(made, original, RATE)
    return found


def test_the_formula_is_that_of_its_authors():
    """The distance equals the published formula in SciPy, also with a singular covariance."""
    random = np.random.default_rng(0)
    for rank in (5, 2):
        first, second = (random.normal(0, 1, (rows, 5)) for rows in (rank, 8))
        means = random.normal(0, 1, (2, 5))
        covariances = first.T @ first, second.T @ second
        root = sqrtm(covariances[0] @ covariances[1]).real
        square = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
        parts = [torch.from_numpy(part) for part in (means[0], covariances[0], means[1], covariances[1])]
        assert frechet_distance(*parts) == pytest.approx(np.sqrt(square), rel=1e-4)


def test_one_dimension_by_hand():
    """Means 3 apart and standard deviations 4 apart are 5 apart."""
    parts = [torch.tensor(value, dtype=torch.float64) for value in ([1.0], [[4.0]], [4.0], [[36.0]])]
    assert frechet_distance(*parts) == pytest.approx(5)


def test_it_is_in_decibels():
    """A change of all bands by 6.02 dB is 6.02 apart, and the same sounds in another order are 0 apart."""
    sounds = noise(), noise(1)
    assert distance((sounds[0] / 2, sounds[0])).value == pytest.approx(20 * np.log10(2), abs=1e-6)
    assert distance((sounds[0], sounds[1]), (sounds[1], sounds[0])).value == pytest.approx(0, abs=0.05)
    assert distance((sounds[0], sounds[0])).value == pytest.approx(0, abs=1e-4)


def test_the_features_are_cepstra_and_their_differences():
    """The features equal cepstra by NumPy and SciPy, floored 80 dB below the original's loudest band."""
    original, made = noise(), noise(2) * torch.linspace(1, 1e-6, 512 * FRAMES)
    weights = mel_filterbank(RATE, 2048, 80).numpy()
    window = np.sin(np.pi * np.arange(2048) / 2048) ** 2
    powers = []
    for signal in (made, original):
        padded = np.pad(signal.double().numpy(), 1024)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::512] * window
        powers.append(np.abs(np.fft.rfft(frames)) ** 2 @ weights.T)
    gaussians = []
    for power in powers:
        levels = 10 * np.log10(np.maximum(power, 1e-8 * powers[1].max()))
        cepstra = dct(levels, norm="ortho")[:, :20] / np.sqrt(80)
        features = np.concatenate([cepstra[1:], np.diff(cepstra, axis=0)], axis=1)
        gaussians += [features.mean(axis=0), np.cov(features.T, bias=True)]
    expected = frechet_distance(*map(torch.from_numpy, gaussians))
    found = distance((made, original))
    assert found.frames == FRAMES
    assert found.value == pytest.approx(expected, rel=1e-6)


def test_few_frames_have_no_distance():
    """A distance needs 400 frames, counted over all channels and recordings that are not silent."""
    assert distance((noise(frames=399), noise(frames=399))).value is None
    silence = torch.zeros(512 * 200)
    sounds = [
        ("stereo", noise(frames=200).view(2, -1)),
        ("left", torch.stack([noise(3, frames=200), silence])),
        ("silent", silence[None]),
    ]
    found = evaluate(lambda x: x / 2, sounds, sample_rate=RATE)
    assert (found.frechet, found.frechet_frames) == (pytest.approx(20 * np.log10(2)), 400)
    broken = evaluate(lambda x: x / 0, sounds, sample_rate=RATE)
    assert (broken.frechet, broken.frechet_frames) == (None, 0)
