"""Folders that are written to: made whole, and taken back where writing fails."""

import pytest

from distill.audio.corpus.writing import writing_to
from distill.errors import CorpusError


def fail(folder, error, *, name="file"):
    """Write a file to a folder, none without a name, and fail."""
    with writing_to(folder, "the sounds", remedy="Make room."):
        assert folder.is_dir()
        if name:
            (folder / name).touch()
        raise error


def test_what_was_made_is_removed(tmp_path):
    """A failure removes the folder and the parents that were made, but none that was there before."""
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "there" / "new" / "folder", KeyboardInterrupt, name="")
    assert list((tmp_path / "there").iterdir()) == []


def test_what_is_not_empty_stays(tmp_path):
    """A folder that is not empty stays after a failure, and a disk error gives one message."""
    with pytest.raises(CorpusError) as caught:
        fail(tmp_path / "folder", OSError(28, "No space left on device"))
    assert str(caught.value) == (
        f"{tmp_path / 'folder'}: the sounds cannot be written: No space left on device\nMake room."
    )
    assert (tmp_path / "folder" / "file").exists()


def test_what_is_in_the_way_is_not_a_matter_of_room(tmp_path):
    """A file in the place of the folder, or of one of its parents, is told, and what to do about it."""
    (tmp_path / "file").touch()
    for folder, problem in (("file", "File exists"), ("file/below", "Not a directory")):
        with pytest.raises(CorpusError) as caught:
            fail(tmp_path / folder, AssertionError)
        assert str(caught.value) == (
            f"{tmp_path / folder}: the sounds cannot be written: {problem}\n"
            "Remove what is in its place, or choose another path."
        )


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    """The message names what is to be removed, which is not all that was written."""
    (tmp_path / "file").mkdir()
    with pytest.raises(CorpusError) as caught, writing_to(tmp_path, "the sounds", remedy="Make room."):
        (tmp_path / "file").write_text("")
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: the sounds cannot be written: Is a directory\n"
        "Remove what is in its place, or choose another path."
    )
