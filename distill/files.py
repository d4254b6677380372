"""Files that are either whole or not there. Loads no torch."""

import os
from pathlib import Path

PARTIAL = ".partial"


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a temporary file beside `path`, bring it to the disk, and give it its name.

    Whatever interrupts this, `path` holds the old content or the new, and only a kill leaves a
    temporary file behind: `.<process>.partial`, hidden from whoever looks for recordings.

    Raises:
        OSError: It cannot be written; `path` is as it was before.
    """
    temporary = path.with_name(f".{os.getpid()}{PARTIAL}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name != "nt":  # Windows cannot open a folder
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
