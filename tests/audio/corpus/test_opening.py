"""Opening a folder of recordings as a corpus."""

import numpy as np
import pytest
import soundfile
import torch

from distill.audio.corpus import Remark, Skipped, open_corpus
from distill.errors import CorpusError


def write_tone(path, *, sample_rate=8000, seconds=0.1, channels=1, frequency=440.0):
    """Write a sine to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sine = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)
    soundfile.write(path, np.repeat(sine[:, None], channels, axis=1), sample_rate)


def opened(folder, *, heldout_fraction=0.2, sample_rate=8000):
    """Open a folder with the cache of a run beside it."""
    cache = folder.parent / "run" / "cache"
    return open_corpus(folder, sample_rate=sample_rate, cache=cache, heldout_fraction=heldout_fraction)


def refusal(folder):
    """Return the message with which a folder is refused."""
    with pytest.raises(CorpusError) as error:
        opened(folder)
    return str(error.value)


def names(split):
    """Name the recordings of a split."""
    return [recording.name for recording in split.recordings]


def test_a_folder_of_many_kinds(tmp_path):
    """Formats, rates, channels and depths mix; each recording has its length at the corpus's rate."""
    folder = tmp_path / "corpus"
    write_tone(folder / "a.wav", sample_rate=96000, channels=2)
    write_tone(folder / "b" / "b.flac", sample_rate=44100, channels=6)
    write_tone(folder / "b" / "c.ogg", sample_rate=8000, seconds=0.3)
    write_tone(folder / "d.aiff", sample_rate=22050, seconds=0.2)
    corpus = opened(folder, heldout_fraction=0)
    assert [(r.name, r.channels, r.samples) for r in corpus.train.recordings] == [
        ("a.wav", 2, 800),
        ("b/b.flac", 6, 800),
        ("b/c.ogg", 1, 2400),
        ("d.aiff", 1, 1600),
    ]
    assert corpus.train.seconds == pytest.approx(0.7)
    assert (corpus.folder, corpus.sample_rate, corpus.skipped) == (folder, 8000, ())
    assert corpus.heldout.recordings == ()
    assert corpus.train.read(corpus.train.recordings[1]).shape == (6, 800)
    assert corpus.train.draw(4, 512, torch.Generator().manual_seed(0)).abs().amax(dim=1).min() > 0.4


def test_the_split_is_by_file_and_stable(tmp_path):
    """Two of ten files are held out, the same ones at any rate, under any name, from any cache."""
    folder = tmp_path / "corpus"
    for number in range(10):
        write_tone(folder / f"{number}.wav", frequency=100 + 10 * number)
    corpus = opened(folder)
    assert (len(names(corpus.train)), len(names(corpus.heldout))) == (8, 2)
    assert sorted(names(corpus.train) + names(corpus.heldout)) == [f"{number}.wav" for number in range(10)]
    assert names(opened(folder, sample_rate=16000).heldout) == names(corpus.heldout)
    for number in range(10):
        (folder / f"{number}.wav").rename(folder / f"x{number}.wav")
    assert names(opened(folder).heldout) == [f"x{name}" for name in names(corpus.heldout)]


def test_skipped_files_are_listed(tmp_path):
    """What cannot be used is listed with its reason, by name, and the rest is used."""
    folder = tmp_path / "corpus"
    write_tone(folder / "good.wav")
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("text")
    (folder / "notes.txt").write_text("text")
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan]), 8000, subtype="FLOAT")
    corpus = opened(folder)
    assert names(corpus.train) == ["good.wav"]
    assert corpus.skipped == (
        Skipped("empty.wav", "is empty"),
        Skipped("gone.wav", "cannot be read: No such file or directory"),
        Skipped("nan.wav", "contains NaN or infinite samples"),
        Skipped("notes.txt", "is not audio, by its name"),
        Skipped("text.wav", "is not audio that libsndfile reads"),
    )


def test_unusual_recordings_are_remarked_on(tmp_path):
    """Unusual recordings are used, and the remarks on them are kept with the cache."""
    folder = tmp_path / "corpus"
    write_tone(folder / "a.wav")
    soundfile.write(folder / "loud.wav", np.array([0.1, -4.0] * 99), 8000, subtype="FLOAT")
    for _ in range(2):
        corpus = opened(folder, heldout_fraction=0)
        assert names(corpus.train) == ["a.wav", "loud.wav"]
        assert corpus.remarks == (Remark("loud.wav", "peaks at +12.0 dB, above full scale"),)


def test_floats_in_the_range_of_integers(tmp_path):
    """Floats in the range of integers are skipped with an offer to scale them, and used when it is taken."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    soundfile.write(folder / "a.wav", 20_000 * np.sin(np.arange(800)), 8000, subtype="FLOAT")
    assert "corpus.full_scale=32768" in refusal(folder)
    corpus = open_corpus(
        folder, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0, full_scale=32768
    )
    peak = corpus.train.read(corpus.train.recordings[0]).max()
    assert peak.item() == pytest.approx(20_000 / 32768, rel=1e-4)


def test_a_single_recording(tmp_path):
    """A file is a corpus of one, of which nothing is held out."""
    write_tone(tmp_path / "a.wav")
    write_tone(tmp_path / "b.wav")
    corpus = opened(tmp_path / "a.wav")
    assert (names(corpus.train), names(corpus.heldout)) == (["a.wav"], [])


def test_a_corpus_that_is_not_there(tmp_path):
    """A path that does not exist is named."""
    assert refusal(tmp_path / "nowhere") == (
        f"{tmp_path / 'nowhere'}: there is no such file or folder\n"
        "Pass a folder of recordings, or a single recording."
    )


def test_a_corpus_without_audio(tmp_path):
    """A folder without audio files says which would do, and no run folder is made."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "notes.txt").write_text("text")
    remedy = "Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3."
    (folder / "empty").mkdir()
    assert refusal(folder / "empty") == f"{folder / 'empty'}: holds no audio files\n{remedy}"
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    assert refusal(folder) == (
        f"{folder}: holds no audio files:\n  gone.wav: cannot be read: No such file or directory\n"
        f"  notes.txt: is not audio, by its name\n{remedy}"
    )
    assert not (tmp_path / "run").exists()


def test_a_corpus_of_unreadable_audio(tmp_path):
    """When every file is unusable the reasons are listed, and no run folder is left."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.wav").write_text("text")
    (tmp_path / "corpus" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    assert refusal(tmp_path / "corpus") == (
        f"{tmp_path / 'corpus'}: no audio file here can be used:\n"
        "  gone.wav: cannot be read: No such file or directory\n"
        "  text.wav: is not audio that libsndfile reads\n"
        "Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3."
    )
    assert not (tmp_path / "run").exists()
