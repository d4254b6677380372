"""Tests of the plugin. Expected values are those of librosa 0.11.0, or worked out by hand.

The distances are what this gives, summed over DAC's scales, with S = librosa.feature.melspectrogram(
y=sound, sr=rate, n_fft=w, hop_length=w // 4, power=1.0, n_mels=m, pad_mode="reflect") of both sounds:
abs(log10(maximum(S1, 1e-5)) - log10(maximum(S2, 1e-5))).mean()
"""

import math

import pytest
import torch
from hypothesis import given, strategies as st

import distill_mel
from distill import DistillError, LossInputs, MagnitudeIF, Signal, compose
from distill.testing import check_term, registry_with
from distill.views import Stft, StftMagnitude
from distill_mel import MelConfig, filterbank
from distill_mel.views import MelSpectrogram

SAMPLES = 6000


@pytest.fixture(scope="module")
def registry():
    """Return the built-in terms and this plugin's."""
    return registry_with(distill_mel)


@pytest.fixture
def distance(registry):
    """Return the function that compares two waveforms `[B, N]` at a sample rate with the term."""

    def compare(prediction, target, rate=44_100, **options):
        loss = compose("mel", {f"mel.{name}": value for name, value in options.items()}, registry=registry)
        representation = MagnitudeIF(rate, 256, 64)
        sides = {"prediction": prediction, "target": target}
        signals = {side: Signal.from_waveform(wave, representation) for side, wave in sides.items()}
        return loss(LossInputs(**signals))["mel"]

    return compare


def sweep(rate):
    """Rise from 100 Hz to 0.45 of the rate: `[1, N]`."""
    time, seconds, highest = torch.arange(SAMPLES, dtype=torch.float64) / rate, SAMPLES / rate, 0.45 * rate
    turns = 100 * time + (highest - 100) * time**2 / (2 * seconds)
    return 0.5 * torch.sin(2 * math.pi * turns).float()[None]


def hum(rate):
    """Return five harmonics of 220 Hz: `[1, N]`."""
    time = torch.arange(SAMPLES, dtype=torch.float64) / rate
    return sum(0.3 / k * torch.sin(2 * math.pi * 220 * k * time) for k in range(1, 6)).float()[None]


def test_the_term_passes_the_kit(registry):
    """The term passes all checks of `distill.testing`, none of them waived."""
    check_term(registry.choose("mel")[0])


@pytest.mark.parametrize(("rate", "expected"), [(44_100, 10.4594723), (22_050, 11.5085935)])
def test_the_distance_is_that_of_dac(distance, rate, expected):
    """Two sounds differ by what DAC's formula gives over librosa's mel spectrograms."""
    assert distance(sweep(rate), hum(rate), rate).item() == pytest.approx(expected, rel=1e-4)


def test_the_floor_levels_what_lies_below_it(distance):
    """Where the clamp holds, half the amplitude costs less than log10(2) per scale, as in DAC."""
    assert distance(hum(44_100), 0.5 * hum(44_100)).item() == pytest.approx(1.1617176, rel=1e-4)


def test_without_a_floor_in_reach_a_gain_costs_its_logarithm(distance):
    """Ten times the amplitude costs 1 at each scale."""
    noise = torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))
    assert distance(10 * noise, noise, floor=1e-12).item() == pytest.approx(7, rel=1e-4)


def test_the_scale_is_slaneys():
    """The edges of five bands up to 11025 Hz, and mels of some frequencies, are librosa's."""
    expected = [0, 554.56216089, 1119.11407321, 1982.6699184, 3512.58204988, 6223.03921729, 11_025]
    assert filterbank.edges(5, 0, 11_025) == pytest.approx(expected)
    assert [filterbank.mel_of(hz) for hz in (60, 1000, 6400, 4321)] == pytest.approx(
        [0.9, 15, 42, 36.28653123]
    )


@given(st.floats(0, 48_000))
def test_the_scale_goes_both_ways(hz):
    """A frequency comes back from its mel."""
    assert filterbank.hz_of(filterbank.mel_of(hz)) == pytest.approx(hz, rel=1e-9, abs=1e-9)


