"""Distances over all bins equal their definitions."""

import math

import auraloss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import ShapeError
from distill.evaluation import is_silent, log_spectral_distance, multi_resolution_stft

HALF_IN_DECIBELS = 20 * math.log10(2)


def noise(*shape, seed=0):
    """Draw white noise of RMS 0.1."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_distance(reconstruction, original):
    """Compute the log-spectral distance of two 1-D signals of 2048 samples or more by numpy."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    magnitudes = []
    for signal in (reconstruction, original):
        padded = np.pad(signal.double().numpy(), 1024, mode="reflect")
        starts = range(0, len(padded) - 2047, 512)
        magnitudes.append(np.abs([np.fft.rfft(padded[start : start + 2048] * window) for start in starts]))
    floor = magnitudes[1].max() / 10_000
    first, second = (20 * np.log10(np.maximum(magnitude, floor)) for magnitude in magnitudes)
    return np.mean(np.sqrt(np.mean((first - second) ** 2, axis=1)))


def test_a_signal_is_at_no_distance_from_itself():
    """Both distances of each of many signals to itself are 0."""
    signals = noise(2, 3, 5000)
    assert torch.equal(log_spectral_distance(signals, signals), torch.zeros(2, 3))
    assert torch.equal(multi_resolution_stft(signals, signals), torch.zeros(2, 3))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_half_the_amplitude_is_six_decibels_away(factor):
    """Noise without a bin 74 dB under its peak is moved by 6.02 dB in every bin by halving or doubling."""
    signal = noise(8192)
    assert float(log_spectral_distance(factor * signal, signal)) == pytest.approx(HALF_IN_DECIBELS, abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(samples=st.integers(2048, 6000), seed=st.integers(0, 99), quiet=st.sampled_from([1.0, 1e-3, 1e-6]))
def test_log_spectral_distance_follows_its_definition(samples, seed, quiet):
    """The distance equals a numpy implementation, where the floor is in force and where it is not."""
    original = noise(samples, seed=seed)
    reconstruction = quiet * noise(samples, seed=seed + 1)
    expected = reference_distance(reconstruction, original)
    assert float(log_spectral_distance(reconstruction, original)) == pytest.approx(expected, abs=1e-3)


def test_the_floor_is_the_originals():
    """The distance is not symmetric: the floor comes from the original's peak alone."""
    loud, quiet = noise(4096), 1e-5 * noise(4096, seed=1)
    for reconstruction, original in ((loud, quiet), (quiet, loud)):
        expected = reference_distance(reconstruction, original)
        assert float(log_spectral_distance(reconstruction, original)) == pytest.approx(expected, abs=1e-3)
    assert log_spectral_distance(loud, quiet) > log_spectral_distance(quiet, loud) + 10


def test_the_floor_is_each_signals_own():
    """Beside a signal 100 dB louder, a quiet one has the distance that it has by itself."""
    originals = torch.stack([noise(4096), 1e-5 * noise(4096, seed=1)])
    reconstructions = torch.stack([noise(4096, seed=2), 1e-5 * noise(4096, seed=3)])
    together = log_spectral_distance(reconstructions, originals)
    apart = [log_spectral_distance(*pair) for pair in zip(reconstructions, originals, strict=True)]
    assert together.shape == (2,)
    torch.testing.assert_close(together, torch.stack(apart))
    assert together.max() < 10


def test_silence_is_at_no_distance_from_silence():
    """For a silent original, full scale stands in for the peak: what cannot be heard costs nothing."""
    original = torch.zeros(4096)
    assert is_silent(original)
    assert not is_silent(torch.full((4,), 2.0**-23))
    assert float(log_spectral_distance(original, original)) == 0
    assert float(log_spectral_distance(noise(4096) * 1e-5, original)) == 0
    impulse = torch.zeros(4096)
    impulse[2048] = 1.0
    # In 4 of 9 frames the impulse lies under the window: at 1/4 * 2, 3/4 * 2 and 1 of its height (a
    # quarter, half and three quarters of its length), each a flat spectrum, above a floor of 512 / 1e4.
    heights = [math.sin(math.pi * place / 4) ** 2 for place in (1, 2, 3)]
    expected = sum(20 * math.log10(height / 0.0512) for height in heights) / 9
    assert float(log_spectral_distance(impulse, original)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("samples", [2048, 3001])
def test_multi_resolution_stft_is_that_of_auraloss(samples):
    """Each signal's value equals auraloss 0.4.0's on that signal alone."""
    expected = auraloss.freq.MultiResolutionSTFTLoss([512, 1024, 2048], [128, 256, 512], [512, 1024, 2048])
    reconstruction, original = noise(2, 2, samples), noise(2, 2, samples, seed=1)
    original[1] *= 1e-2
    values = multi_resolution_stft(reconstruction, original)
    assert values.shape == (2, 2)
    for index in np.ndindex(2, 2):
        reference = expected(reconstruction[index][None, None], original[index][None, None])
        torch.testing.assert_close(values[index], reference, rtol=1e-5, atol=0)


@pytest.mark.parametrize("samples", [1, 300, 2047])
@pytest.mark.parametrize("metric", [log_spectral_distance, multi_resolution_stft])
def test_a_short_signal_is_padded_to_one_window(metric, samples):
    """A signal shorter than 2048 samples has the distance of the same followed by silence."""
    pair = noise(samples) + 0.1, noise(samples, seed=1)
    padded = [torch.nn.functional.pad(signal, (0, 2048 - samples)) for signal in pair]
    torch.testing.assert_close(metric(*pair), metric(*padded))


@pytest.mark.parametrize("metric", [log_spectral_distance, multi_resolution_stft])
def test_signals_of_two_shapes_are_refused(metric):
    """Two shapes are an error: nothing is broadcast."""
    with pytest.raises(ShapeError) as caught:
        metric(noise(1, 3000), noise(2, 3000))
    assert str(caught.value) == (
        "reconstruction and original must share the shape [..., N]: got [1, 3000] and [2, 3000]"
    )
