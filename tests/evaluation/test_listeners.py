"""Models of listeners rate what they are given as it should be given to them."""

import sys
import warnings
from functools import cache

import numpy as np
import pytest
import torch

from distill.evaluation import LISTENERS, Visqol, Zimtohrli, installed_listeners, listeners

RATE = 44_100


@cache
def visqol_of(pair):
    """Return ViSQOL's rating of a pair, which takes a second."""
    return Visqol()(*pair, RATE)


def test_zimtohrli_rates_a_pair(pair):
    """The rating is that of the package on sounds resampled by soxr; a sound beside itself has a 5."""
    assert Zimtohrli()(*pair, RATE) == pytest.approx(3.072103, abs=1e-4)
    assert Zimtohrli()(pair[1], pair[1], RATE) == pytest.approx(5, abs=1e-3)


def test_zimtohrli_hears_a_second_at_least(pair):
    """A shorter sound is rated as the same followed by silence."""
    short = [sound[:9_600] for sound in pair]
    padded = [torch.nn.functional.pad(sound, (0, 48_000 - 9_600)) for sound in short]
    assert Zimtohrli()(*short, 48_000) == Zimtohrli()(*padded, 48_000)


@pytest.mark.parametrize("samples", [1, 100, RATE])
def test_zimtohrli_rates_silence(samples):
    """Zimtohrli gives a number for silence on either side and on both."""
    sound, silence = torch.full((samples,), 0.1), torch.zeros(samples)
    for made, original in ((silence, sound), (sound, silence), (silence, silence)):
        assert 1 <= Zimtohrli()(made, original, RATE) <= 5


@pytest.mark.parametrize("before", [False, True])
def test_zimtohrli_is_not_slowed_by_silence(pair, monkeypatch, before):
    """Denormal numbers, which a decaying filter is full of, are zeros for Zimtohrli, and only for it."""
    during = []
    zimtohrli = Zimtohrli()
    distance = zimtohrli._distance  # noqa: SLF001  # theirs, not ours
    monkeypatch.setattr(
        zimtohrli, "_distance", lambda *signals: during.append(_denormals_are_zeros()) or distance(*signals)
    )
    torch.set_flush_denormal(before)
    try:
        assert zimtohrli(*pair, RATE) == pytest.approx(3.072103, abs=1e-4)
        assert _denormals_are_zeros() == before
    finally:
        torch.set_flush_denormal(False)
    assert during == [True]


@pytest.mark.usefixtures("visqol")
def test_visqol_rates_a_pair(pair):
    """The rating is that of the package on sounds resampled by soxr between 0.05 s of silence."""
    assert visqol_of(pair) == pytest.approx(2.923169, abs=1e-4)


@pytest.mark.usefixtures("visqol")
def test_visqol_does_not_hear_the_level(pair):
    """A sound at a tenth of its amplitude has the best rating there is, 4.73."""
    assert Visqol()(0.1 * pair[1], pair[1], RATE) == pytest.approx(4.7321, abs=1e-3)


@pytest.mark.usefixtures("visqol")
def test_visqol_does_not_rate_silence(pair):
    """ViSQOL gives silence no rating, and no warning is raised."""
    silence = torch.zeros(RATE)
    assert Visqol()(silence, pair[1], RATE) is None
    assert Visqol()(pair[0], silence, RATE) is None


@pytest.mark.usefixtures("visqol")
def test_visqol_hears_the_beginning_alone(pair, monkeypatch):
    """What comes after ten seconds (here one) does not change the rating."""
    assert listeners._VISQOL_SECONDS == 10  # noqa: SLF001  # shortened for the test
    monkeypatch.setattr(listeners, "_VISQOL_SECONDS", 1)
    longer = [torch.cat([sound, torch.ones(RATE)]) for sound in pair]
    assert Visqol()(*longer, RATE) == pytest.approx(visqol_of(pair), rel=1e-9)


@pytest.mark.usefixtures("visqol")
def test_visqol_warns_of_nothing(pair, monkeypatch):
    """A warning of the package raises no error, and a rating that is not a number counts as none."""
    visqol = Visqol()

    class Result:
        moslqo = float("nan")

    def measure(*_):
        warnings.warn("as numpy does", RuntimeWarning, stacklevel=1)
        return Result

    monkeypatch.setattr(visqol._api, "measure_from_arrays", measure)  # noqa: SLF001  # theirs, not ours
    assert visqol(*pair, RATE) is None


def test_what_is_installed_is_asked(monkeypatch):
    """Only packages that are installed are asked, and without both there is no listener."""
    assert list(LISTENERS) == ["zimtohrli", "visqol"]
    assert list(installed_listeners()) == ["zimtohrli"]
    monkeypatch.setitem(sys.modules, "zimtohrli", None)
    assert installed_listeners() == {}


def _denormals_are_zeros():
    return bool(np.float32(1e-38) * np.float32(0.1) == 0)
