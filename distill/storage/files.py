"""Atomic writing of files, and checks against overwriting. Imports no torch."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from distill.arguments import require_reachable
from distill.errors import OutputError, RunError, printable

PARTIAL = ".partial"

_REMEDIES = (
    ((errno.ENOSPC, errno.EDQUOT), "Make room on that disk."),
    ((errno.ENAMETOOLONG,), "Choose a folder with a shorter path, or shorter names."),
    ((errno.EFBIG,), "Raise the limit on the size of files (ulimit -f)."),
    (
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "Make sure that you may write to that folder, or choose another one.",
    ),
    (
        (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP, errno.ENXIO),
        "Remove what is in its place, or choose another path.",
    ),
    ((errno.ENOENT,), "Make sure that the folder is still there."),
    ((errno.EIO,), "Check the disk, and the connection to it."),
)
_REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ENOTDIR),
)
"""Errors by which the system refuses a file or is out of room, which no mistake of a program explains."""

_NOWHERE = "No usable temporary directory"

_LONGEST_NAME = 255
_PARTIAL_NAME = re.compile(rf"\.(lock\.)?[0-9a-f]+{re.escape(PARTIAL)}")


def require_writable(paths: Sequence[Path], *, overwrite: bool, instead: str = "folder with --out") -> None:
    """Check that files can be written, before computing their content. Missing folders are allowed.

    `instead` is what the messages tell to use instead.

    Raises:
        OutputError: a file exists and `overwrite` is not set; or its path, or that of a parent folder, is
            taken by something that is not a file or folder.
        InputError: a path cannot be looked up.
    """
    for path in paths:
        require_reachable(path)
    for folder in dict.fromkeys(path.parent for path in paths):
        nearest = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
        if not nearest.is_dir():
            raise OutputError(_kind(nearest), culprit=str(nearest), remedy=f"Pass a {instead}.")
    taken = [path for path in paths if os.path.lexists(path)]  # `exists` is False for a broken link
    for path in taken:
        if not path.is_file():
            remedy = f"Remove it, or choose another {instead}."
            raise OutputError(_kind(path), culprit=str(path), remedy=remedy)
    if taken and not overwrite:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        remedy = f"Add --overwrite to replace what is there, or choose another {instead}."
        raise OutputError(f"exists already{more}", culprit=str(taken[0]), remedy=remedy)


def file_name(stem: str, suffix: str, folder: Path) -> str:
    """Return `stem` and `suffix` as the name of a file in `folder`, which need not exist.

    Control characters and bytes that are no text are replaced by `_`. A stem that is too long is cut, and
    ends in a digest of the whole, so that different stems keep different names.
    """
    kept = "".join("_" if printable(letter) != letter or letter in "/\\" else letter for letter in stem)
    room = _longest_name(folder) - len(suffix.encode())
    if len(kept.encode()) > room:
        digest = f"~{blake2b(stem.encode(errors='surrogateescape'), digest_size=4).hexdigest()}"
        kept = kept.encode()[: room - len(digest)].decode(errors="ignore") + digest
    return f"{kept}{suffix}"


def _longest_name(folder: Path) -> int:
    """Return the largest number of bytes that a name in a folder may have."""
    with suppress(OSError, ValueError, AttributeError, StopIteration):  # unknown, or on Windows
        nearest = next(above for above in (folder, *folder.parents) if above.exists())
        return min(os.pathconf(nearest, "PC_NAME_MAX"), _LONGEST_NAME)
    return _LONGEST_NAME


def _kind(path: Path) -> str:
    if path.is_dir():
        return "is a folder"
    if path.is_file():
        return "is a file"
    return "is a link to nothing" if path.is_symlink() else "is not an ordinary file"


def read_bounded(path: Path, most: int) -> bytes:
    """Return the content of a small file that may come from anybody.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an ordinary file, such as a pipe, which would be waited for; or it is larger
            than `most` bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not an ordinary file")
    if status.st_size > most:
        raise ValueError(f"it is larger than {most // 2**20} MiB")
    return path.read_bytes()


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write a file atomically: write its content, in parts, beside `path`, flush it to disk, and rename it.

    After any interruption, `path` holds either the old content or the new. If the process is killed, a
    temporary file `.<number>.partial` may remain, which the search for recordings ignores. The number is
    random, so that threads, processes and machines can write to the same folder at the same time.

    Raises:
        OSError: the file cannot be written. `path` is unchanged.
    """
    with replacing(path) as file:
        file.writelines(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file with `write_atomically`.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, text.encode())


def write_atomically(path: Path, *content: bytes | memoryview) -> None:
    """Write the parts of a file atomically with `write_whole`. Missing folders are created.

    Raises:
        RunError: the file cannot be written, for example because the disk is full.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, *content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file beside `path`, which replaces `path` at the end, as in `write_whole`.

    After an error, `path` is unchanged.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(f".{secrets.randbits(64)}{PARTIAL}")
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name != "nt":  # on Windows, a folder cannot be opened
        _sync_folder(path.parent)


def append_whole(path: Path, content: bytes) -> None:
    """Append to a file at once: after an error, the file is as it was. It is created if it is missing.

    A pipe without a reader is an error, and not waited for. So is a link, which may lead anywhere.

    Raises:
        OSError: the file cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BaseException:
            with suppress(OSError):  # a device, which cannot be cut
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise a `RunError` that names `path` for an `OSError` that occurs while it is written.

    Raises:
        RunError: the file cannot be written, for example because the disk is full.
    """
    try:
        yield
    except OSError as error:
        cause = error.strerror or error
        raise RunError(f"cannot be written: {cause}", culprit=str(path), remedy=remedy_of(error)) from error


@contextmanager
def naming_refusals() -> Iterator[None]:
    """Raise a `RunError` for an `OSError` by which the system refuses a file that no one else has named.

    Raises:
        RunError: a file or folder may not be read or written, its path is too long, the disk is full, or
            code that is not Distill's has closed an open file.
    """
    try:
        yield
    except OSError as error:
        if str(error.strerror).startswith(_NOWHERE):  # of `tempfile`, which torch uses, too
            remedy = "Set TMPDIR to a folder with room that you may write to."
            raise RunError("there is no temporary folder that can be written", remedy=remedy) from error
        if error.errno == errno.EBADF and error.filename is None:
            remedy = "A plugin may have closed a file that is not its own: leave it out, and try again."
            raise RunError("a file was closed while it was used", remedy=remedy) from error
        if error.errno not in _REFUSALS:
            raise
        place = "" if error.filename is None else os.fsdecode(error.filename)
        problem = f"cannot be read or written: {error.strerror}" if place else str(error.strerror)
        raise RunError(problem, culprit=place, remedy=remedy_of(error)) from error


def remedy_of(error: OSError) -> str:
    """Return what to do about an error in writing a file."""
    for codes, remedy in _REMEDIES:
        if error.errno in codes:
            return remedy
    return "Make sure that the disk has free space and that you may write to the folder."


def place_of(error: OSError, folder: Path) -> str:
    """Return the path for a message about an error in writing to a folder: what is in the way, or the folder.

    Otherwise, the remedy for a folder in the place of a file would be to remove all of the outer one.
    """
    return os.fsdecode(error.filename) if error.errno == errno.EISDIR and error.filename else str(folder)


def is_partial(path: Path) -> bool:
    """Return whether a path is that of a file which a killed process left unfinished."""
    return _PARTIAL_NAME.fullmatch(path.name) is not None and not path.is_dir()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
