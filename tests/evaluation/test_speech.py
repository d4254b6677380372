"""Tests of distill.evaluation.speech: PESQ and STOI as their packages compute them, and what has no value."""

import sys

import numpy as np
import pytest
import soxr
import torch

from distill.errors import InputError
from distill.evaluation import Pesq, Stoi, speech
from distill.evaluation.speech import speech_listeners

pesq = pytest.importorskip("pesq", reason="is compiled, and not installed")
pystoi = pytest.importorskip("pystoi")

RATE = 16_000


@pytest.fixture(scope="module")
def pair():
    """Return a buzz with the rhythm of syllables, with noise and without, of a second."""
    random = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * number * time) / number for number in range(1, 30))
    original = 0.1 * buzz * np.clip(np.sin(2 * np.pi * 4 * time), 0, 1)
    made = original + random.normal(0, 0.02, RATE)
    return tuple(torch.from_numpy(sound.astype(np.float32)) for sound in (made, original))


def test_pesq_rates_a_pair(pair):
    """PESQ equals the package at 16 kHz; a sound beside itself has 4.64, and its level has no effect."""
    made, original = (sound.numpy() for sound in pair)
    expected = pesq.pesq(RATE, original, made, "wb")
    assert 1 < expected < 4
    assert Pesq()(*pair, RATE) == pytest.approx(expected, rel=1e-6)
    assert Pesq()(0.1 * pair[1], pair[1], RATE) == pytest.approx(4.64, abs=0.01)


def test_pesq_rates_pieces(pair, monkeypatch):
    """The rating is the mean of the pieces that can be rated: the second and the third, not silence."""
    assert speech._PESQ_SECONDS == 10  # noqa: SLF001  # shortened for the test
    monkeypatch.setattr(speech, "_PESQ_SECONDS", 1)
    silence = torch.zeros(RATE)
    made, original = torch.cat([silence, *pair]), torch.cat([silence, pair[1], pair[1]])
    expected = (Pesq()(*pair, RATE) + Pesq()(pair[1], pair[1], RATE)) / 2
    assert Pesq()(made, original, RATE) == pytest.approx(expected)


def test_stoi_is_that_of_the_package(pair):
    """STOI equals the package, which resamples to 10 kHz; the same sound has 1, silence 0."""
    made, original = (sound.double().numpy() for sound in pair)
    assert Stoi()(*pair, RATE) == pytest.approx(pystoi.stoi(original, made, RATE), abs=1e-3)
    assert Stoi()(pair[1], pair[1], RATE) == pytest.approx(1)
    assert Stoi()(torch.zeros(RATE), pair[1], RATE) == 0


@pytest.mark.parametrize("measure", [Pesq, Stoi])
def test_other_rates_are_resampled(pair, measure):
    """A sound at 44.1 kHz has nearly the value that it has at 16 kHz."""
    higher = [torch.from_numpy(soxr.resample(sound.numpy(), RATE, 44_100)) for sound in pair]
    assert measure()(*higher, 44_100) == pytest.approx(measure()(*pair, RATE), rel=0.02)


@pytest.mark.parametrize("measure", [Pesq, Stoi])
def test_what_is_too_short_or_silent_has_no_value(pair, measure):
    """Sounds that are short or silent have no value, and raise neither a warning nor an error."""
    short = [sound[:1500] for sound in pair]
    silence = torch.zeros(RATE)
    pairs = [short, [sound[:1] for sound in pair], (pair[0], silence), (silence, silence)]
    assert [measure()(*each, RATE) for each in pairs] == [None] * 4
    assert Pesq()(silence, pair[1], RATE) is None


def test_the_extra_is_named_if_it_is_missing(monkeypatch):
    """The message names the missing packages and the command that installs them."""
    assert list(speech_listeners()) == ["pesq", "stoi"]
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(InputError) as caught:
        speech_listeners()
    assert str(caught.value) == (
        "speech: PESQ and STOI need the packages pesq and pystoi, which cannot be imported: "
        "import of pystoi halted; None in sys.modules\n"
        'Install them: pip install "distill[speech]"'
    )
