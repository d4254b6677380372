"""The folder for caches."""

import os
import tempfile
from pathlib import Path

import pytest

from distill.audio.corpus.places import cache_folder, temporary_cache
from distill.errors import CorpusError


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    monkeypatch.delenv("DISTILL_CACHE", raising=False)


def test_caches_are_beside_the_runs(tmp_path):
    """Caches lie in the folder of the runs, whether it exists yet or not."""
    assert cache_folder(tmp_path) == tmp_path / ".distill"
    assert cache_folder(tmp_path / "runs" / "today") == tmp_path / "runs" / "today" / ".distill"


def test_the_place_that_is_chosen(tmp_path, monkeypatch):
    """`DISTILL_CACHE` counts for caches and for temporary ones, and is made where it is missing."""
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "caches"))
    assert cache_folder(tmp_path / "runs") == tmp_path / "caches"
    with temporary_cache() as folder:
        assert folder.parent == tmp_path / "caches"
        (folder / "file").touch()
    assert [*(tmp_path / "caches").iterdir()] == []


def test_where_the_folder_of_the_runs_may_not_be_written(tmp_path, monkeypatch):
    """The user's folder for caches serves, unless there is a folder for caches already."""
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_folder(tmp_path) == tmp_path / "home" / "distill"
    (tmp_path / ".distill").mkdir()
    assert cache_folder(tmp_path) == tmp_path / ".distill"


def test_no_temporary_folder(monkeypatch):
    """The message says why no temporary folder can be made, and names the variables to set."""

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: full())
    with pytest.raises(CorpusError) as error, temporary_cache():
        pass
    assert str(error.value) == (
        "temporary folder: a temporary folder for decoded audio cannot be made: No space left on device\n"
        "Set DISTILL_CACHE, or TMPDIR, to a folder with room that you may write to."
    )
