"""Writing recordings to shards: what is in them, what is held out, what is skipped, and what is refused."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.audio.corpus import Skipped, is_sharded, open_corpus, open_shards, write_shards
from distill.errors import CorpusError
from distill.storage.locking import LOCK_FILES

RATE = 8000


def write_noise(path, seconds, *, channels=1, seed=0, scale=0.1):
    """Write noise as 16-bit samples, which FLAC keeps to the bit, and return it, `[N, C]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = scale * np.random.default_rng(seed).uniform(-1, 1, (round(seconds * RATE), channels))
    soundfile.write(path, noise, RATE, subtype="PCM_16")
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def written(folder, *, heldout_fraction=0.0, minutes=1.0, name="shards"):
    """Write the recordings of a folder to shards; return the folder, the manifest and what was skipped."""
    out = folder.parent / name
    manifest, skipped = write_shards(
        folder, out, sample_rate=RATE, heldout_fraction=heldout_fraction, minutes=minutes
    )
    return out, manifest, skipped


def contents(path):
    """Read a shard as any tar file: names and samples `[N, C]`, in order."""
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    keys = [name.removesuffix(".flac") for name in files if name.endswith(".flac")]
    return {
        files[f"{key}.name"].decode(): soundfile.read(
            io.BytesIO(files[f"{key}.flac"]), dtype="float32", always_2d=True
        )[0]
        for key in keys
    }


def names(out, shards):
    """Name the recordings in some shards."""
    return {name for shard in shards for name in contents(out / shard.name)}


def test_levels_are_those_of_the_folder(tmp_path):
    """A peak beyond full scale changes no other piece, and what is very quiet does not become silence."""
    folder = tmp_path / "sounds"
    sounds = {"loud.wav": write_noise(folder / "loud.wav", 100, scale=0.5)[:, 0]}
    sounds["loud.wav"][35 * RATE] = 4
    sounds["quiet.wav"] = np.float32(1e-8) * write_noise(folder / "quiet.wav", 1, scale=1)[:, 0]
    sounds["scaled.wav"] = np.float32(32768) * sounds["quiet.wav"]
    for name, samples in sounds.items():
        soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
    out = written(folder)[0]
    corpus = open_shards(str(out), sample_rate=RATE, pool_shards=3)
    pieces = {each.name: corpus.train.read(each)[0].numpy() for each in corpus.train.recordings}
    loud = np.concatenate([pieces[f"loud.wav@{second}s"] for second in (0, 30, 60)])
    np.testing.assert_allclose(loud, sounds["loud.wav"], atol=2**-22, rtol=0)
    for name in ("quiet.wav", "scaled.wav"):
        np.testing.assert_allclose(pieces[name], sounds[name], rtol=0, atol=2**-22 * sounds[name].max())


def test_the_value_of_full_scale(tmp_path):
    """Floats in the range of integers are scaled to 1."""
    folder = tmp_path / "sounds"
    noise = write_noise(folder / "a.wav", 1)
    soundfile.write(folder / "a.wav", noise * 32768, RATE, subtype="FLOAT")
    manifest, _ = write_shards(
        folder, tmp_path / "out", sample_rate=RATE, heldout_fraction=0, minutes=1, full_scale=32768
    )
    assert np.array_equal(contents(tmp_path / "out" / manifest.train[0].name)["a.wav"], noise)


def refusal(folder, **options):
    """Return the message with which a folder is refused."""
    with pytest.raises(CorpusError) as caught:
        written(folder, **options)
    return str(caught.value)


def test_recordings_come_back_to_the_bit(tmp_path):
    """Recordings keep their channels and every bit; one of 95 s is split into pieces that join to it."""
    folder = tmp_path / "corpus"
    short = write_noise(folder / "below" / "short.wav", 0.5, channels=2)
    long = write_noise(folder / "long.wav", 95, seed=1)
    out, manifest, skipped = written(folder, minutes=10)
    assert skipped == ()
    assert manifest.heldout == ()
    (shard,) = manifest.train
    assert (shard.pieces, shard.frames, shard.samples) == (4, 95.5 * RATE, 96 * RATE)
    assert shard.bytes == (out / shard.name).stat().st_size
    found = contents(out / shard.name)
    assert np.array_equal(found.pop("below/short.wav"), short)
    assert {name: len(piece) / RATE for name, piece in found.items()} == {
        "long.wav@0s": 30,
        "long.wav@30s": 30,
        "long.wav@60s": 35,
    }
    assert np.array_equal(np.concatenate([*found.values()]), long)


def test_a_shard_is_full_after_some_minutes(tmp_path):
    """Recordings of six seconds, some in stereo, fill shards of a quarter of a minute, but for the last."""
    folder = tmp_path / "corpus"
    for number in range(7):
        write_noise(folder / f"{number}.wav", 6, channels=1 + number % 2, seed=number)
    out, manifest, _ = written(folder, minutes=0.25)
    assert sum(shard.samples for shard in manifest.train) == (4 + 3 * 2) * 6 * RATE
    assert sorted(path.name for path in out.glob("*.tar")) == [shard.name for shard in manifest.train]
    for shard in manifest.train[:-1]:
        assert 15 * RATE <= shard.samples < (15 + 12) * RATE
    assert json.loads((out / "shards.json").read_text())["sample_rate"] == RATE


def test_shards_are_the_same_every_time(tmp_path):
    """Byte by byte; and neighbours in the folder are no neighbours in the shards."""
    folder = tmp_path / "corpus"
    for number in range(9):
        write_noise(folder / f"{number}.wav", 1, seed=number)
    (one, *_), (other, *_) = written(folder), written(folder, name="again")
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()
    assert [*contents(one / "train-000000.tar")] != [f"{number}.wav" for number in range(9)]


def test_held_out_are_those_whose_digest_is_low(tmp_path):
    """Shards hold out the recordings that a folder's split holds out, and copies stay together."""
    folder = tmp_path / "corpus"
    for number in range(20):
        write_noise(folder / f"{number}.wav", 0.1, seed=number)
        if number < 5:
            shutil.copy(folder / f"{number}.wav", folder / f"copy-{number}.wav")
    corpus = open_corpus(folder, sample_rate=RATE, cache=tmp_path / "cache", heldout_fraction=0)
    digests = {recording.name: recording.digest for recording in corpus.train.recordings}
    out, manifest, _ = written(folder, heldout_fraction=0.4)
    heldout, train = names(out, manifest.heldout), names(out, manifest.train)
    assert heldout | train == set(digests)
    assert heldout == {name for name, digest in digests.items() if int(digest[:8], 16) / 2**32 < 0.4}
    assert 3 <= len(heldout) <= 15
    for number in range(5):
        assert (f"{number}.wav" in heldout) == (f"copy-{number}.wav" in heldout)


def test_what_cannot_be_used_is_skipped(tmp_path):
    """Files that cannot be decoded, or that FLAC cannot hold, are skipped with a reason."""
    folder = tmp_path / "corpus"
    write_noise(folder / "good.wav", 0.1)
    write_noise(folder / "many.wav", 0.1, channels=9)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no sound")
    _, manifest, skipped = written(folder)
    assert skipped == (
        Skipped("empty.wav", "is empty"),
        Skipped("many.wav", "has 9 channels, and a FLAC file has at most 8"),
        Skipped("text.wav", "is not audio that libsndfile reads"),
    )
    assert manifest.train[0].pieces == 1


def test_progress_counts_files(tmp_path):
    """Progress counts every file, including those that are skipped."""
    folder = tmp_path / "corpus"
    write_noise(folder / "good.wav", 0.1)
    (folder / "empty.wav").touch()
    calls = []
    write_shards(
        folder,
        tmp_path / "out",
        sample_rate=RATE,
        heldout_fraction=0,
        minutes=1,
        on_progress=lambda *done: calls.append(done),
    )
    assert calls == [(1, 2), (2, 2)]


def entries(folder):
    """Name what lies in the folder of the shards, hidden or not, without its lock."""
    return sorted({path.name for path in (folder.parent / "shards").iterdir()} - LOCK_FILES)


def killed(folder):
    """Write two shards, and be killed before the manifest."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from distill.audio.corpus import write_shards\n"
        "from distill.audio.corpus.shards import Manifest\n"
        "Manifest.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "paths = map(Path, sys.argv[1:])\n"
        f"write_shards(*paths, sample_rate={RATE}, heldout_fraction=0, minutes=0.01)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, folder, folder.parent / "shards"], check=False)
    assert process.returncode == -signal.SIGKILL


def test_what_a_killed_run_left_is_no_corpus_and_no_hindrance(tmp_path):
    """A killed run leaves no manifest; the next run replaces its shards and leaves other files alone."""
    folder = tmp_path / "corpus"
    for number in range(2):
        write_noise(folder / f"{number}.wav", 1, seed=number)
    killed(folder)
    assert entries(folder) == [".shards.partial", "train-000000.tar", "train-000001.tar"]
    assert not is_sharded(str(tmp_path / "shards"))
    mine = {"notes.txt", "train-mine.tar", "more.train-000000.tar"}
    for name in mine:
        (tmp_path / "shards" / name).touch()
    out, manifest, _ = written(folder)
    assert set(entries(folder)) == {"shards.json", "train-000000.tar", *mine}
    (shard,) = manifest.train
    assert set(contents(out / shard.name)) == {"0.wav", "1.wav"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_fails_leaves_nothing(tmp_path, monkeypatch, error, there):
    """A run that fails removes its shards and a folder that it made; a second run is whole."""
    folder = tmp_path / "corpus"
    for number in range(3):
        write_noise(folder / f"{number}.wav", 1, seed=number)
    if there:
        (tmp_path / "shards").mkdir()
    sync, calls = os.fsync, []

    def fail(descriptor):
        calls.append(entries(folder))
        if len(calls) == 3:  # the lock of the folder, a shard, and another
            raise error
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, CorpusError)) as caught:
        written(folder, minutes=0.01)
    assert calls[2] == [".shards.partial", "train-000000.tar", "train-000001.tar"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
    if error is not KeyboardInterrupt:
        assert str(caught.value) == (
            f"{tmp_path / 'shards'}: the shards cannot be written: No space left on device\n"
            "Make room there, or choose another folder for the shards."
        )
    assert (tmp_path / "shards").exists() == there
    assert not there or entries(folder) == []
    written(folder)
    assert entries(folder) == ["shards.json", "train-000000.tar"]


def test_a_corpus_that_is_not_there(tmp_path):
    """The message names the corpus that does not exist and says what to pass."""
    assert refusal(tmp_path / "corpus") == (
        f"{tmp_path / 'corpus'}: there is no such file or folder\n"
        "Pass a folder of recordings, or a single recording."
    )


def test_a_corpus_without_anything_to_use(tmp_path):
    """The message lists why no file can be used and names the remedy."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "empty.wav").touch()
    assert refusal(folder) == (
        f"{folder}: no audio file here can be used:\n  empty.wav: is empty\n"
        "Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3."
    )
    assert not (tmp_path / "shards").exists()


def test_a_corpus_that_is_all_held_out(tmp_path):
    """The message says that all recordings are held out, and names the option to lower."""
    folder = tmp_path / "corpus"
    write_noise(folder / "0.wav", 0.1)
    assert refusal(folder, heldout_fraction=1 - 1e-9) == (
        f"{folder}: all of its recordings are held out\n"
        "Hold out a smaller share of them, or none: --heldout 0"
    )
    assert not (tmp_path / "shards").exists()


def test_a_folder_that_is_not_empty(tmp_path):
    """The message says that the folder is not empty, and the files in it stay."""
    folder = tmp_path / "corpus"
    write_noise(folder / "0.wav", 0.1)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "mine.txt").touch()
    assert refusal(folder) == f"{tmp_path / 'shards'}: is not empty\nChoose a new folder for the shards."
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["mine.txt"]


def test_a_url_is_no_folder(tmp_path, monkeypatch):
    """A URL is refused as the place to write shards to, and no folder of that name is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError) as caught:
        write_shards(tmp_path, Path("https://host/x"), sample_rate=8000, heldout_fraction=0, minutes=1)
    assert str(caught.value) == (
        "https:/host/x: is a URL, and shards are written to a folder\n"
        "Pass a folder, copy it to the server, and train on its URL."
    )
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_cannot_be_written(tmp_path):
    """The message names the folder that cannot be written, the cause and the remedy."""
    folder = tmp_path / "corpus"
    write_noise(folder / "0.wav", 0.1)
    (tmp_path / "shards").touch()
    assert refusal(folder) == (
        f"{tmp_path / 'shards'}: the shards cannot be written: File exists\n"
        "Remove what is in its place, or choose another path."
    )
