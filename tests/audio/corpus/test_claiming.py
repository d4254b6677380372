"""Claiming a folder to write shards to: by one process at a time, and never what is there already."""

import pytest

from distill.audio.corpus.claiming import claim
from distill.errors import CorpusError
from distill.storage.locking import LOCK_FILES

SHARDS = ("train-000000.tar", "heldout-000003.tar", "train-1000000.tar")
MARKER = ".shards.partial"


def refusal(folder):
    """Return the message with which a folder is refused."""
    with pytest.raises(CorpusError) as caught, claim(folder):
        pytest.fail("it is claimed")
    return str(caught.value)


def names(folder):
    """Name what lies in a folder, without its lock."""
    return {path.name for path in folder.iterdir()} - LOCK_FILES


def test_what_is_written_stays(tmp_path):
    """When writing ends, the marker is removed and the shards stay."""
    with claim(tmp_path):
        assert names(tmp_path) == {MARKER}
        for name in SHARDS:
            (tmp_path / name).touch()
    assert names(tmp_path) == {*SHARDS}


def test_another_is_writing(tmp_path):
    """A folder that another thread writes to is refused, and that thread's shards stay and are finished."""
    with claim(tmp_path):
        (tmp_path / SHARDS[0]).touch()
        assert refusal(tmp_path) == (
            f"{tmp_path}: another thread of this process is writing shards to it\n"
            "Wait for it, or choose another folder for the shards."
        )
        assert names(tmp_path) == {MARKER, SHARDS[0]}
    assert names(tmp_path) == {SHARDS[0]}


@pytest.mark.parametrize("present", [["mine.txt"], [SHARDS[0]], ["shards.json"], ["shards.json", MARKER]])
def test_a_folder_that_is_not_empty(tmp_path, present):
    """A folder that is not empty is refused, even if it holds only shards, and its files stay."""
    for name in present:
        (tmp_path / name).touch()
    assert refusal(tmp_path) == f"{tmp_path}: is not empty\nChoose a new folder for the shards."
    assert names(tmp_path) == {*present}


def test_where_it_fails_only_what_was_written_goes(tmp_path):
    """A failure removes shards, temporary files and the marker; files with similar names stay."""
    alike = {"mine.txt", "train-00000.tar", "train-000000.tar.gz", "other-000000.tar", "1.partial"}

    def fail():
        with claim(tmp_path):
            for name in (*SHARDS, ".4711.partial", *alike):
                (tmp_path / name).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == alike
