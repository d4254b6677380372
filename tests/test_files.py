"""Tests of distill.files: files that are either whole or not there."""

import os

import pytest

from distill.files import write_whole


def test_writes_and_replaces(tmp_path):
    """The content is there, replaces what was, and no other file is left."""
    write_whole(tmp_path / "a.json", b"old")
    write_whole(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    """When the disk refuses, the old content stands and the temporary file is gone."""
    write_whole(tmp_path / "a.json", b"old")

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_the_content_is_synced_under_a_hidden_name_and_renamed(tmp_path, monkeypatch):
    """The file that is synced is whole, hidden from a scan, and the very one that stands there in the end."""
    synced = []

    def look(descriptor):
        (path,) = tmp_path.iterdir()
        inode = os.fstat(descriptor).st_ino
        synced.append((path.name, inode == tmp_path.stat().st_ino or path.read_bytes(), inode))

    monkeypatch.setattr(os, "fsync", look)
    write_whole(tmp_path / "a.wav", b"content")
    hidden, name, folder = f".{os.getpid()}.partial", "a.wav", tmp_path.stat().st_ino
    # The folder is synced last, so that the new name is on the disk as well.
    assert synced == [(hidden, b"content", (tmp_path / name).stat().st_ino), (name, True, folder)]
