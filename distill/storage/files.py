"""Files that are either whole or not there, and never written over unasked. Loads no torch."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from distill.errors import OutputError

PARTIAL = ".partial"


def require_writable(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Check that files can be written, before the work that makes them. Missing folders are no problem.

    Raises:
        OutputError: one of the files exists and `overwrite` is not set; or its name, or that of a folder
            above it, is taken by something else.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        nearest = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
        if not nearest.is_dir():
            raise OutputError(_kind(nearest), culprit=str(nearest), remedy="Give a folder with --out.")
    taken = [path for path in paths if os.path.lexists(path)]  # `exists` denies a link to nothing
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
    """Write a temporary file beside `path`, bring it to the disk, and give it its name.

    Whatever interrupts this, `path` holds the old content or the new, and only a kill leaves a
    temporary file behind: `.<number>.partial`, hidden from whoever looks for recordings. The number is
    random, so that threads, processes and machines may write to one folder at the same time.

    Raises:
        OSError: It cannot be written; `path` is as it was before.
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
    if os.name != "nt":  # Windows cannot open a folder
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