def test_the_filterbank_is_librosas():
    """Weights, sums and supports of 20 filters at 22050 Hz are librosa's, with its norm."""
    weights = filterbank.mel_filterbank(20, 512, 22_050, 0.0, 11_025.0)
    chosen = [weights[0, 2], weights[7, 27], weights[13, 71], weights[19, 186]]
    expected = [0.003430869906772, 0.001016593518453, 0.000244547145145, 2.71290910662e-05]
    assert torch.stack(chosen).tolist() == pytest.approx(expected, rel=1e-4)
    assert weights.sum(1)[[0, 9, 19]].tolist() == pytest.approx([0.02304332, 0.02311885, 0.02321783])
    supports = [7, 8, 7, 7, 8, 7, 8, 11, 12, 13, 16, 20, 23, 27, 32, 37, 43, 51, 61, 71]
    assert (weights > 0).sum(1).tolist() == supports


def test_bands_may_be_confined():
    """The weights of 6 filters from 300 to 5000 Hz are librosa's."""
    weights = filterbank.mel_filterbank(6, 256, 16_000, 300.0, 5000.0)
    assert weights.argmax(1).tolist() == [10, 15, 21, 30, 41, 57]
    assert weights.sum().item() == pytest.approx(0.09603917603)


@pytest.mark.parametrize(
    ("rate", "n_mels", "n_fft", "expected"),
    [
        (44_100, 5, 32, 0),
        (48_000, 4, 32, 0),
        (48_000, 5, 32, 1),
        (48_000, 10, 64, 1),
        (44_100, 128, 512, 11),
        (96_000, 320, 2048, 31),
        (8000, 60, 64, 13),
    ],
)
def test_empty_filters_are_counted(rate, n_mels, n_fft, expected):
    """The count of empty filters is the number of rows without weight in librosa's matrix."""
    assert filterbank.empty_filters(n_mels, n_fft, rate, 0.0, rate / 2) == expected


@given(
    n_mels=st.integers(1, 200),
    n_fft=st.sampled_from([32, 100, 256, 1024]),
    rate=st.sampled_from([8000, 22_050, 44_100, 96_000]),
    low=st.floats(0, 1000),
    high=st.floats(1500, 4000),
)
def test_a_filter_that_is_not_counted_as_empty_has_weight(n_mels, n_fft, rate, low, high):
    """The count, made without a matrix, is that of the matrix's rows of zeros."""
    rows = filterbank.mel_filterbank(n_mels, n_fft, rate, low, high).amax(1)
    assert (rows < 1e-8).sum() == filterbank.empty_filters(n_mels, n_fft, rate, low, high)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 32_000, 44_100])
def test_the_scales_of_dac_can_be_built_at_usual_rates(distance, rate):
    """No filter is empty up to 44.1 kHz."""
    assert distance(hum(rate), hum(rate), rate) == 0


def test_empty_filters_are_refused_for_all_scales_at_once(distance):
    """At 48 kHz two scales of DAC have them; the options that the message gives are accepted."""
    with pytest.raises(DistillError) as caught:
        distance(hum(48_000), hum(48_000), 48_000)
    assert str(caught.value) == (
        "loss.mel: mel filters would be empty at 48000 Hz, without a bin of the STFT: "
        "1 of 5 with window 32, 1 of 10 with window 64\n"
        "Set loss.mel.n_mels=[4, 9, 20, 40, 80, 160, 320], the largest without empty filters."
    )
    assert distance(hum(48_000), hum(48_000), 48_000, n_mels=[4, 9, 20, 40, 80, 160, 320]) == 0


def test_a_window_that_no_filter_fits_is_named(distance):
    """The message names a scale whose window is too short for every filter."""
    with pytest.raises(DistillError) as caught:
        distance(hum(8000), hum(8000), 8000, n_mels=[2, 3], windows=[16, 256], f_min=100.0, f_max=400.0)
    assert str(caught.value) == (
        "loss.mel: mel filters would be empty at 8000 Hz, without a bin of the STFT: "
        "2 of 2 with window 16\n"
        "Set loss.mel.n_mels=[0, 3], the largest without empty filters, and leave out 0 with its window."
    )


