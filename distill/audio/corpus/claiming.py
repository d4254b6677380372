"""Exclusive access to a folder for writing shards, which is left with all shards or with none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from distill.audio.corpus.shards import MANIFEST
from distill.errors import CorpusError
from distill.storage.files import PARTIAL

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
    if not marker.is_file() and any(folder.iterdir()):
        raise _not_empty(folder)
    with marker.open("ab") as file:
        _lock(file, folder)
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


def _lock(file: IO[bytes], folder: Path) -> None:
    """Lock a file until it is closed or the process ends. Without support for locks, do nothing."""
    try:
        import fcntl  # noqa: PLC0415  # not on Windows

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CorpusError(
            "another process is writing shards to it",
            culprit=str(folder),
            remedy="Wait for it, or give another folder for the shards.",
        ) from error
    except (ImportError, OSError):
        return


def _remove_written(folder: Path) -> None:
    for path in list(folder.iterdir()):
        if _WRITTEN.fullmatch(path.name):
            path.unlink()


def _not_empty(folder: Path) -> CorpusError:
    return CorpusError("is not empty", culprit=str(folder), remedy="Give a new folder for the shards.")
