"""The cache of decoded samples: when it is used again, and that it is whole or counts for nothing."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from distill.audio.corpus import cache as cache_module
from distill.audio.corpus import sharing
from distill.audio.corpus.cache import open_cache
from distill.audio.corpus.scanning import Skipped, find_audio
from distill.errors import CorpusError


@pytest.fixture
def folder(tmp_path):
    """Three recordings, the second in stereo, and one file that is no audio."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.array([0.5, 0.25, -0.5]), 8000)
    soundfile.write(folder / "b.wav", np.array([[0.125, -0.125], [0.25, -0.25]]), 8000)
    soundfile.write(folder / "c.wav", np.array([0.75]), 8000)
    (folder / "bad.wav").write_text("text")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that are decoded, in their order."""
    names = []
    decode = cache_module.decode

    def count(path, *arguments, **options):
        names.append(path.name)
        return decode(path, *arguments, **options)

    monkeypatch.setattr(cache_module, "decode", count)
    return names


def open_at(folder, sample_rate=8000, **options):
    """Open the cache of a run beside the folder."""
    return open_cache(folder.parent / "run" / "cache", find_audio(folder), sample_rate=sample_rate, **options)


def files(folder):
    """Name what lies in the cache."""
    return sorted(path.name for path in (folder.parent / "run" / "cache").iterdir())


def assert_whole(contents):
    """The samples as written above: frame after frame, channels interleaved, files in order."""
    expected = [0.5, 0.25, -0.5, 0.125, -0.125, 0.25, -0.25, 0.75]
    np.testing.assert_array_equal(contents.samples[:], np.float32(expected))
    assert [(r.name, r.channels, r.samples, r.offset) for r in contents.recordings] == [
        ("a.wav", 1, 3, 0),
        ("b.wav", 2, 2, 3),
        ("c.wav", 1, 1, 7),
    ]
    assert contents.skipped == (Skipped("bad.wav", "is not audio that libsndfile reads"),)


def test_builds_and_reports_progress(folder):
    """Every file is decoded once, in order, progress is told after each, and two files are left."""
    progress = []
    assert_whole(open_at(folder, on_progress=lambda *done: progress.append(done)))
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    audio, manifest = files(folder)
    assert audio.startswith("audio-")
    assert manifest == "manifest.json"


def test_is_used_again_without_decoding(folder, decoded):
    """The second time nothing is decoded, not even what was skipped, and no progress is told."""
    first = open_at(folder)
    assert decoded == ["a.wav", "b.wav", "bad.wav", "c.wav"]
    decoded.clear()
    second = open_at(folder, on_progress=lambda *_: pytest.fail("nothing is decoded"))
    assert_whole(second)
    assert second.recordings == first.recordings
    assert decoded == []


def touch(folder):
    """Return a file another time."""
    os.utime(folder / "a.wav", ns=(0, 12345))


def grow(folder):
    """Return a file another size at the same time."""
    status = (folder / "a.wav").stat()
    with (folder / "a.wav").open("ab") as file:
        file.write(b"\0\0")
    os.utime(folder / "a.wav", ns=(status.st_atime_ns, status.st_mtime_ns))


def rename(folder):
    """Return a file another name."""
    (folder / "a.wav").rename(folder / "aa.wav")


def remove(folder):
    """Take a file away."""
    (folder / "b.wav").unlink()


def repair(folder):
    """Replace what is no audio."""
    soundfile.write(folder / "bad.wav", np.array([0.5]), 8000)


@pytest.mark.parametrize("change", [touch, grow, rename, remove, repair])
def test_a_change_in_the_files_decodes_anew(folder, decoded, change):
    """A file with another time, size or name, a missing and a repaired file make the cache stale."""
    open_at(folder)
    decoded.clear()
    change(folder)
    contents = open_at(folder)
    assert decoded == sorted(path.name for path in folder.iterdir())
    assert len(files(folder)) == 2
    assert len(contents.recordings) == len(decoded) - (change is not repair)


def test_other_settings_decode_anew(folder, decoded, monkeypatch):
    """Another sample rate, version of libsndfile or source makes the cache stale."""
    open_at(folder)
    assert open_at(folder, sample_rate=16000).recordings[0].samples == 6
    monkeypatch.setattr(soundfile, "__libsndfile_version__", "99")
    open_at(folder, sample_rate=16000)
    assert len(decoded) == 12
    folder.rename(folder.parent / "moved")
    open_cache(folder.parent / "run" / "cache", find_audio(folder.parent / "moved"), sample_rate=16000)
    assert len(decoded) == 16


def test_an_audio_file_that_is_short_or_gone_decodes_anew(folder, decoded):
    """A manifest whose audio file has another size, or is not there, counts for nothing."""
    for spoil in (lambda path: os.truncate(path, 28), lambda path: path.unlink()):
        open_at(folder)
        decoded.clear()
        spoil(folder.parent / "run" / "cache" / files(folder)[0])
        assert_whole(open_at(folder))
        assert len(decoded) == 4


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"key": 1', "\udcff"])
def test_a_spoilt_manifest_decodes_anew(folder, decoded, manifest):
    """A manifest that is no manifest counts for nothing."""
    open_at(folder)
    decoded.clear()
    (folder.parent / "run" / "cache" / "manifest.json").write_bytes(manifest.encode(errors="surrogateescape"))
    assert_whole(open_at(folder))
    assert len(decoded) == 4


def _change_all(**fields):
    """Return a function that changes fields of all recordings of a manifest; None removes one."""

    def change(tree):
        for recording in tree["recordings"]:
            for name, value in fields.items():
                recording.pop(name)
                if value is not None:
                    recording[name] = value

    return change


SPOILT = {
    "no digest, as in an older version": _change_all(digest=None),
    "another field": lambda tree: tree["recordings"][0].update(format="wav"),
    "no recordings": lambda tree: tree.update(recordings=[]),
    "recordings that are null": lambda tree: tree.update(recordings=None),
    "no audio": lambda tree: tree.pop("audio"),
    "no size": lambda tree: tree.pop("bytes"),
    "audio elsewhere": lambda tree: tree.update(audio="/etc/hostname"),
    "audio in the folder above": lambda tree: tree.update(audio=f"../cache/{tree['audio']}"),
    "audio that is a number": lambda tree: tree.update(audio=3),
    "skipped files of other fields": lambda tree: tree.update(skipped=[{"a": 1}]),
    "an offset beyond the end": _change_all(offset=10**12),
    "an offset before the beginning": _change_all(offset=-1),
    "samples beyond the end": _change_all(samples=2**40),
    "no channels": _change_all(channels=0),
    "channels that are text": _change_all(channels="1"),
    "a level that is text": _change_all(highest="loud"),
    "names of other files": _change_all(name="../../other.wav"),
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_a_manifest_of_other_fields_decodes_anew(folder, decoded, change):
    """A manifest that is older, foreign or damaged is ignored, and the files are decoded anew."""
    open_at(folder)
    decoded.clear()
    path = folder.parent / "run" / "cache" / "manifest.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    assert_whole(open_at(folder))
    assert len(decoded) == 4


def test_a_manifest_without_end_decodes_anew(folder, decoded):
    """A manifest nested too deeply for the JSON reader is ignored, and the files are decoded anew."""
    open_at(folder)
    decoded.clear()
    (folder.parent / "run" / "cache" / "manifest.json").write_text("[" * 100_000)
    assert_whole(open_at(folder))
    assert len(decoded) == 4


def test_a_killed_build_counts_for_nothing(folder, decoded):
    """A process killed between two files leaves no manifest; the next build is whole and cleans up."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from distill.audio.corpus.cache import open_cache\n"
        "from distill.audio.corpus.scanning import find_audio\n"
        "kill = lambda done, total: done == 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "found = find_audio(Path(sys.argv[1]))\n"
        "open_cache(Path(sys.argv[2]), found, sample_rate=8000, on_progress=kill)\n"
    )
    target = folder.parent / "run" / "cache"
    killed = subprocess.run([sys.executable, "-c", script, folder, target], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [name.partition("-")[0] for name in files(folder) if not name.startswith(".")] == ["audio"]
    assert_whole(open_at(folder))
    assert len(decoded) == 4
    assert len(files(folder)) == 2


def test_the_manifest_comes_last(folder, monkeypatch):
    """When the manifest is written, the audio it names is whole and synced; without it, nothing counts."""
    synced, written = [], []

    def sync(descriptor):
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    def fail(path, content):
        status = (path.parent / json.loads(content)["audio"]).stat()
        written.append((status.st_ino, status.st_size))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(cache_module, "write_whole", fail)
    with pytest.raises(KeyboardInterrupt):
        open_at(folder)
    assert synced[-1:] == written  # after the lock of the folder
    assert written[0][1] == 8 * 4
    assert not (folder.parent / "run").exists()


def test_a_failed_build_keeps_the_old_cache(folder, decoded):
    """An interrupted rebuild leaves the cache that was there as it was."""
    open_at(folder)
    before = files(folder)

    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_at(folder, sample_rate=16000, on_progress=interrupt)
    assert files(folder) == before
    decoded.clear()
    assert_whole(open_at(folder))
    assert decoded == []


def test_two_builds_at_once(folder, monkeypatch):
    """A build that is not waited for gives its own samples all the same, and what is left is whole."""
    monkeypatch.setattr(sharing, "_PATIENCE_SECONDS", -1.0)
    inner = []

    def build_another(done, _total):
        if done == 2:
            inner.append(open_at(folder))

    assert_whole(open_at(folder, on_progress=build_another))
    assert_whole(inner[0])
    assert_whole(open_at(folder))


def test_what_is_skipped_leaves_no_samples(folder):
    """A file that turns out to be unusable after its first block leaves no gap in the cache."""
    sound = np.full(2**18 + 10, 0.1)
    sound[-1] = np.nan
    soundfile.write(folder / "aa.wav", sound, 8000, subtype="FLOAT")
    contents = open_at(folder)
    assert contents.samples[:].size == 8
    assert [recording.offset for recording in contents.recordings] == [0, 3, 7]
    assert contents.skipped[0] == Skipped("aa.wav", "contains NaN or infinite samples")


def test_nothing_usable(tmp_path):
    """Without a usable file the error lists ten reasons and counts the rest, and no folder is left."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.wav").write_bytes(b"")
    with pytest.raises(CorpusError) as error:
        open_at(folder)
    assert str(error.value) == (
        f"{folder}: no audio file here can be used:\n"
        + "".join(f"  {number:02d}.wav: is empty\n" for number in range(10))
        + "  and 2 more\n"
        "Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3."
    )
    assert not (tmp_path / "run").exists()


def test_a_full_disk(folder, monkeypatch):
    """The message names the cache that cannot be written and the remedy, and nothing is left behind."""

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CorpusError) as error:
        open_at(folder)
    assert str(error.value) == (
        f"{folder.parent / 'run' / 'cache'}: the decoded audio cannot be written: No space left on device\n"
        "Make room there, or set DISTILL_CACHE to another folder for decoded audio."
    )
    assert not (folder.parent / "run").exists()


def test_the_cache_is_no_pickle(folder):
    """The manifest is JSON and the audio is bare little-endian floats."""
    open_at(folder)
    audio, manifest = files(folder)
    cache = folder.parent / "run" / "cache"
    assert json.loads((cache / manifest).read_text())["audio"] == audio
    assert np.frombuffer((cache / audio).read_bytes(), "<f4")[0] == 0.5