def test_a_view_refuses_empty_filters_too():
    """Whoever uses the view without the term gets a message of its own."""
    view = MelSpectrogram(n_mels=128, n_fft=512, hop=128)
    signal = Signal.from_waveform(hum(44_100), MagnitudeIF(44_100, 256, 64))
    with pytest.raises(DistillError) as caught:
        signal.view(view)
    assert str(caught.value) == (
        "MelSpectrogram(n_mels=128, n_fft=512, hop=128, f_min=0.0, f_max=None): 11 of 128 mel filters would "
        "be empty at 44100 Hz: an STFT of 512 samples has no bin in them\n"
        "Take at most 91 of them, or a longer window."
    )


def test_bands_above_half_the_sample_rate_are_refused(distance):
    """Bands above half the sample rate are refused."""
    with pytest.raises(DistillError) as caught:
        distance(hum(8000), hum(8000), 8000, n_mels=[20], windows=[512], f_max=8000.0)
    assert str(caught.value) == (
        "MelSpectrogram(n_mels=20, n_fft=512, hop=128, f_min=0.0, f_max=8000.0): "
        "f_max is 8000 Hz, above half the sample rate of 8000 Hz\n"
        "Lower it, or leave it out."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mel.n_mels": [5, 10], "mel.windows": [32, 64, 128]},
            "loss.mel.windows: must be one for each of n_mels [5, 10], got [32, 64, 128]",
        ),
        ({"mel.n_mels": [], "mel.windows": []}, "loss.mel.n_mels: must be of length >= 1, got []"),
        ({"mel.n_mels": [0], "mel.windows": [64]}, "loss.mel.n_mels[0]: must be >= 1, got 0"),
        ({"mel.n_mels": [5], "mel.windows": [2]}, "loss.mel.windows[0]: must be >= 4, got 2"),
        (
            {"mel.f_min": 500.0, "mel.f_max": 400.0},
            "loss.mel.f_max: must be above f_min 500.0 and finite, got 400.0",
        ),
        ({"mel.floor": 0.0}, "loss.mel.floor: must be > 0, got 0.0"),
    ],
)
def test_options_that_do_not_fit_are_refused(registry, options, message):
    """Options that do not fit are refused under their address, before anything is built."""
    with pytest.raises(DistillError) as caught:
        compose("mel", options, registry=registry)
    assert str(caught.value) == message


def test_transforms_are_shared():
    """A mel spectrogram is made of the magnitudes that other terms look at."""
    signal = Signal.from_waveform(hum(8000), MagnitudeIF(8000, 256, 64))
    mel = signal.view(MelSpectrogram(n_mels=8, n_fft=256, hop=64))
    assert signal.holds(StftMagnitude(n_fft=256, hop=64))
    assert mel.shape == (1, 8, SAMPLES // 64 + 1)
    weights = filterbank.mel_filterbank(8, 256, 8000, 0.0, 4000.0)
    assert torch.allclose(
        mel, weights @ signal.view(Stft(n_fft=256, hop=64)).abs().clamp(min=1e-4), rtol=1e-4
    )


def test_only_the_share_that_is_heard_counts(registry):
    """With a share of a half, the last two of four clips get no gradient."""
    representation = MagnitudeIF(8000, 256, 64)
    target = torch.randn(4, 2000, generator=torch.Generator().manual_seed(0))
    spectrogram = representation(0.5 * target).requires_grad_()
    prediction = Signal.from_spectrogram(spectrogram, representation)
    inputs = LossInputs(prediction=prediction, target=Signal.from_waveform(target, representation))
    loss = compose("mel", {"mel.share": 0.5}, registry=registry)
    loss(inputs)["total"].backward()
    assert [bool(example.any()) for example in spectrogram.grad] == [True, True, False, False]


def test_defaults_are_those_of_dac():
    """The defaults are those of `conf/final/44khz.yml` of descript-audio-codec."""
    config = MelConfig()
    assert config.n_mels == (5, 10, 20, 40, 80, 160, 320)
    assert config.windows == (32, 64, 128, 256, 512, 1024, 2048)
    assert (config.f_min, config.f_max, config.floor) == (0, None, 1e-5)
