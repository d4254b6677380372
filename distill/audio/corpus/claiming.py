"""A folder for shards that one process writes to, and that is left with all of them or with none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from distill.audio.corpus.shards import MANIFEST
from distill.errors import CorpusError
from distill.storage.files import PARTIAL

# It lies beside the shards as long as they are written, so that those of a killed process are known.
_MARKER = f".shards{PARTIAL}"
_WRITTEN = re.compile(rf"(train|heldout)-\d{{6,}}\.tar|\.\d+{re.escape(PARTIAL)}")


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Have a folder to write shards to: an empty one, or one in which a process was killed as it did.

    What that one wrote is removed, and where this one fails, so is what it wrote. Nothing else is.

    Raises:
        CorpusError: the folder is not empty, or another process is writing to it.
        OSError: it cannot be written.
    """
    marker = folder / _MARKER
    if not marker.is_file() and any(folder.iterdir()):
        raise _not_empty(folder)
    with marker.open("ab") as file:
        _lock(file, folder)
        # The other process may have come to its end just now, or been killed at the very end.
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
    """Lock a file until it is closed, or the process killed; not on Windows, and on disks without locks."""
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
