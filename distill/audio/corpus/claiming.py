"""Exclusive access to a folder for writing shards, which is left with all shards or with none."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from distill.audio.corpus.shards import MANIFEST
from distill.errors import CorpusError, LockError
from distill.storage.files import PARTIAL
from distill.storage.locking import LOCK_FILES, locked

# A file that exists while shards are written, so that those of a killed process can be recognized.
_MARKER = f".shards{PARTIAL}"
_WRITTEN = re.compile(rf"(train|heldout)-\d{{6,}}\.tar|\.\d+{re.escape(PARTIAL)}")


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Claim a folder for writing shards. It must be empty, or contain only what a killed process wrote.

    Files of a killed process are removed. If an error occurs within the context, the files written in it are
    removed. No other files are removed.

    Raises:
        CorpusError: the folder is not empty, or another process is writing to it.
        OSError: the folder cannot be written.
    """
    marker = folder / _MARKER
    if not marker.is_file() and any(path.name not in LOCK_FILES for path in folder.iterdir()):
        raise _not_empty(folder)
    with _locked(folder):
        with marker.open("ab"):
            pass
        # Another process may have finished just now, or have been killed before it removed its marker.
        if (folder / MANIFEST).exists():
            raise _not_empty(folder)
        try:
            _remove_written(folder)
            yield
        except BaseException:
            with suppress(OSError):
                _remove_written(folder)
                marker.unlink()
            raise
        marker.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    remedy = "Wait for it, or choose another folder for the shards."
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, doing="is writing shards to it", remedy=remedy))
        except LockError as error:
            raise CorpusError(error.problem, culprit=error.culprit, remedy=error.remedy) from error
        yield


def _remove_written(folder: Path) -> None:
    for path in list(folder.iterdir()):
        if _WRITTEN.fullmatch(path.name):
            path.unlink()


def _not_empty(folder: Path) -> CorpusError:
    return CorpusError("is not empty", culprit=str(folder), remedy="Choose a new folder for the shards.")
