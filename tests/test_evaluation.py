"""The metrics equal their definitions, and nothing is averaged away in silence."""

import json
import math

import attrs
import auraloss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import ShapeError
from distill.evaluation import (
    Metrics,
    evaluate,
    is_silent,
    level_difference,
    log_spectral_distance,
    multi_resolution_stft,
    si_sdr,
    signal_to_noise,
    silence,
)

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
    """Nothing is broadcast."""
    with pytest.raises(ShapeError) as caught:
        metric(noise(1, 3000), noise(2, 3000))
    assert str(caught.value) == (
        "reconstruction and original must share the shape [..., N]: got [1, 3000] and [2, 3000]"
    )


def test_ratios_follow_their_definitions():
    """SNR, SI-SDR and level difference of signals made of orthogonal parts, computed by hand."""
    original = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    error = torch.tensor([[0.1, -0.1, 0.1, -0.1]])
    assert float(signal_to_noise(original + error, original)) == pytest.approx(20, abs=1e-5)
    assert float(signal_to_noise(original / 2, original)) == pytest.approx(HALF_IN_DECIBELS)
    assert float(si_sdr(3 * (original + error), original)) == pytest.approx(20, abs=1e-5)
    assert float(level_difference(original / 2, original)) == pytest.approx(-HALF_IN_DECIBELS)


def test_ratios_are_bounded():
    """A perfect reconstruction gives 200 dB, a silent or unrelated one -200 dB, and none an infinity."""
    original = torch.tensor([1.0, 1.0])
    assert signal_to_noise(original, original) == 200
    assert si_sdr(original, original) == 200
    assert si_sdr(torch.zeros(2), original) == -200
    assert si_sdr(torch.tensor([1.0, -1.0]), original) == -200
    assert level_difference(torch.zeros(2), original) == -200
    assert signal_to_noise(torch.zeros(2), original) == 0


def test_evaluation_averages_channels_then_recordings():
    """A recording of two channels counts as much as one of one; the peak is the greatest of all."""
    one, two = noise(1, 4096), noise(2, 4096, seed=1)
    factors = {"one": torch.tensor([[0.5]]), "two": torch.tensor([[1.0], [0.25]])}

    def reconstruct(waveform):
        return waveform * factors["one" if len(waveform) == 1 else "two"]

    evaluation = evaluate(reconstruct, [("one", one), ("two", two)])
    first, second = (result.metrics for result in evaluation.results)
    assert [result.name for result in evaluation.results] == ["one", "two"]
    assert first.level_difference == pytest.approx(-HALF_IN_DECIBELS)
    assert second.level_difference == pytest.approx(-HALF_IN_DECIBELS)
    assert first.log_spectral_distance == pytest.approx(HALF_IN_DECIBELS, abs=1e-2)
    assert second.log_spectral_distance == pytest.approx((0 + 2 * HALF_IN_DECIBELS) / 2, abs=1e-2)
    assert first.snr == pytest.approx(HALF_IN_DECIBELS)
    assert second.snr == pytest.approx((200 + 20 * math.log10(4 / 3)) / 2)
    assert first.peak == pytest.approx(float(one.abs().max()) / 2)
    assert second.peak == pytest.approx(max(float(two[0].abs().max()), float(two[1].abs().max()) / 4))
    for name in attrs.fields_dict(Metrics).keys() - {"terms"}:
        values = getattr(first, name), getattr(second, name)
        expected = max(values) if name == "peak" else sum(values) / 2
        assert getattr(evaluation.mean, name) == pytest.approx(expected)


def test_a_reconstruction_that_is_not_finite_is_listed():
    """NaN in one recording leaves it out of the mean, which says so, and spoils no other."""

    def reconstruct(waveform):
        return waveform / 2 if len(waveform) == 1 else torch.full_like(waveform, float("nan"))

    evaluation = evaluate(reconstruct, [("good", noise(1, 4096)), ("bad", noise(2, 4096))])
    bad = evaluation.results[1]
    assert (bad.metrics, bad.left_out) == (None, "the reconstruction is not finite")
    assert evaluation.left_out == (bad,)
    assert evaluation.mean == evaluation.results[0].metrics
    data = evaluation.as_json()
    assert (data["measured"], data["left_out"]) == (1, 1)
    assert data["recordings"][1] == {
        "name": "bad",
        "metrics": None,
        "left_out": "the reconstruction is not finite",
    }


@pytest.mark.parametrize(
    ("value", "level"), [(float("inf"), 0.0), (float("nan"), 0.0), (float("nan"), 1.0), (3e38, 1.0)]
)
def test_one_sample_that_is_not_finite_is_enough(value, level):
    """A bad sample is found where the original is silent too, and one that overflows the spectrum."""
    recording = level * noise(1, 4096)
    reconstruction = recording.clone()
    reconstruction[:, 7] = value
    evaluation = evaluate(lambda _: reconstruction, [("a", recording)])
    assert evaluation.results[0].left_out == "the reconstruction is not finite"
    assert evaluation.mean is None


def test_silent_channels_are_not_averaged():
    """A recording counts by the channels that sound; one that is silent throughout is listed."""
    sounding = noise(1, 4096)
    half_silent = torch.cat([sounding, torch.zeros(1, 4096)])
    recordings = [("mono", sounding), ("left", half_silent), ("silent", torch.zeros(1, 4096))]
    mono, left, silent = evaluate(lambda waveform: waveform / 2, recordings).results
    assert left.metrics == mono.metrics
    assert (silent.metrics, silent.left_out) == (None, "the recording is silent")


def test_a_reconstruction_of_another_shape_is_refused():
    """A reconstruction one sample short is an error that names the recording."""
    with pytest.raises(ShapeError) as caught:
        evaluate(lambda waveform: waveform[:, 1:], [("bell.wav", noise(2, 3000))])
    assert str(caught.value) == "bell.wav: the reconstruction must have the shape [2, 3000]: got [2, 2999]"


def test_an_evaluation_is_plain_json():
    """The data survives strict JSON, and nothing at all has no mean."""
    evaluation = evaluate(silence, [("a", noise(2, 3000))])
    data = json.loads(json.dumps(evaluation.as_json(), allow_nan=False))
    assert data == evaluation.as_json()
    assert data["mean"] == attrs.asdict(evaluation.mean)
    assert data["recordings"][0]["metrics"]["level_difference"] == -200
    assert evaluate(silence, []).as_json() == {"mean": None, "measured": 0, "left_out": 0, "recordings": []}


def test_no_gradient_is_kept():
    """A model is evaluated without building a graph."""
    weight = torch.ones(1, requires_grad=True)
    seen = []

    def reconstruct(waveform):
        seen.append((waveform * weight).requires_grad)
        return waveform

    evaluate(reconstruct, [("a", noise(1, 3000))])
    assert seen == [False]
