"""Tests of the pairs of a run: their order, their scores and their pictures."""

import io

import numpy as np
import pytest
import soundfile
import torch

from distill.audio.soundfiles import write_audio
from distill.reporting.sounds import Sounds, as_mp3, read_sounds, title_of
from distill.storage.run import Run

RATE = 8000


@pytest.fixture
def run(tmp_path):
    """Return a run with three pairs: one equal, one halved, one that exceeds full scale."""
    run = Run(tmp_path)
    sound = 0.5 * torch.sin(torch.arange(RATE) * 0.3)[None] * torch.linspace(1, 0, RATE)
    for number, factor in enumerate((1.0, 0.5, 4.0), 1):
        write_audio(run.audio / f"{number}-x{factor}.original.wav", sound, RATE)
        write_audio(run.audio / f"{number}-x{factor}.reconstruction.wav", factor * sound, RATE)
    return run


def test_the_worst_pair_comes_first(run):
    """Pairs are sorted by the scores of `distill evaluate`, the worst first and an equal pair last."""
    told = []
    sounds = read_sounds(run, on_progress=told.append)
    assert [pair.name for pair in sounds.pairs][-1] == "x1.0"
    assert [(each.stage, each.done, each.total, each.item) for each in told] == [
        ("measuring", 1, 3, "x1.0"), ("measuring", 2, 3, "x0.5"), ("measuring", 3, 3, "x4.0"),
    ]  # fmt: skip
    levels = {pair.name: round(pair.metrics.level_difference, 1) for pair in sounds.pairs}
    assert levels == {"x1.0": 0.0, "x0.5": -6.0, "x4.0": 12.0}
    assert (sounds.files, sounds.unreadable) == (3, ())


def test_what_exceeds_full_scale_is_turned_down_with_its_original(run):
    """A pair that exceeds full scale is turned down together, so that neither sound clips."""
    (pair,) = (each for each in read_sounds(run).pairs if each.name == "x4.0")
    assert pair.attenuation == pytest.approx(20 * np.log10(2), abs=0.1)
    original, made = (soundfile.read(io.BytesIO(each))[0] for each in (pair.original, pair.reconstruction))
    assert np.abs(made).max() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(original).max() == pytest.approx(0.25, abs=1e-2)


def test_spectrograms_have_a_common_scale(run):
    """0 dB is the loudest cell of both, and a tone is in the band of its pitch."""
    (pair,) = (each for each in read_sounds(run).pairs if each.name == "x0.5")
    seen = pair.spectrograms
    original = seen.levels["original"]
    assert (original.max(), seen.levels["reconstruction"].max()) == (0, -6)
    assert original.shape == (len(seen.hertz), original.shape[1])
    assert original.shape[1] <= 362
    loudest = seen.hertz[original[:, 5].argmax()]
    assert loudest == pytest.approx(0.3 * RATE / (2 * np.pi), rel=0.1)


def test_a_run_without_sounds_has_none(tmp_path):
    """A run that has no sounds yet has none in its report."""
    assert read_sounds(Run(tmp_path)) == Sounds()


def test_a_pair_that_does_not_belong_together_is_left_out(run):
    """A sound without its partner, or with one of another length, is named and left out."""
    write_audio(run.audio / "2-x0.5.reconstruction.wav", torch.zeros(1, 100), RATE)
    (run.audio / "3-x4.0.reconstruction.wav").unlink()
    sounds = read_sounds(run)
    assert [pair.name for pair in sounds.pairs] == ["x1.0"]
    assert sounds.unreadable == (
        "2-x0.5.reconstruction.wav: is not of the length and rate of its original",
        "3-x4.0.reconstruction.wav: there is no such file",
    )


def test_silence_is_shown_and_not_measured(tmp_path):
    """A silent sound is shown without scores, and the reason is given."""
    run = Run(tmp_path)
    for side in ("original", "reconstruction"):
        write_audio(run.audio / f"1-nothing.{side}.wav", torch.zeros(2, 400), RATE)
    (pair,) = read_sounds(run).pairs
    assert (pair.metrics, pair.left_out, pair.channels) == (None, "the recording is silent", 2)


@pytest.mark.parametrize(("stem", "title"), [("1-kick", "kick"), ("12-3-a", "3-a"), ("x", "x"), ("1-", "1-")])
def test_the_title_is_the_name_without_its_number(stem, title):
    """The number keeps files of one name apart."""
    assert title_of(stem) == title


@pytest.mark.parametrize("rate", [8000, 9999, 44_100, 96_000])
def test_any_rate_becomes_an_mp3(rate):
    """A sound of any sample rate becomes an MP3, though MP3 allows few rates."""
    sound, _ = soundfile.read(io.BytesIO(as_mp3(2 * torch.ones(2, rate // 4), rate)))
    assert np.abs(sound).max() < 1.5
    assert sound.ndim == 1
