"""Folders to write to, and what to say when that fails."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distill.errors import CorpusError


@contextmanager
def writing_to(folder: Path, what: str, *, purpose: str) -> Iterator[None]:
    """Make a folder to write something to; where that fails, remove what was made of it and is empty.

    Raises:
        CorpusError: an OSError, told as `what` that cannot be written; another folder for the `purpose`
            is the remedy.
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
                culprit=str(folder),
                remedy=f"Make room there, or choose another folder for the {purpose}.",
            ) from error
        raise
