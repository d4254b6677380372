"""The folder for caches: decoded audio and the demo corpus."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from distill.errors import CorpusError

VARIABLE = "DISTILL_CACHE"
"""The environment variable that names a folder for caches."""

REMEDY = f"Make room there, or set {VARIABLE} to another folder for decoded audio."


def cache_folder(runs: Path) -> Path:
    """Return the folder for caches of runs in the folder `runs`.

    It is `DISTILL_CACHE` if that is set, else `.distill` in `runs`, so that runs share it. If that may not be
    written, it is the user's folder for caches, `distill` in `XDG_CACHE_HOME` or `~/.cache`.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    beside = runs / ".distill"
    nearest = next(path for path in (beside, *beside.resolve().parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distill"


@contextmanager
def temporary_cache() -> Iterator[Path]:
    """Yield a temporary folder for caches, in `DISTILL_CACHE` or where the system has such folders.

    Raises:
        CorpusError: there is no such folder that may be written.
    """
    chosen = os.environ.get(VARIABLE)
    try:
        if chosen:
            Path(chosen).expanduser().mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix="distill-", dir=Path(chosen).expanduser() if chosen else None)
    except OSError as error:
        raise CorpusError(
            f"a temporary folder for decoded audio cannot be made: {error.strerror}",
            culprit=chosen or "temporary folder",
            remedy=f"Set {VARIABLE}, or TMPDIR, to a folder with room that you may write to.",
        ) from error
    with folder as path:
        yield Path(path)
