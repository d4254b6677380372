"""Nothing is averaged away in silence, and what is measured is what was asked for."""

import json
import math
from functools import partial
from types import SimpleNamespace

import attrs
import pytest
import torch
from torch import nn

from distill import MagnitudeIF, TermConfig, TermSpec, evaluation, hookimpl
from distill.errors import ShapeError
from distill.evaluation import (
    Metrics,
    evaluate_all,
    mel_distance,
    silence,
    texture,
    tones_kept,
)
from distill.testing import registry_with

RATE = 44_100
HALF_IN_DECIBELS = 20 * math.log10(2)

evaluate = partial(evaluation.evaluate, sample_rate=RATE)


def noise(*shape, seed=0):
    """Draw white noise of RMS 0.1."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_evaluation_averages_channels_then_recordings():
    """A recording of two channels counts as much as one of one; the peak is the greatest of all."""
    one, two = noise(1, 4096), noise(2, 4096, seed=1)
    factors = {"one": torch.tensor([[0.5]]), "two": torch.tensor([[1.0], [0.25]])}

    def reconstruct(waveform):
        return waveform * factors["one" if len(waveform) == 1 else "two"]

    found = evaluate(reconstruct, [("one", one), ("two", two)])
    first, second = (result.metrics for result in found.results)
    assert [result.name for result in found.results] == ["one", "two"]
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
        if None in values:  # noise has no tones, and nobody was asked
            assert name in ("tones", "zimtohrli", "visqol", "pesq", "stoi")
            assert values == (None, None)
            continue
        expected = max(values) if name == "peak" else sum(values) / 2
        assert getattr(found.mean, name) == pytest.approx(expected)


def test_a_reconstruction_that_is_not_finite_is_listed():
    """NaN in one recording leaves it out of the mean, which says so, and spoils no other."""

    def reconstruct(waveform):
        return waveform / 2 if len(waveform) == 1 else torch.full_like(waveform, float("nan"))

    found = evaluate(reconstruct, [("good", noise(1, 4096)), ("bad", noise(2, 4096))])
    bad = found.results[1]
    assert (bad.metrics, bad.left_out) == (None, "the reconstruction is not finite")
    assert found.left_out == (bad,)
    assert found.mean == found.results[0].metrics
    data = found.as_json()
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
    found = evaluate(lambda _: reconstruction, [("a", recording)])
    assert found.results[0].left_out == "the reconstruction is not finite"
    assert found.mean is None


def test_silent_channels_are_not_averaged():
    """A recording counts by the channels that sound; one that is silent throughout is listed."""
    sounding = noise(1, 4096)
    half_silent = torch.cat([sounding, torch.zeros(1, 4096)])
    recordings = [("mono", sounding), ("left", half_silent), ("silent", torch.zeros(1, 4096))]
    mono, left, silent = evaluate(lambda waveform: waveform / 2, recordings).results
    assert left.metrics == mono.metrics
    assert (silent.metrics, silent.left_out) == (None, "the recording is silent")


@pytest.mark.parametrize(("samples", "milliseconds"), [(1, "0.023"), (2, "0.045"), (300, "6.8")])
def test_a_recording_that_is_too_short_is_listed(samples, milliseconds):
    """Any reconstruction of one sample has an SI-SDR of 200 dB: it is in no mean, and the reason is said."""
    recordings = [("long", noise(1, 4096)), ("click", noise(1, samples, seed=1))]
    found = evaluate(lambda waveform: -waveform / 3, recordings, listeners={"zimtohrli": lambda *_: 5.0})
    click = found.results[1]
    reason = f"the recording lasts {milliseconds} ms, too short to be measured"
    assert (click.metrics, click.left_out) == (None, reason)
    assert found.left_out == (click,)
    assert found.mean == found.results[0].metrics
    assert found.frechet_frames == evaluate(silence, recordings[:1]).frechet_frames


def test_a_recording_of_ten_milliseconds_is_measured():
    """A short sound has a level and a distance, which depend on the reconstruction."""
    found = evaluate(lambda waveform: waveform / 2, [("hit", noise(1, 441))])
    assert found.mean.level_difference == pytest.approx(-HALF_IN_DECIBELS)
    assert found.mean.mel == pytest.approx(HALF_IN_DECIBELS)


def test_a_reconstruction_of_another_shape_is_refused():
    """A reconstruction one sample short is an error that names the recording."""
    with pytest.raises(ShapeError) as caught:
        evaluate(lambda waveform: waveform[:, 1:], [("bell.wav", noise(2, 3000))])
    assert str(caught.value) == "bell.wav: the reconstruction must have the shape [2, 3000]: got [2, 2999]"


def test_an_evaluation_is_plain_json():
    """The data survives strict JSON, and nothing at all has no mean."""
    found = evaluate(silence, [("a", noise(2, 3000))])
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert data == found.as_json()
    assert data["mean"] == attrs.asdict(found.mean)
    assert data["recordings"][0]["metrics"]["level_difference"] == -200
    assert data["recordings"][0]["metrics"]["texture"] is None
    assert evaluate(silence, []).mean is None


def test_no_gradient_is_kept():
    """A model is evaluated without building a graph."""
    weight = torch.ones(1, requires_grad=True)
    seen = []

    def reconstruct(waveform):
        seen.append((waveform * weight).requires_grad)
        return waveform

    evaluate(reconstruct, [("a", noise(1, 3000))])
    assert seen == [False]


def test_every_measure_has_its_own_value():
    """What is reported under a name is what its function gives for that channel."""
    time = torch.arange(RATE) / RATE
    original = torch.stack([torch.sin(2 * math.pi * pitch * time) for pitch in (440.0, 1250.0)]) * 0.3
    made = original * torch.tensor([[0.4], [0.9]]) + noise(2, RATE) / 50
    metrics = evaluate(lambda _: made, [("a", original)]).results[0].metrics
    channels = list(zip(made, original, strict=True))
    expected = {
        "mel": [mel_distance(*channel, RATE) for channel in channels],
        "tones": [tones_kept(*channel) for channel in channels],
        "texture": [texture(channel[0]) for channel in channels],
        "original_texture": [texture(channel[1]) for channel in channels],
    }
    for name, values in expected.items():
        assert values[0] != values[1]
        assert getattr(metrics, name) == pytest.approx(sum(values) / 2)


def test_listeners_rate_the_mean_of_the_channels():
    """A listener rates the mean of the channels, and one that was not asked has no rating."""
    asked = []

    def rate(made, original, sample_rate):
        asked.append((made, original, sample_rate))
        return 4.5

    recording = noise(2, 4096)
    found = evaluate(lambda waveform: waveform / 2, [("a", recording)], listeners={"visqol": rate})
    assert found.mean.visqol == 4.5
    assert found.mean.zimtohrli is None
    ((made, original, sample_rate),) = asked
    assert torch.equal(original, (recording[0] + recording[1]) / 2)
    assert torch.equal(made, original / 2)
    assert sample_rate == RATE


def test_a_silent_recording_is_not_rated():
    """Listeners rate neither a silent recording nor a reconstruction that is not finite."""

    def rate(*_):
        raise AssertionError

    recordings = [("silent", torch.zeros(1, 4096)), ("bad", noise(1, 4096))]
    found = evaluate(lambda waveform: waveform / 0, recordings, listeners={"zimtohrli": rate})
    assert [each.left_out for each in found.results] == ["the reconstruction is not finite"] * 2
    found = evaluate(lambda waveform: waveform, recordings[:1], listeners={"zimtohrli": rate})
    assert found.results[0].left_out == "the recording is silent"


def test_contenders_are_measured_side_by_side():
    """Each recording is read once, and each measurement is told of."""
    read, told = [], []

    def recordings():
        for name in "ab":
            read.append(name)
            yield name, noise(1, 3000)

    contenders = {"half": lambda waveform: waveform / 2, "silence": silence}
    found = evaluate_all(
        contenders, recordings(), sample_rate=RATE, on_progress=lambda *each: told.append(each)
    )
    assert read == ["a", "b"]
    assert told == [("half", "a"), ("silence", "a"), ("half", "b"), ("silence", "b")]
    assert found["half"].mean.level_difference == pytest.approx(-HALF_IN_DECIBELS)
    assert found["silence"].mean.level_difference == -200
    for name, contender in contenders.items():
        assert found[name] == evaluate(contender, recordings())


class Drawing(nn.Module):
    """A term that draws a number at each call."""

    def __init__(self, _):
        super().__init__()

    def forward(self, _):
        """Draw it."""
        return torch.rand(())


def test_terms_that_draw_numbers_draw_the_same_for_every_recording():
    """What is measured does not depend on what was measured before, and leaves torch's numbers alone."""
    spec = TermSpec(name="drawing", config=TermConfig, build=Drawing, summary="")
    plugin = SimpleNamespace(__name__="drawing", distill_loss_terms=hookimpl(lambda: [spec]))
    representation = MagnitudeIF(8000, n_fft=64, hop=16)
    measure = evaluation.term_values("drawing", representation, registry_with(plugin))
    values = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            before = torch.random.get_rng_state()
            values.append(measure(noise(800), noise(800, seed=1)))
            assert torch.equal(torch.random.get_rng_state(), before)
    first, second = values
    assert first == second
