"""Which files of a folder count as audio, and in which order."""

import os

import pytest

from distill.audio.corpus.scanning import AUDIO_SUFFIXES, Candidate, Skipped, find_audio, grouped


def put(path, content=b"x"):
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder):
    """Name the audio files that are found."""
    return [candidate.name for candidate in find_audio(folder).candidates]


def test_finds_audio_below_the_folder_sorted_by_name(tmp_path):
    """Audio files at any depth are found, in the order of their names, with size and time."""
    for name in ("b.wav", "a/deep/er.FLAC", "a.ogg", "c.Mp3", "a/z.aif"):
        put(tmp_path / name, b"12345")
    os.utime(tmp_path / "b.wav", ns=(7, 1234567890123456789))
    found = find_audio(tmp_path)
    assert [candidate.name for candidate in found.candidates] == [
        "a.ogg",
        "a/deep/er.FLAC",
        "a/z.aif",
        "b.wav",
        "c.Mp3",
    ]
    assert found.candidates[3] == Candidate(tmp_path / "b.wav", "b.wav", 5, 1234567890123456789)
    assert found.source == tmp_path
    assert found.skipped == ()


def test_other_files_are_no_candidates(tmp_path):
    """Text, pictures and headerless samples are listed as skipped, and so is what begins with a dot."""
    for name in ("notes.txt", "x.raw", "wav", ".hidden.wav", ".trash/a.wav", "a/._b.wav", "a/.DS_Store"):
        put(tmp_path / name)
    found = find_audio(tmp_path)
    assert found.candidates == ()
    hidden, other = "is hidden: its name begins with a dot", "is not audio, by its name"
    assert {(each.path, each.reason) for each in found.skipped} == {
        *((name, other) for name in ("notes.txt", "wav", "x.raw")),
        *((name, hidden) for name in (".hidden.wav", ".trash", "a/._b.wav", "a/.DS_Store")),
    }


def test_what_is_not_audio_is_grouped_for_readers():
    """Files that were meant to be audio come first, one by one; names that are not of audio come together."""
    other = [Skipped(f"{name}.txt", "is not audio, by its name") for name in "abcde"]
    hidden = [Skipped(".DS_Store", "is hidden: its name begins with a dot")]
    broken = [Skipped(f"{number}.wav", "is empty") for number in range(5)]
    assert grouped([*hidden, *other, *broken]) == [
        *broken,
        Skipped("a.txt, b.txt, c.txt, and 2 more", "are not audio, by their names"),
        *hidden,
    ]


def test_sounds_of_a_model_are_no_corpus(tmp_path):
    """A run folder below the corpus is left out, unless it is what was asked for."""
    put(tmp_path / "a.wav")
    put(tmp_path / "runs" / "first" / "recipe.toml")
    put(tmp_path / "runs" / "first" / "audio" / "b.wav")
    found = find_audio(tmp_path)
    assert [candidate.name for candidate in found.candidates] == ["a.wav"]
    assert found.skipped == (
        Skipped("runs/first", "is a run folder, whose sounds are the output of a model"),
    )
    assert names(tmp_path / "runs" / "first") == ["audio/b.wav"]


def test_a_hidden_parent_does_not_hide_the_folder(tmp_path):
    """Only what lies below the folder counts as hidden."""
    put(tmp_path / ".samples" / "a.wav")
    assert names(tmp_path / ".samples") == ["a.wav"]


@pytest.mark.parametrize(
    "suffix",
    [
        "wav",
        "aiff",
        "aif",
        "aifc",
        "flac",
        "ogg",
        "oga",
        "opus",
        "mp3",
        "w64",
        "caf",
        "au",
        "snd",
        "rf64",
        "voc",
        "svx",
        "iff",
        "sf",
        "paf",
        "xi",
        "mat",
        "m4a",
        "wma",
        "mka",
        "mp4",
        "webm",
    ],
)
def test_suffixes(suffix):
    """Every format libsndfile reads has its suffixes, and common audio it does not read is listed too."""
    assert f".{suffix}" in AUDIO_SUFFIXES


def test_a_single_file_is_taken_whatever_its_suffix(tmp_path):
    """A file that is named itself is a candidate under its own name."""
    found = find_audio(put(tmp_path / "take.bin"))
    assert [candidate.name for candidate in found.candidates] == ["take.bin"]


def test_links_are_followed_and_loops_end(tmp_path):
    """A folder behind a link is scanned, once, and a link to a parent does not hang the scan."""
    put(tmp_path / "corpus" / "a.wav")
    put(tmp_path / "elsewhere" / "b.wav")
    (tmp_path / "corpus" / "first").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "second").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "loop").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "self").symlink_to("self")
    assert names(tmp_path / "corpus") == ["a.wav", "first/b.wav"]


def test_a_name_that_is_no_text_has_escapes(tmp_path):
    """A file or folder whose name is not UTF-8 is found, with a name that every file can hold."""
    odd = tmp_path / os.fsdecode(b"odd\xe9")
    put(odd / os.fsdecode(b"bad\xff.wav"))
    put(odd / os.fsdecode(b"bad\xff.txt"))
    found = find_audio(tmp_path)
    (candidate,) = found.candidates
    assert (candidate.name, candidate.path.exists()) == (r"odd\xe9/bad\xff.wav", True)
    assert [each.path for each in found.skipped] == [r"odd\xe9/bad\xff.txt"]


def test_what_cannot_be_looked_at_is_skipped(tmp_path):
    """Broken links and pipes are listed with the reason, not opened."""
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    found = find_audio(tmp_path)
    assert found.candidates == ()
    assert sorted(found.skipped, key=lambda skip: skip.path) == [
        Skipped("gone.wav", "cannot be read: No such file or directory"),
        Skipped("pipe.wav", "is not a file"),
    ]


def test_a_folder_that_cannot_be_listed_is_skipped(tmp_path, monkeypatch):
    """A folder without permission is listed as skipped, and the others are still scanned."""
    put(tmp_path / "a.wav")
    put(tmp_path / "secret" / "b.wav")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_audio(tmp_path)
    assert [candidate.name for candidate in found.candidates] == ["a.wav"]
    assert found.skipped == (Skipped("secret", "cannot be listed: Permission denied"),)
