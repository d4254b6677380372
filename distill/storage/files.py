"""Atomic writing of files, and checks against overwriting. Imports no torch."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from distill.errors import OutputError

PARTIAL = ".partial"


def require_writable(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Check that files can be written, before computing their content. Missing folders are allowed.

    Raises:
        OutputError: a file exists and `overwrite` is not set; or its path, or that of a parent folder, is
            taken by something that is not a file or folder.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        nearest = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
        if not nearest.is_dir():
            raise OutputError(_kind(nearest), culprit=str(nearest), remedy="Give a folder with --out.")
    taken = [path for path in paths if os.path.lexists(path)]  # `exists` is False for a broken link
    for path in taken:
        if not path.is_file():
            remedy = "Remove it, or give another folder with --out."
            raise OutputError(_kind(path), culprit=str(path), remedy=remedy)
    if taken and not overwrite:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        remedy = "Add --overwrite to replace what is there, or give another folder with --out."
        raise OutputError(f"exists already{more}", culprit=str(taken[0]), remedy=remedy)


def _kind(path: Path) -> str:
    if path.is_dir():
        return "is a folder"
    if path.is_file():
        return "is a file"
    return "is a link to nothing" if path.is_symlink() else "is not an ordinary file"


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: write a temporary file beside `path`, flush it to disk, and rename it.

    After any interruption, `path` holds either the old content or the new. If the process is killed, a
    temporary file `.<number>.partial` may remain, which the search for recordings ignores. The number is
    random, so that threads, processes and machines can write to the same folder at the same time.

    Raises:
        OSError: the file cannot be written. `path` is unchanged.
    """
    temporary = path.with_name(f".{secrets.randbits(64)}{PARTIAL}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name != "nt":  # on Windows, a folder cannot be opened
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
