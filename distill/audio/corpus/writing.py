"""Creation of folders for output, and their error messages."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distill.errors import CorpusError
from distill.storage.files import place_of, remedy_of

_ROOM_OR_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def writing_to(folder: Path, what: str, *, remedy: str) -> Iterator[None]:
    """Create a folder for writing `what`. After an error, remove the created folders that are empty.

    Raises:
        CorpusError: an OSError occurred. The message names `what`, and the `remedy`, which is about room and
            permissions: where something else is wrong, it says what to do about that.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        with suppress(OSError):
            for path in made:
                path.rmdir()
        if isinstance(error, OSError):
            raise CorpusError(
                f"{what} cannot be written: {error.strerror}",
                culprit=place_of(error, folder),
                remedy=remedy if error.errno in _ROOM_OR_PLACE else remedy_of(error),
            ) from error
        raise


def require_no_link(folder: Path) -> None:
    """Check that a folder made by Distill is not a link, through which files elsewhere would be replaced.

    Raises:
        CorpusError: it is one.
    """
    if folder.is_symlink():
        raise CorpusError(
            f"is a link, to {folder.readlink()}, and nothing is written through it",
            culprit=str(folder),
            remedy="Remove it.",
        )
