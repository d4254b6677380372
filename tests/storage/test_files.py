"""Tests of distill.storage.files: files that are whole or not there, and never written over unasked."""

import errno
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distill.errors import OutputError, RunError, printable
from distill.storage.files import append_whole, file_name, naming_refusals, require_writable, write_whole


def refused(paths, *, overwrite=False):
    """Return the message with which paths are refused."""
    with pytest.raises(OutputError) as caught:
        require_writable(paths, overwrite=overwrite)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_free_names_can_be_written(tmp_path):
    """A free name is accepted beside other files or in a missing folder, and asking creates nothing."""
    (tmp_path / "other.wav").touch()
    require_writable([tmp_path / "a.wav", tmp_path / "new" / "below" / "a.wav"], overwrite=False)
    require_writable([], overwrite=False)
    assert list(tmp_path.iterdir()) == [tmp_path / "other.wav"]


def test_a_relative_name_can_be_written(tmp_path, monkeypatch):
    """A relative name is accepted in the current folder and below it."""
    monkeypatch.chdir(tmp_path)
    require_writable([Path("a.wav"), Path("new/a.wav")], overwrite=False)


def test_existing_files_are_refused(tmp_path):
    """The message names the first existing file in the order given, and counts the others."""
    paths = [tmp_path / f"{name}.wav" for name in "dcba"]
    for path in paths[1:]:
        path.touch()
    remedy = "Add --overwrite to replace what is there, or choose another folder with --out."
    assert refused(paths[:2]) == f"{tmp_path / 'c.wav'}: exists already\n{remedy}"
    assert refused(paths) == (f"{tmp_path / 'c.wav'}: exists already (and 2 more)\n{remedy}")


def test_existing_files_are_replaced_when_asked(tmp_path):
    """A link to a file may be replaced as a file may."""
    (tmp_path / "a.wav").touch()
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    paths = [tmp_path / "a.wav", tmp_path / "link.wav"]
    require_writable(paths, overwrite=True)
    assert "exists already (and 1 more)" in refused(paths)


@pytest.mark.parametrize("overwrite", [True, False])
def test_names_taken_by_something_else_are_refused(tmp_path, overwrite):
    """A folder, a link to nothing and a pipe are refused, whether or not files may be replaced."""
    (tmp_path / "file.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.wav")
    remedy = "Remove it, or choose another folder with --out."
    for name, problem in (
        ("folder", "is a folder"),
        ("link", "is a link to nothing"),
        ("pipe", "is not an ordinary file"),
    ):
        path = tmp_path / f"{name}.wav"
        message = refused([tmp_path / "file.wav", path], overwrite=overwrite)
        assert message == f"{path}: {problem}\n{remedy}"


@pytest.mark.parametrize("below", ["", "new/below"])
def test_a_folder_that_cannot_be_one_is_refused(tmp_path, below):
    """A file, or a link to nothing, in the place of a folder is refused with one message."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name, problem in (("file", "is a file"), ("link", "is a link to nothing")):
        folder = tmp_path / name
        assert refused([folder / below / "a.wav"], overwrite=True) == (
            f"{folder}: {problem}\nPass a folder with --out."
        )


def test_a_link_to_a_folder_is_a_folder(tmp_path):
    """Files can be written below a link to a folder, and the link cannot be written over."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    require_writable([tmp_path / "link" / "a.wav"], overwrite=False)
    assert refused([tmp_path / "link"]).startswith(f"{tmp_path / 'link'}: is a folder\n")


def test_writes_and_replaces(tmp_path):
    """A file is written or replaced, and no other file is left."""
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
    name, folder = "a.wav", tmp_path.stat().st_ino
    hidden = synced[0][0]
    assert re.fullmatch(r"\.\d+\.partial", hidden)
    # The folder is synced last, so that the new name is on the disk as well.
    assert synced == [(hidden, b"content", (tmp_path / name).stat().st_ino), (name, True, folder)]


def test_threads_write_to_one_folder(tmp_path):
    """Each of many files written at the same time holds its own content, and nothing else is left."""
    contents = {tmp_path / f"{number}.bin": bytes([number]) * 4096 for number in range(60)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write_whole, contents.keys(), contents.values()))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_a_name_is_kept_where_it_fits(tmp_path):
    """A name keeps letters of any script, dots and spaces."""
    assert file_name("鐘 a.b", ".wav", tmp_path) == "鐘 a.b.wav"
    assert file_name("a" * 251, ".wav", tmp_path / "new" / "below") == "a" * 251 + ".wav"


@settings(max_examples=30)
@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["", ".wav", ".reconstruction.wav"]))
@example("鐘" * 100, "鐘" * 99 + "鼓", ".wav")
@example("a\udcff\x1b\n/\\" * 60, "a" * 300, ".reconstruction.wav")
def test_any_stem_makes_a_name_that_can_be_written(one, other, suffix):
    """Any stem gives a name that can be written, and different long stems give different names."""
    with TemporaryDirectory() as folder:
        names = [file_name(stem, suffix, Path(folder)) for stem in (one, other)]
        for name in names:
            write_whole(Path(folder, f"1-{name}") if name in ("", ".", "..") else Path(folder, name), b"")
            assert name.encode()
            assert printable(name) == name
            assert name.endswith(suffix)
    if one != other and min(len(stem.encode(errors="replace")) for stem in (one, other)) > 255:
        assert names[0] != names[1]


def test_a_link_is_not_appended_to(tmp_path):
    """The target of a link stays as it is."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "metrics.jsonl").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        append_whole(tmp_path / "metrics.jsonl", b"record")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_file_that_the_system_refuses_is_a_message(monkeypatch, tmp_path):
    """A file that may not be read, wherever that is noticed, is named; a file that is missing is a bug."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(RunError) as caught, naming_refusals():
        raise PermissionError(errno.EACCES, "Permission denied", "runs/first")
    assert str(caught.value) == (
        "runs/first: cannot be read or written: Permission denied\n"
        "Make sure that you may write to that folder, or choose another one."
    )
    with pytest.raises(RunError) as caught, naming_refusals():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == "No space left on device\nMake room on that disk."
    with pytest.raises(RunError) as caught, naming_refusals():
        tmp_path.read_bytes()
    assert str(caught.value) == (
        f"{tmp_path}: cannot be read or written: Is a directory\n"
        "Remove what is in its place, or choose another path."
    )
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.close(descriptor)
    with pytest.raises(RunError) as caught, naming_refusals():
        os.fsync(descriptor)
    assert str(caught.value) == (
        "a file was closed while it was used\n"
        "A plugin may have closed a file that is not its own: leave it out, and try again."
    )
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunError) as caught, naming_refusals():
        tempfile.gettempdir()
    assert str(caught.value) == (
        "there is no temporary folder that can be written\n"
        "Set TMPDIR to a folder with room that you may write to."
    )
    with pytest.raises(FileNotFoundError), naming_refusals():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "ours")
