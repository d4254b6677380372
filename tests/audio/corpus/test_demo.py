"""The demo corpus: 24 sounds, always the same."""

import numpy as np
import pytest
import soundfile

from distill.audio.corpus import open_corpus, write_demo_corpus
from distill.errors import CorpusError


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Write the demo corpus once."""
    return write_demo_corpus(tmp_path_factory.mktemp("demo") / "sounds")


def test_the_sounds(demo):
    """Four kinds have six sounds each, of 2 s, 24 bits and 44.1 kHz, that peak at -3 dBFS (0.7079)."""
    paths = sorted(demo.iterdir())
    kinds = [path.name.split("_")[0] for path in paths]
    assert {kind: kinds.count(kind) for kind in kinds} == {"bell": 6, "drum": 6, "pad": 6, "pluck": 6}
    for path in paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.subtype) == (44100, 88200, "PCM_24")
        assert info.channels == (2 if path.name.startswith("pad") else 1)
        samples = soundfile.read(path, always_2d=True)[0]
        assert np.abs(samples).max() == pytest.approx(0.7079, abs=1e-4)
        assert np.abs(samples[-1]).max() < 1e-3
        assert np.abs(samples.mean(axis=0)).max() < 0.02


def test_all_sounds_differ(demo):
    """No two sounds correlate as copies would."""
    sounds = np.array([soundfile.read(path, always_2d=True)[0][:, 0] for path in sorted(demo.iterdir())])
    correlation = np.abs(np.corrcoef(sounds)) - np.eye(24)
    assert correlation.max() < 0.5


def test_is_deterministic(tmp_path):
    """Written twice, every file has the same bytes."""
    first, second = (write_demo_corpus(tmp_path / name, sample_rate=8000) for name in ("first", "second"))
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (first, second)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 24


def test_files_that_are_there_are_left_alone(tmp_path):
    """A file that is equal is not written again; a file that differs is replaced."""
    write_demo_corpus(tmp_path, sample_rate=8000)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    spoilt = (tmp_path / "drum_kick.wav").read_bytes()
    (tmp_path / "drum_kick.wav").write_bytes(spoilt[:1000])
    write_demo_corpus(tmp_path, sample_rate=8000)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"drum_kick.wav"}
    assert (tmp_path / "drum_kick.wav").read_bytes() == spoilt


def test_opens_as_a_corpus(demo, tmp_path):
    """No file of the demo corpus is skipped, and two of 24 (8 %) are held out."""
    corpus = open_corpus(demo, sample_rate=22050, cache=tmp_path / "cache", heldout_fraction=0.08)
    assert (len(corpus.train.recordings), len(corpus.heldout.recordings), corpus.skipped) == (22, 2, ())
    assert corpus.train.seconds + corpus.heldout.seconds == pytest.approx(48)


def test_a_folder_that_cannot_be_written(tmp_path):
    """The message names the folder that cannot be written, the cause and the remedy."""
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(CorpusError) as error:
        write_demo_corpus(tmp_path / "demo")
    assert str(error.value) == (
        f"{tmp_path / 'demo'}: the demo corpus cannot be written: File exists\n"
        "Remove what is in its place, or choose another path."
    )
